// Package buildinfo tells which build of a program runs: a version for people,
// and a build id that differs between any two builds that differ.
package buildinfo

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
)

// version is set by the linker: -X github.com/stix-run/stix/internal/buildinfo.version=v1.2.3.
// Nothing else writes it.
var version string

// headSize is how much of an executable's beginning holds the Go build id: the
// Go linker puts it there for this purpose.
const headSize = 64 << 10

// Version returns the version of this program: what the linker was told, else
// the commit it was built from, else "devel".
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	return describe(info)
}

// describe makes a version from what the go command recorded.
func describe(info *debug.BuildInfo) string {
	var commit, modified string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "-modified"
		}
	}
	if commit == "" {
		return "devel"
	}
	return "devel-" + commit + modified
}

// Build returns the build id of the running program. A program that may be
// replaced on disk while it runs must call it once when it starts; later calls
// return the same.
//
// To learn whether a server runs the build that a client would start, the
// client compares what the server reports with BuildOf the server's executable.
func Build() (string, error) { return own() }

// own reads the running program's id once.
var own = sync.OnceValues(func() (string, error) {
	path, err := executable()
	if err != nil {
		return "", fmt.Errorf("find own executable: %w", err)
	}
	return BuildOf(path)
})

// BuildOf returns the build id of the executable at path: the hash of its Go
// build id, which the go command derives from the content of all that went into
// it, or of the whole file where that cannot be found.
func BuildOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read build id: %w", err)
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, headSize))
	if err != nil {
		return "", fmt.Errorf("read build id of %s: %w", path, err)
	}
	sum := sha256.New()
	if id := goBuildID(head); id != nil {
		sum.Write(id)
	} else {
		sum.Write(head)
		if _, err := io.Copy(sum, f); err != nil {
			return "", fmt.Errorf("read build id of %s: %w", path, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// goBuildID finds the Go build id in the beginning of an executable: in an ELF
// note, or, in other formats, between marks at the start of the program text.
func goBuildID(head []byte) []byte {
	if bytes.HasPrefix(head, []byte("\x7fELF")) {
		return elfNote(head)
	}
	_, rest, ok := bytes.Cut(head, []byte("\xff Go build ID: \""))
	if !ok {
		return nil
	}
	id, _, ok := bytes.Cut(rest, []byte("\"\n \xff"))
	if !ok || len(id) == 0 {
		return nil
	}
	return id
}

// elfNote finds the note of type 4 and name "Go": its name's size, its value's
// size and its type as 32-bit numbers, the name, the value.
func elfNote(head []byte) []byte {
	name := []byte("\x04\x00\x00\x00Go\x00\x00")
	for from := 0; ; {
		i := bytes.Index(head[from:], name)
		if i < 0 {
			return nil
		}
		i += from
		from = i + len(name)
		if i < 8 || binary.LittleEndian.Uint32(head[i-8:]) != 4 {
			continue
		}
		size := int(binary.LittleEndian.Uint32(head[i-4:]))
		if size > 0 && size < 1024 && from+size <= len(head) {
			return head[from : from+size]
		}
	}
}

package tree

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func fileEntry(name string, size int64) *stixv1.TreeEntry {
	e := &stixv1.TreeEntry{
		Name: []byte(name), Type: stixv1.TreeEntryType_TREE_ENTRY_TYPE_FILE, Mode: 0o644, Size: size,
	}
	for range parts(size) {
		e.Hashes = append(e.Hashes, bytes.Repeat([]byte{7}, sha256.Size))
	}
	return e
}

func dirEntry(name string) *stixv1.TreeEntry {
	return &stixv1.TreeEntry{
		Name: []byte(name), Type: stixv1.TreeEntryType_TREE_ENTRY_TYPE_DIRECTORY, Mode: 0o755,
		Hashes: [][]byte{bytes.Repeat([]byte{9}, sha256.Size)},
	}
}

func linkEntry(name, target string) *stixv1.TreeEntry {
	return &stixv1.TreeEntry{
		Name: []byte(name), Type: stixv1.TreeEntryType_TREE_ENTRY_TYPE_SYMLINK, Target: []byte(target),
	}
}

func treeOf(entries ...*stixv1.TreeEntry) *stixv1.Tree {
	return &stixv1.Tree{Version: version, Entries: entries}
}

func TestEncodeDecodeRoundTrip(t *testing.T) {
	for _, want := range []*stixv1.Tree{
		treeOf(),
		treeOf(fileEntry("", 3)),
		treeOf(fileEntry("\xff\xfe not UTF-8", 0), fileEntry("\xff\xff", PartSize+1)),
		treeOf(fileEntry("a\nb", 1), dirEntry("d"), linkEntry("l", "../elsewhere")),
	} {
		data, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data)
		if err != nil || !proto.Equal(got, want) {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	}
}

// The bytes are the identity of a directory: they must never change.
func TestEncodingIsPinned(t *testing.T) {
	data, err := Encode(treeOf(fileEntry("a", 1), dirEntry("d"), linkEntry("l", "a")))
	if err != nil {
		t.Fatal(err)
	}
	const want = "0e7c2da1a5665fe0c993e64ca13081232f1c009425f828272df2929bd01b0d73"
	if got := Hash(data); got != want {
		t.Fatalf("hash %s, want %s (%q)", got, want, data)
	}
}

func TestDecodeRefusesHostileTrees(t *testing.T) {
	bad := func(e *stixv1.TreeEntry, change func(*stixv1.TreeEntry)) *stixv1.Tree {
		change(e)
		return treeOf(e)
	}
	for name, tr := range map[string]*stixv1.Tree{
		"slash":           treeOf(fileEntry("a/b", 1)),
		"absolute":        treeOf(fileEntry("/etc", 1)),
		"dot":             treeOf(fileEntry(".", 1)),
		"dot dot":         treeOf(dirEntry("..")),
		"NUL":             treeOf(fileEntry("a\x00b", 1)),
		"long name":       treeOf(fileEntry(strings.Repeat("x", MaxNameBytes+1), 1)),
		"no name":         treeOf(dirEntry("")),
		"no name of two":  treeOf(fileEntry("", 1), fileEntry("a", 1)),
		"double":          treeOf(fileEntry("a", 1), dirEntry("a")),
		"order":           treeOf(fileEntry("b", 1), fileEntry("a", 1)),
		"old version":     {Entries: []*stixv1.TreeEntry{fileEntry("a", 1)}},
		"setuid":          bad(fileEntry("a", 1), func(e *stixv1.TreeEntry) { e.Mode = 0o4755 }),
		"negative size":   bad(fileEntry("a", 0), func(e *stixv1.TreeEntry) { e.Size = -1 }),
		"too few parts":   bad(fileEntry("a", PartSize), func(e *stixv1.TreeEntry) { e.Size++ }),
		"huge size":       bad(fileEntry("a", 1), func(e *stixv1.TreeEntry) { e.Size = 1<<63 - 1 }),
		"short hash":      bad(fileEntry("a", 1), func(e *stixv1.TreeEntry) { e.Hashes[0] = e.Hashes[0][1:] }),
		"file with link":  bad(fileEntry("a", 1), func(e *stixv1.TreeEntry) { e.Target = []byte("b") }),
		"empty directory": bad(dirEntry("a"), func(e *stixv1.TreeEntry) { e.Hashes = nil }),
		"sized directory": bad(dirEntry("a"), func(e *stixv1.TreeEntry) { e.Size = 1 }),
		"no target":       treeOf(linkEntry("a", "")),
		"NUL target":      treeOf(linkEntry("a", "b\x00c")),
		"long target":     treeOf(linkEntry("a", strings.Repeat("x", MaxTargetBytes+1))),
		"link with mode":  bad(linkEntry("a", "b"), func(e *stixv1.TreeEntry) { e.Mode = 0o777 }),
		"unknown type":    bad(fileEntry("a", 0), func(e *stixv1.TreeEntry) { e.Type = 9 }),
	} {
		if _, err := Decode(marshal(tr)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Decode: %v", name, err)
		}
		if _, err := Encode(tr); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Encode: %v", name, err)
		}
	}
}

func TestDecodeRefusesOtherEncodings(t *testing.T) {
	good := marshal(treeOf(fileEntry("a", 1)))
	unknown := protowire.AppendVarint(protowire.AppendTag(bytes.Clone(good), 15, protowire.VarintType), 1)
	twice := protowire.AppendVarint(protowire.AppendTag(bytes.Clone(good), 1, protowire.VarintType), version)
	for name, data := range map[string][]byte{
		"nothing": nil, "no magic": good[len(Magic):], "torn": good[:len(good)-1],
		"unknown field": unknown, "version twice": twice, "trailing": append(bytes.Clone(good), 0),
		"too large": append([]byte(Magic), make([]byte, MaxTreeBytes)...),
	} {
		if _, err := Decode(data); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	newer := treeOf()
	newer.Version = version + 1
	if _, err := Decode(marshal(newer)); err == nil || !strings.Contains(err.Error(), "version 2 is newer") {
		t.Errorf("newer version: %v", err)
	}
}

func TestValidHash(t *testing.T) {
	good := Hash(nil)
	for s, want := range map[string]bool{
		good: true, "": false, good[1:]: false, strings.ToUpper(good): false, "../" + good[3:]: false, good + "0": false,
	} {
		if ValidHash(s) != want {
			t.Errorf("ValidHash(%q) = %v", s, !want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(marshal(treeOf()))
	f.Add(marshal(treeOf(fileEntry("", 1))))
	f.Add(marshal(treeOf(fileEntry("a\nb", PartSize+1), dirEntry("d"), linkEntry("l", "../elsewhere"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(tr)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("decodes but encodes to %q, %v", again, err)
		}
		for _, e := range tr.Entries {
			if name := string(e.Name); strings.ContainsAny(name, "/\x00") || name == ".." || name == "." {
				t.Fatalf("let %q pass", name)
			}
		}
	})
}

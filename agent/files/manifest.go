package files

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stix-run/stix/internal/atomicfile"
	"github.com/stix-run/stix/internal/tree"
)

// cacheNames are the files that belong to one destination.
type cacheNames struct{ lock, manifest, journal string }

func (s *Syncer) cacheNames(destination string) cacheNames {
	sum := sha256.Sum256([]byte(destination))
	base := filepath.Join(s.cfg.CacheDir, hex.EncodeToString(sum[:16]))
	return cacheNames{lock: base + ".lock", manifest: base + ".manifest", journal: base + ".journal"}
}

// fileStat is what tells that a file is as it was written.
type fileStat struct {
	size         int64
	mtime, ctime int64
	inode        uint64
}

// written is one file that is as its tree says.
type written struct {
	content [sha256.Size]byte
	stat    fileStat
	// checked is when the content was known to be right. A file whose times are not
	// clearly before that may have changed since without its times showing it.
	checked int64
}

// settle is how far a file's times must lie behind. File systems tick every few
// milliseconds.
const settle = 100 * time.Millisecond

func (w written) trusted(content [sha256.Size]byte, stat fileStat) bool {
	return w.content == content && w.stat == stat && max(stat.mtime, stat.ctime)+int64(settle) < w.checked
}

// manifest is what was written to one destination: magic, version, boot id, root,
// the tree objects, the files, and a SHA-256 over all of it. What is damaged or of
// another version is the same as none.
type manifest struct {
	boot, root string
	// trees are the tree objects by hash.
	trees map[string][]byte
	// files by path below the destination.
	files map[string]written
	// checked is when this sync began.
	checked int64
	// changed says that it differs from the one on disk.
	changed bool
}

const (
	manifestMagic   = "stixsync"
	manifestVersion = 1
)

func newManifest(boot, root string, now time.Time) *manifest {
	return &manifest{
		boot: boot, root: root, checked: now.UnixNano(),
		trees: map[string][]byte{}, files: map[string]written{},
	}
}

// loadManifest returns an empty manifest where there is none to be used. After a
// reboot its trees are of use still, as their hashes say, but not its files.
func loadManifest(path, boot string) *manifest {
	data, err := os.ReadFile(path)
	if err != nil {
		return &manifest{}
	}
	m, err := parseManifest(data)
	if err != nil {
		return &manifest{}
	}
	if m.boot != boot {
		m.files = nil
	}
	return m
}

func (m *manifest) save(path string) error {
	return atomicfile.Write(path, m.format(), 0o600)
}

func (m *manifest) format() []byte {
	b := append([]byte(nil), manifestMagic...)
	b = binary.BigEndian.AppendUint32(b, manifestVersion)
	b = appendText(b, m.boot)
	b = appendText(b, m.root)
	b = binary.AppendUvarint(b, uint64(len(m.trees)))
	for hash, data := range m.trees {
		b = appendText(b, hash)
		b = appendText(b, string(data))
	}
	b = binary.AppendUvarint(b, uint64(len(m.files)))
	for path, w := range m.files {
		b = appendText(b, path)
		b = append(b, w.content[:]...)
		for _, v := range []int64{w.stat.size, w.stat.mtime, w.stat.ctime, int64(w.stat.inode), w.checked} {
			b = binary.AppendVarint(b, v)
		}
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errManifest = errors.New("not a manifest that this program reads")

func parseManifest(data []byte) (*manifest, error) {
	head := len(manifestMagic) + 4
	if len(data) < head+sha256.Size || string(data[:len(manifestMagic)]) != manifestMagic ||
		binary.BigEndian.Uint32(data[len(manifestMagic):]) != manifestVersion {
		return nil, errManifest
	}
	body := data[:len(data)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], data[len(body):]) {
		return nil, errManifest
	}
	d := decoder{data: body[head:]}
	m := &manifest{boot: string(d.text()), root: string(d.text())}
	m.trees = make(map[string][]byte)
	for range d.count() {
		m.trees[string(d.text())] = d.text()
	}
	n := d.count()
	m.files = make(map[string]written, n)
	for range n {
		path := string(d.text())
		var w written
		copy(w.content[:], d.take(sha256.Size))
		w.stat = fileStat{size: d.varint(), mtime: d.varint(), ctime: d.varint(), inode: uint64(d.varint())}
		w.checked = d.varint()
		m.files[path] = w
	}
	if d.bad || len(d.data) != 0 {
		return nil, errManifest
	}
	return m, nil
}

// decoder reads the parts of a manifest; bad is set once it ran out of bytes.
type decoder struct {
	data []byte
	bad  bool
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.data)) {
		d.bad, d.data = true, nil
		return nil
	}
	b := d.data[:n:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) text() []byte { return d.take(d.uvarint()) }

// count reads a number of things that each take at least a byte.
func (d *decoder) count() uint64 {
	n := d.uvarint()
	if n > uint64(len(d.data)) {
		d.bad = true
		return 0
	}
	return n
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.bad, d.data = true, nil
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.data)
	if n <= 0 {
		d.bad, d.data = true, nil
		return 0
	}
	d.data = d.data[n:]
	return v
}

// The journal lists the temporary files that there may be, by path below the
// directory that is written to: magic and version, then each path ended by a NUL.
const journalHead = "stix-sync-journal 1\n"

func writeJournal(path string, temps []string) error {
	b := []byte(journalHead)
	for _, temp := range temps {
		b = append(append(b, temp...), 0)
	}
	return atomicfile.Write(path, b, 0o600)
}

// readJournal returns nothing where the last sync ended as it should, and for what
// this program does not read: such files stay, and are in nobody's way.
func readJournal(path string) []string {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	rest, ok := strings.CutPrefix(string(data), journalHead)
	if !ok {
		return nil
	}
	temps := strings.Split(rest, "\x00")
	return temps[:len(temps)-1]
}

// tempName is the name beside a file under which it is written. It depends on the
// name only, so that a repeated sync finds what is left of the one before.
func tempName(name string) string { return ".stix-" + tree.Hash([]byte(name))[:16] + ".part" }

package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stix-run/stix/internal/atomicfile"
)

// fileStat is what tells that a file is unchanged.
type fileStat struct {
	size         int64
	mtime, ctime int64
	inode, dev   uint64
	mode         uint32
}

// The cache of one root is a file: magic, version, the root's path, the entries,
// and a SHA-256 over all before it. It is only ever a saving: a file that is torn,
// of another root or of an unknown form is the same as none.
const (
	cacheMagic   = "stixstat"
	cacheVersion = 1
	// settle is how old a file's times must be at the start of a scan to be put
	// into the cache. A file that was changed just now may change again without
	// its times showing it: clocks of file systems tick as slowly as every two
	// seconds.
	settle = 2 * time.Second
)

type cacheEntry struct {
	stat   fileStat
	hashes [][]byte
}

// cache knows the hashes of the files below one root.
type cache struct {
	// path of the file, empty for no cache.
	path    string
	root    string
	entries map[string]cacheEntry
	// unusable says why the file must be left alone.
	unusable string
}

func openCache(dir, root string) *cache {
	c := &cache{root: root}
	if dir == "" {
		return c
	}
	sum := sha256.Sum256([]byte(root))
	c.path = filepath.Join(dir, hex.EncodeToString(sum[:16])+".stat")
	data, err := os.ReadFile(c.path)
	if err != nil {
		return c
	}
	entries, err := parseCache(data, root)
	if errors.Is(err, errNewer) {
		c.unusable = err.Error()
	}
	c.entries = entries
	return c
}

func (c *cache) lookup(path string, stat fileStat) ([][]byte, bool) {
	e, ok := c.entries[path]
	if !ok || e.stat != stat {
		return nil, false
	}
	return e.hashes, true
}

// save writes the cache anew if the scan learned anything. Entries whose times
// are too close to the start of the scan are not kept.
func (c *cache) save(files []*node, started time.Time) error {
	if c.path == "" || c.unusable != "" {
		return nil
	}
	limit := started.Add(-settle).UnixNano()
	kept, known := make([]*node, 0, len(files)), 0
	for _, n := range files {
		if n.known {
			known++
		}
		if n.known || max(n.stat.mtime, n.stat.ctime) < limit {
			kept = append(kept, n)
		}
	}
	if known == len(kept) && known == len(c.entries) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(c.path, appendCache(nil, c.root, kept), 0o600)
}

func appendCache(b []byte, root string, files []*node) []byte {
	b = append(b, cacheMagic...)
	b = binary.BigEndian.AppendUint32(b, cacheVersion)
	b = appendText(b, root)
	b = binary.AppendUvarint(b, uint64(len(files)))
	for _, n := range files {
		b = appendText(b, n.path)
		b = binary.AppendVarint(b, n.stat.size)
		b = binary.AppendVarint(b, n.stat.mtime)
		b = binary.AppendVarint(b, n.stat.ctime)
		b = binary.AppendUvarint(b, n.stat.inode)
		b = binary.AppendUvarint(b, n.stat.dev)
		b = binary.AppendUvarint(b, uint64(n.stat.mode))
		for _, h := range n.entry.Hashes {
			b = append(b, h...)
		}
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var (
	errNewer   = errors.New("written by a newer program")
	errDamaged = errors.New("damaged")
)

func parseCache(data []byte, root string) (map[string]cacheEntry, error) {
	head := len(cacheMagic) + 4
	if len(data) < head || string(data[:len(cacheMagic)]) != cacheMagic {
		return nil, errDamaged
	}
	if v := binary.BigEndian.Uint32(data[len(cacheMagic):]); v > cacheVersion {
		return nil, fmt.Errorf("not used: %w (format version %d, this one knows %d)", errNewer, v, cacheVersion)
	}
	if len(data) < head+sha256.Size {
		return nil, errDamaged
	}
	body := data[:len(data)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], data[len(body):]) {
		return nil, errDamaged
	}
	d := decoder{data: body[head:]}
	if d.text() != root {
		return nil, errDamaged
	}
	return d.entries()
}

func (d *decoder) entries() (map[string]cacheEntry, error) {
	count := d.uvarint()
	if count > uint64(len(d.data)) {
		return nil, errDamaged
	}
	entries := make(map[string]cacheEntry, count)
	for range count {
		path := d.text()
		stat := fileStat{size: d.varint(), mtime: d.varint(), ctime: d.varint(), inode: d.uvarint(), dev: d.uvarint()}
		stat.mode = uint32(d.uvarint())
		hashes := d.hashes(stat.size)
		if d.bad {
			return nil, errDamaged
		}
		entries[path] = cacheEntry{stat: stat, hashes: hashes}
	}
	if len(d.data) != 0 {
		return nil, errDamaged
	}
	return entries, nil
}

// decoder reads the parts of a cache; bad is set once it ran out of bytes.
type decoder struct {
	data []byte
	bad  bool
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.data)) {
		d.bad = true
		return nil
	}
	b := d.data[:n:n]
	d.data = d.data[n:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.data)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) text() string { return string(d.take(d.uvarint())) }

// hashes reads the hashes of a file of this size.
func (d *decoder) hashes(size int64) [][]byte {
	if n := parts(size); size < 0 || n > int64(len(d.data)/sha256.Size) {
		d.bad = true
		return nil
	}
	hashes := make([][]byte, 0, parts(size))
	for range parts(size) {
		hashes = append(hashes, d.take(sha256.Size))
	}
	return hashes
}

package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// repository is the little of a git repository that its ignore rules need.
type repository struct {
	// dir is the git directory; common is the one that its work trees share.
	dir, common string
	// rel is the path in the walk of the directory where the rules begin, and
	// prefix the way down to it from the top of the work tree.
	rel, prefix string
	warn        func(path, text string)

	// index has the paths that git tracks, sorted. It is read when first needed:
	// most walks never meet an ignored path that could be tracked.
	index  []string
	loaded bool
}

// findRepository looks for the work tree that holds dir.
func findRepository(dir string) (top string, found bool) {
	for {
		if isRepository(dir) {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// isRepository reports whether dir is the top of a git work tree.
func isRepository(dir string) bool {
	git, err := gitDir(dir)
	if err != nil {
		return false
	}
	_, err = os.Lstat(filepath.Join(git, "HEAD"))
	return err == nil
}

// gitDir returns the git directory of the work tree at dir: its .git, or where
// a file of that name points (submodules and linked work trees).
func gitDir(dir string) (string, error) {
	path := filepath.Join(dir, ".git")
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return path, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	target, ok := strings.CutPrefix(strings.TrimRight(string(data), "\r\n"), "gitdir: ")
	if !ok {
		return "", errors.New("no git directory: " + path)
	}
	return beside(dir, target), nil
}

func beside(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func openRepository(top, dir, rel string) (*repository, error) {
	git, err := gitDir(top)
	if err != nil {
		return nil, err
	}
	below, err := filepath.Rel(top, dir)
	if err != nil {
		return nil, err
	}
	r := &repository{dir: git, common: git, rel: slashed(rel)}
	if below != "." {
		r.prefix = filepath.ToSlash(below) + "/"
	}
	if data, err := os.ReadFile(filepath.Join(git, "commondir")); err == nil {
		r.common = beside(git, strings.TrimRight(string(data), "\r\n"))
	}
	return r, nil
}

// tracked reports whether git tracks the file, or anything in the directory.
func (r *repository) tracked(path string, dir bool) bool {
	if !r.loaded {
		r.load()
	}
	path = r.prefix + strings.TrimPrefix(path, r.rel)
	i := sort.SearchStrings(r.index, path)
	if i < len(r.index) && r.index[i] == path {
		return true
	}
	if !dir {
		return false
	}
	i = sort.SearchStrings(r.index, path+"/")
	return i < len(r.index) && strings.HasPrefix(r.index[i], path+"/")
}

func (r *repository) load() {
	r.loaded = true
	data, err := os.ReadFile(filepath.Join(r.dir, "index"))
	if os.IsNotExist(err) {
		return
	}
	if err == nil {
		r.index, err = parseIndex(data)
	}
	if err != nil {
		r.warn(".git/index", "cannot be used ("+err.Error()+"): files that git tracks and ignores are left out")
	}
}

var (
	errIndex      = errors.New("unknown format")
	errSplitIndex = errors.New("split index")
)

// parseIndex returns the paths in a git index of version 2, 3 or 4, of a
// repository with either kind of object names.
func parseIndex(data []byte) ([]string, error) {
	if len(data) < 12 || string(data[:4]) != "DIRC" {
		return nil, errIndex
	}
	for _, hashSize := range []int{20, 32} {
		p := indexParser{data: data, hashSize: hashSize, version: binary.BigEndian.Uint32(data[4:])}
		if names, err := p.parse(binary.BigEndian.Uint32(data[8:])); !errors.Is(err, errIndex) {
			return names, err
		}
	}
	return nil, errIndex
}

type indexParser struct {
	data     []byte
	hashSize int
	version  uint32
	at       int
	last     string
}

func (p *indexParser) parse(count uint32) ([]string, error) {
	if p.version < 2 || p.version > 4 || uint64(count) > uint64(len(p.data)) {
		return nil, errIndex
	}
	names := make([]string, 0, count)
	p.at = 12
	for range count {
		if !p.entry() {
			return nil, errIndex
		}
		names = append(names, p.last)
	}
	if !sort.StringsAreSorted(names) {
		return nil, errIndex
	}
	return names, p.extensions()
}

// entry reads one entry into last: the stat data and the object name (skipped),
// flags, and the path.
func (p *indexParser) entry() bool {
	start, head := p.at, 40+p.hashSize+2
	if len(p.data)-start < head {
		return false
	}
	flags := binary.BigEndian.Uint16(p.data[start+head-2:])
	if flags&0x4000 != 0 {
		if p.version < 3 {
			return false
		}
		head += 2
	}
	if len(p.data)-start < head {
		return false
	}
	p.at = start + head
	keep := 0
	if p.version == 4 {
		strip, ok := p.offset()
		if !ok || strip > len(p.last) {
			return false
		}
		keep = len(p.last) - strip
	}
	length := bytes.IndexByte(p.data[p.at:], 0)
	if length < 0 {
		return false
	}
	p.last = p.last[:keep] + string(p.data[p.at:p.at+length])
	p.at += length + 1
	if p.version < 4 {
		// Entries are padded with one to eight zero bytes to a multiple of eight.
		p.at = start + (head+length+8)&^7
	}
	return p.at <= len(p.data)
}

// offset reads git's variable width number.
func (p *indexParser) offset() (int, bool) {
	value := 0
	for i := 0; i < 4 && p.at < len(p.data); i++ {
		c := p.data[p.at]
		p.at++
		value |= int(c & 0x7f)
		if c&0x80 == 0 {
			return value, true
		}
		value = (value + 1) << 7
	}
	return 0, false
}

// extensions looks for the one that says that most entries are elsewhere. They
// must end where the checksum begins: with the wrong size of hashes they do not.
func (p *indexParser) extensions() error {
	for len(p.data)-p.at >= 8+p.hashSize {
		name, size := string(p.data[p.at:p.at+4]), binary.BigEndian.Uint32(p.data[p.at+4:])
		if name == "link" {
			return errSplitIndex
		}
		if uint64(size) > uint64(len(p.data)-p.at-8) {
			return errIndex
		}
		p.at += 8 + int(size)
	}
	if len(p.data)-p.at != p.hashSize {
		return errIndex
	}
	return nil
}

package logs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segment is a part of a log that was rotated.
type segment struct {
	path string
	base int64
	end  int64
}

// segmentName is the name of the rotated segment that begins at base.
func segmentName(path string, base int64) string {
	return fmt.Sprintf("%s.%020d", path, base)
}

// segments lists the rotated segments of a log, oldest first.
func segments(path string) ([]segment, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var list []segment
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		if !ok || len(digits) != 20 {
			continue
		}
		base, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // removed meanwhile
		}
		list = append(list, segment{filepath.Join(filepath.Dir(path), e.Name()), base, base + info.Size()})
	}
	slices.SortFunc(list, func(a, b segment) int { return int(min(1, max(-1, a.base-b.base))) })
	return list, nil
}

// Size returns the size of a log that nobody writes any more: the offset after its
// last byte.
func Size(path string) (int64, error) {
	old, err := segments(path)
	if err != nil {
		return 0, err
	}
	base := int64(0)
	if len(old) > 0 {
		base = old[len(old)-1].end
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return base, nil
	}
	if err != nil {
		return 0, err
	}
	return base + info.Size(), nil
}

// Reader reads a log that may still grow, by absolute offset. It belongs to one
// goroutine.
type Reader struct {
	path string
	file *os.File // the segment that was read last
	base int64    // its first offset
}

// NewReader returns a reader of the log at path, which need not exist yet.
func NewReader(path string) *Reader { return &Reader{path: path} }

// ReadAt reads from off on, as much as there is, up to len(p). It returns 0 when
// there is no more at present. What was rotated away is made up for by filler.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if r.file != nil && off >= r.base {
		if n, err := r.read(p, off); n > 0 || err != nil {
			return n, err
		}
		if !r.rotated() {
			return 0, nil
		}
		// Whatever was written before the rename can be read now.
		if n, err := r.read(p, off); n > 0 || err != nil {
			return n, err
		}
	}
	return r.seek(p, off)
}

func (r *Reader) read(p []byte, off int64) (int, error) {
	n, err := r.file.ReadAt(p, off-r.base)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// rotated tells whether the open segment will not grow any more.
func (r *Reader) rotated() bool {
	now, err := os.Stat(r.path)
	if err != nil {
		return false
	}
	open, err := r.file.Stat()
	return err == nil && !os.SameFile(now, open)
}

// seek opens the segment that has off and reads from it.
func (r *Reader) seek(p []byte, off int64) (int, error) {
	r.Close()
	old, err := segments(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if len(old) > 0 && off < old[0].base {
		return Fill(p, off, old[0].base), nil
	}
	path, base := r.path, int64(0)
	for _, s := range old {
		if base = s.end; off < s.end {
			path, base = s.path, s.base
			break
		}
	}
	if err := r.open(path, base); err != nil || r.file == nil {
		return 0, err
	}
	if again, err := segments(r.path); err != nil || len(again) != len(old) || len(old) > 0 && again[len(old)-1] != old[len(old)-1] {
		r.Close() // rotated while we looked: the next read looks again
		return 0, err
	}
	return r.read(p, off)
}

func (r *Reader) open(path string, base int64) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.file, r.base = f, base
	return nil
}

// Close closes what is open.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// Fill makes up for bytes [off, end) of a log that are gone: it writes a line that
// says so, then zeros, and returns how much it wrote.
func Fill(p []byte, off, end int64) int {
	n := int(min(int64(len(p)), end-off))
	clear(p[:n])
	line := fmt.Sprintf("\n[stix: output is missing here up to byte %d]\n", end)
	if n >= len(line) {
		copy(p, line)
	}
	return n
}

// Package diskspace keeps a part of the disk free: whoever fills a disk to its last byte takes away the room that is
// needed to mend it.
package diskspace

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrReserve says that the disk is full up to its reserve.
var ErrReserve = errors.New("the disk is full up to its reserve")

// Of asks for what an ordinary user may still write on the disk of a path, and for its whole size, in bytes.
func Of(path string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, fmt.Errorf("look at the disk of %s: %w", path, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

// Reserve is what is kept free on one disk.
type Reserve struct {
	// Path is on the disk.
	Path string
	// Bytes are kept free. Zero means the smaller of 1 GiB and 5 % of the disk, a negative number none.
	Bytes int64
	// Space tells the free and the total bytes. Nil asks the operating system.
	Space func(path string) (free, total int64, err error)
}

// Room is ErrReserve, with the figures, when writing need bytes more would touch the reserve.
func (r Reserve) Room(need int64) error {
	space := r.Space
	if space == nil {
		space = Of
	}
	free, total, err := space(r.Path)
	if err != nil {
		return err
	}
	reserve := r.Bytes
	if reserve == 0 {
		reserve = min(1<<30, total/20)
	}
	if free-need >= max(reserve, 0) {
		return nil
	}
	return fmt.Errorf("%w: %d MiB are free on the disk of %s, of which %d MiB are kept in reserve",
		ErrReserve, free>>20, r.Path, reserve>>20)
}

// Package atomicfile writes whole files so that a crash at any point leaves the
// old content or the new, never a mixture and never an empty file.
//
// A crash may also leave a temporary file beside the target; its owner removes
// those with Sweep when it starts.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tempMark is part of the name of every temporary file: ".NAME.stixtmp-RANDOM".
const tempMark = ".stixtmp-"

// Write replaces the file at path by one with this content and these
// permissions (the umask does not apply). When it returns nil, the new file
// survives a power cut.
func Write(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, os.Rename)
}

// Create is Write for a file that must not exist yet: where it does, the error
// is fs.ErrExist and the file is left alone, also when two create it at once.
func Create(path string, data []byte, perm fs.FileMode) error {
	return place(path, data, perm, func(temp, path string) error {
		if err := os.Link(temp, path); err != nil {
			return err
		}
		return os.Remove(temp)
	})
}

// SyncDir makes the names in a directory durable: what was created in it,
// renamed into it or removed from it.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sweep removes temporary files that a crash left in dir. Only the one process
// that writes in dir may call it, before it writes.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.Contains(e.Name(), tempMark) {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// place writes a temporary file and moves it to path with move.
func place(path string, data []byte, perm fs.FileMode, move func(temp, path string) error) error {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	temp, err := writeTemp(dir, name, data, perm)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := move(temp, path); err != nil {
		os.Remove(temp)
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := SyncDir(dir); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// writeTemp writes and syncs a temporary file in dir and returns its path.
func writeTemp(dir, name string, data []byte, perm fs.FileMode) (string, error) {
	f, err := os.CreateTemp(dir, "."+name+tempMark+"*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

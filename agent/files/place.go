package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// linkedDir is where mounts are whose destination is elsewhere, below home.
const linkedDir = ".sky/file_mounts"

// place is where the tree of a mount goes.
type place struct {
	// base is a directory that exists and is believed; rel is the way below it, on
	// which no link may lead out of base.
	base, rel string
	// link is where a symbolic link to the place has to be, empty for none.
	link string
}

func (p place) path() string { return filepath.Join(p.base, p.rel) }

// openDir opens the place as a directory, and makes it first if need be.
func (p place) openDir() (*os.Root, error) { return p.open(p.rel) }

// openParent opens the directory of a place for a single file.
func (p place) openParent() (dir *os.Root, name string, err error) {
	dir, err = p.open(filepath.Dir(p.rel))
	return dir, filepath.Base(p.rel), err
}

func (p place) open(rel string) (*os.Root, error) {
	base, err := os.OpenRoot(p.base)
	if err != nil {
		return nil, err
	}
	defer base.Close()
	if err := base.MkdirAll(rel, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, p.explain(rel, err)
	}
	dir, err := base.OpenRoot(rel)
	if err != nil {
		return nil, p.explain(rel, err)
	}
	return dir, nil
}

// explain tells what to do where the way to the destination is not passable.
func (p place) explain(rel string, err error) error {
	path := filepath.Join(p.base, rel)
	if info, statErr := os.Stat(path); statErr == nil && !info.IsDir() {
		return fmt.Errorf("%w: %s is on the node and no directory; remove it or choose another destination", ErrInWay, path)
	}
	return fmt.Errorf("%w: %s cannot be a directory, or is behind a link that leads out of %s (%w); remove the link or choose another destination",
		ErrDestination, path, p.base, err)
}

// makeLink puts the link at a destination that is elsewhere, if that is permitted.
func (p place) makeLink() error {
	if p.link == "" {
		return nil
	}
	err := os.MkdirAll(filepath.Dir(p.link), 0o755)
	if err == nil {
		err = os.Symlink(p.path(), p.link)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return p.takeLink()
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %s cannot be made on this machine (%w); use a destination under ~/ or /tmp, or create %s with write permission for this user",
			ErrDestination, p.link, err, filepath.Dir(p.link))
	}
	return err
}

// takeLink looks at what is at the destination already: our own link is right, and
// a link of ours that leads nowhere any more is replaced.
func (p place) takeLink() error {
	target, err := os.Readlink(p.link)
	if err != nil {
		return fmt.Errorf("%w: %s is on the machine already and no link made by stix; move it away, or use a destination under ~/", ErrInWay, p.link)
	}
	if target == p.path() {
		return nil
	}
	if _, err := os.Stat(p.link); !errors.Is(err, fs.ErrNotExist) || !strings.HasSuffix(target, "/"+filepath.Join(linkedDir, p.link)) {
		return fmt.Errorf("%w: %s is a link to %s; remove it, or use a destination under ~/", ErrInWay, p.link, target)
	}
	temp := filepath.Join(filepath.Dir(p.link), tempName(filepath.Base(p.link)))
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(p.path(), temp); err != nil {
		return err
	}
	return os.Rename(temp, p.link)
}

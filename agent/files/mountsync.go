package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// maxEntries bounds what one tree makes on a node: a small tree object that is
// named many times stands for very many files.
const maxEntries = 10_000_000

// mountSync is one sync of one mount.
type mountSync struct {
	syncer *Syncer
	names  cacheNames
	root   string
	place  place
	// old is what the last sync wrote, now what is right so far.
	old, now *manifest
	// trees are the decoded tree objects.
	trees map[string]*stixv1.Tree

	// top is the destination, or the directory of a single file.
	top *os.Root
	// last is the directory that was opened last, below top.
	last     *os.Root
	lastPath string

	wanted  []*wantedFile
	links   []link
	modes   []dirMode
	entries int
	// written and compared count files.
	written, compared int
}

// wantedFile is a file that has to be written.
type wantedFile struct {
	dir, name string
	entry     *stixv1.TreeEntry
	content   [sha256.Size]byte
	// left counts the parts to come; begun says that the temporary file is there.
	left  int
	begun bool
}

func (f *wantedFile) path() string { return join(f.dir, f.name) }

// link is a symbolic link that has to be made.
type link struct{ dir, name, target string }

// dirMode is what a directory's mode has to be in the end. Until then it is one in
// which we can write.
type dirMode struct {
	path string
	mode fs.FileMode
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func (j *mountSync) close() {
	for _, r := range []*os.Root{j.last, j.top} {
		if r != nil {
			r.Close()
		}
	}
}

func (j *mountSync) run(ctx context.Context) (err error) {
	if err := j.loadTrees(ctx); err != nil {
		return err
	}
	single, isSingle := tree.Single(j.trees[j.root])
	name := ""
	if isSingle {
		j.top, name, err = j.place.openParent()
	} else {
		j.top, err = j.place.openDir()
	}
	if err != nil {
		return err
	}
	j.removeLeftovers()
	// Also after an error: a directory of the user must not stay as we needed it.
	defer func() { err = errors.Join(err, j.setModes()) }()
	if isSingle {
		err = j.file(j.top, "", name, single)
	} else {
		err = j.dir(ctx, j.top, "", j.root, 0)
	}
	if err != nil {
		return err
	}
	return j.finish(ctx)
}

// finish writes what is wanted, and the manifest.
func (j *mountSync) finish(ctx context.Context) error {
	if err := j.write(ctx); err != nil {
		return err
	}
	if j.now.changed || j.old.root != j.root || len(j.old.files) != len(j.now.files) {
		if err := j.now.save(j.names.manifest); err != nil {
			return err
		}
	}
	if err := os.Remove(j.names.journal); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (j *mountSync) write(ctx context.Context) error {
	if len(j.wanted)+len(j.links) == 0 {
		return nil
	}
	temps := make([]string, 0, len(j.wanted)+len(j.links))
	for _, f := range j.wanted {
		temps = append(temps, join(f.dir, tempName(f.name)))
	}
	for _, l := range j.links {
		temps = append(temps, join(l.dir, tempName(l.name)))
	}
	if err := writeJournal(j.names.journal, temps); err != nil {
		return err
	}
	for _, l := range j.links {
		if err := j.makeLink(l); err != nil {
			return describe(join(l.dir, l.name), err)
		}
	}
	return j.fetchFiles(ctx)
}

func (j *mountSync) makeLink(l link) error {
	dir, err := j.open(l.dir)
	if err != nil {
		return err
	}
	temp := tempName(l.name)
	if err := dir.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := dir.Symlink(l.target, temp); err != nil {
		return err
	}
	return replace(dir, temp, l.name)
}

// removeLeftovers ends a sync that was interrupted: what it did not rename goes.
func (j *mountSync) removeLeftovers() {
	for _, temp := range readJournal(j.names.journal) {
		if err := j.top.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			j.syncer.cfg.Logger.Debug("temporary file stays", "path", temp, "error", err)
		}
	}
}

// open opens a directory below the top, "" for the top itself. It stays open until
// the next call.
func (j *mountSync) open(path string) (*os.Root, error) {
	if path == "" {
		return j.top, nil
	}
	if j.last != nil && j.lastPath == path {
		return j.last, nil
	}
	dir, err := j.top.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	if j.last != nil {
		j.last.Close()
	}
	j.last, j.lastPath = dir, path
	return dir, nil
}

// dir makes a directory of the tree what it should be: directories and links at
// once, files as far as they are right, the others are wanted.
func (j *mountSync) dir(ctx context.Context, dir *os.Root, path, hash string, depth int) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	entries := j.trees[hash].GetEntries()
	if j.entries += len(entries); j.entries > maxEntries || depth > tree.MaxDepth {
		return fmt.Errorf("%w: too many files or too deep", ErrTree)
	}
	for _, e := range entries {
		var err error
		switch name := string(e.GetName()); e.GetType() {
		case stixv1.TreeEntryType_TREE_ENTRY_TYPE_DIRECTORY:
			err = j.subdir(ctx, dir, path, e, depth)
		case stixv1.TreeEntryType_TREE_ENTRY_TYPE_SYMLINK:
			if now, err := dir.Readlink(name); err != nil || now != string(e.GetTarget()) {
				j.links = append(j.links, link{dir: path, name: name, target: string(e.GetTarget())})
			}
		default:
			err = describe(join(path, name), j.file(dir, path, name, e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func describe(path string, err error) error {
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (j *mountSync) subdir(ctx context.Context, dir *os.Root, path string, e *stixv1.TreeEntry, depth int) error {
	name := string(e.GetName())
	path = join(path, name)
	mode, err := makeDir(dir, name)
	if err != nil {
		return describe(path, err)
	}
	want := fs.FileMode(e.GetMode())
	if mode&0o700 != 0o700 {
		if err := dir.Chmod(name, mode|0o700); err != nil {
			return describe(path, err)
		}
		mode |= 0o700
	}
	if mode != want {
		j.modes = append(j.modes, dirMode{path: path, mode: want})
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return describe(path, err)
	}
	defer sub.Close()
	return j.dir(ctx, sub, path, hex.EncodeToString(e.GetHashes()[0]), depth+1)
}

// makeDir makes sure that name is a directory itself, and returns its mode.
func makeDir(dir *os.Root, name string) (fs.FileMode, error) {
	info, err := dir.Lstat(name)
	if err == nil && info.IsDir() {
		return info.Mode().Perm(), nil
	}
	if err == nil {
		err = dir.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if err := dir.Mkdir(name, 0o700); err != nil {
		return 0, err
	}
	info, err = dir.Lstat(name)
	if err != nil {
		return 0, err
	}
	return info.Mode().Perm(), nil
}

// replace renames the temporary file to its name, over what is there.
func replace(dir *os.Root, temp, name string) error {
	err := dir.Rename(temp, name)
	if err == nil {
		return nil
	}
	if info, statErr := dir.Lstat(name); statErr == nil && info.IsDir() {
		// Only an empty directory goes.
		if dir.Remove(name) == nil {
			err = dir.Rename(temp, name)
		} else {
			err = fmt.Errorf("%w: there is a directory with files; remove it on the node", ErrInWay)
		}
	}
	if err != nil {
		return errors.Join(err, dir.Remove(temp))
	}
	return nil
}

// file decides whether a file is right. If it is not known to be, it is read.
func (j *mountSync) file(dir *os.Root, path, name string, e *stixv1.TreeEntry) error {
	f := &wantedFile{dir: path, name: name, entry: e, left: len(e.GetHashes()), content: contentOf(e)}
	info, err := dir.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.Mode().IsRegular() && info.Size() == e.GetSize():
		if right, err := j.right(dir, f, info); right || err != nil {
			return err
		}
	}
	j.wanted = append(j.wanted, f)
	return nil
}

// contentOf names the content of a file.
func contentOf(e *stixv1.TreeEntry) [sha256.Size]byte {
	h := sha256.New()
	for _, part := range e.GetHashes() {
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// right reports whether a file has the content already, by the manifest or by
// reading it. If so its mode is set, and it is in the new manifest.
func (j *mountSync) right(dir *os.Root, f *wantedFile, info fs.FileInfo) (bool, error) {
	was, known := j.old.files[f.path()]
	if known && was.trusted(f.content, statOf(info)) && info.Mode().Perm() == fs.FileMode(f.entry.GetMode()) {
		j.now.files[f.path()] = was
		return true, nil
	}
	if !known || !was.trusted(f.content, statOf(info)) {
		j.compared++
		if same, err := sameContent(dir, f); !same || err != nil {
			return false, err
		}
	}
	if info.Mode().Perm() != fs.FileMode(f.entry.GetMode()) {
		if err := dir.Chmod(f.name, fs.FileMode(f.entry.GetMode())); err != nil {
			return false, err
		}
	}
	return true, j.keep(dir, f)
}

// keep puts a file that is right into the new manifest.
func (j *mountSync) keep(dir *os.Root, f *wantedFile) error {
	info, err := dir.Lstat(f.name)
	if err != nil {
		return err
	}
	j.now.changed = true
	j.now.files[f.path()] = written{content: f.content, stat: statOf(info), checked: j.now.checked}
	return nil
}

// keepOwn is keep for a file that this sync has put in its place. It is trusted at
// once: the rename set its times, and who changed it would have set them again.
func (j *mountSync) keepOwn(dir *os.Root, f *wantedFile) error {
	if err := j.keep(dir, f); err != nil {
		return err
	}
	w := j.now.files[f.path()]
	w.checked = max(w.stat.mtime, w.stat.ctime) + int64(settle) + 1
	j.now.files[f.path()] = w
	return nil
}

// sameContent reads a file of the right size. What cannot be read is not right.
func sameContent(dir *os.Root, f *wantedFile) (bool, error) {
	// Without waiting, should it have become a named pipe.
	file, err := dir.OpenFile(f.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	h := sha256.New()
	for _, want := range f.entry.GetHashes() {
		h.Reset()
		if _, err := io.Copy(h, io.LimitReader(file, tree.PartSize)); err != nil {
			return false, err
		}
		if string(h.Sum(nil)) != string(want) {
			return false, nil
		}
	}
	return true, nil
}

// setModes gives directories the modes of the tree, those below first, so that one
// that cannot be entered is the last.
func (j *mountSync) setModes() error {
	var errs []error
	for i := len(j.modes) - 1; i >= 0; i-- {
		m := j.modes[i]
		if err := j.top.Chmod(filepath.FromSlash(m.path), m.mode); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, describe(m.path, err))
		}
	}
	return errors.Join(errs...)
}

package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// ErrChanged is the kind of the error about a file that changes while it is
// read. Building again may succeed.
var ErrChanged = errors.New("file changed while it was read")

// Config says what Build reads.
type Config struct {
	// Root is the absolute path of a directory or a regular file. A symbolic link
	// there is followed; all others are kept as links.
	Root string
	// CacheDir keeps what is known of unchanged files from one Build to the next.
	// Empty means that every file is read.
	CacheDir string
	// GitExcludes is git's core.excludesFile of the user. Empty means none.
	GitExcludes string
	// Workers read files at the same time. Zero means one for each processor.
	Workers int
	// Now tells the time. Nil means time.Now.
	Now func() time.Time
}

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case !filepath.IsAbs(c.Root):
		return fmt.Errorf("root %q is not an absolute path", c.Root)
	case c.Workers < 0:
		return fmt.Errorf("workers %d is negative", c.Workers)
	}
	return nil
}

// Warning is about a file that is not in the tree, or not used, and why.
type Warning struct {
	// Path is relative to the root.
	Path string
	Text string
}

func (w Warning) String() string { return w.Path + ": " + w.Text }

// Result is a tree that is ready to be uploaded.
type Result struct {
	// Root is the hash of the root's tree object.
	Root string
	// Objects are all blobs of the tree by hash.
	Objects map[string]Object
	// Order has every hash of Objects once, children before the tree objects that
	// name them: the order to upload in.
	Order []string
	// Files counts regular files, Bytes their sizes.
	Files, Bytes int64
	// Read is how many bytes were read, because the cache did not know them.
	Read     int64
	Warnings []Warning
}

// Build makes the tree of a directory or a file. What ignore rules leave out, and
// what is neither file nor directory nor symbolic link, is not in it. It errors
// for what cannot be read, naming it, and with ErrChanged.
func Build(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("build tree: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	root, err := filepath.EvalSymlinks(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", cfg.Root, err)
	}
	cache := openCache(cfg.CacheDir, root)
	w := &walk{root: root, gitExcludes: cfg.GitExcludes, cache: cache}
	if cache.unusable != "" {
		w.warn(cache.path, cache.unusable)
	}
	started := cfg.Now()
	top, err := w.scanRoot(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.hash(ctx, cfg.Workers); err != nil {
		return nil, err
	}
	if err := cache.save(w.files, started); err != nil {
		w.warn(cache.path, err.Error())
	}
	return w.result(top)
}

// node is one file, directory or link on the way into the tree.
type node struct {
	// path is relative to the root, "" for the root itself.
	path     string
	entry    *stixv1.TreeEntry
	stat     fileStat
	children []*node
	// known says that the hashes came from the cache.
	known bool
}

// walk is one Build under way.
type walk struct {
	root        string
	gitExcludes string
	cache       *cache
	files       []*node
	read        int64
	warnings    []Warning
}

func (w *walk) warn(path, text string) {
	w.warnings = append(w.warnings, Warning{Path: path, Text: text})
}

func (w *walk) abs(path string) string { return filepath.Join(w.root, path) }

func (w *walk) scanRoot(ctx context.Context) (*node, error) {
	info, err := os.Lstat(w.root)
	if err != nil {
		return nil, readError(w.root, err)
	}
	switch {
	case info.IsDir():
		rules, err := w.rootRules(w.root)
		if err != nil {
			return nil, readError(w.root, err)
		}
		top := &node{}
		return top, w.scan(ctx, top, rules, 0)
	case info.Mode().IsRegular():
		file := w.fileNode("", nil, info)
		return &node{children: []*node{file}}, nil
	}
	return nil, fmt.Errorf("read %s: neither a directory nor a regular file", w.root)
}

// scan reads the entries of a directory and what is below them.
func (w *walk) scan(ctx context.Context, dir *node, rules rules, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("read %s: more than %d directories deep", w.abs(dir.path), MaxDepth)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	entries, err := os.ReadDir(w.abs(dir.path))
	if err != nil {
		return readError(w.abs(dir.path), err)
	}
	if rules, err = w.enter(dir, rules, entries); err != nil {
		return readError(w.abs(dir.path), err)
	}
	for _, e := range entries {
		path := slashed(dir.path) + e.Name()
		ignored := rules.ignored(path, e.Name(), e.IsDir())
		if ignored {
			continue
		}
		child, err := w.child(path, e)
		if err != nil {
			return readError(w.abs(path), err)
		}
		if child == nil {
			continue
		}
		dir.children = append(dir.children, child)
		if child.entry.Type == stixv1.TreeEntryType_TREE_ENTRY_TYPE_DIRECTORY {
			if err := w.scan(ctx, child, rules.below(path, e.Name()), depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// enter returns the rules inside a directory: a repository in a repository has
// its own, and a .gitignore adds to those above it.
func (w *walk) enter(dir *node, r rules, entries []fs.DirEntry) (rules, error) {
	if r.repo == nil {
		return r, nil
	}
	if dir.path != "" && has(entries, ".git") && isRepository(w.abs(dir.path)) {
		var err error
		if r, err = w.repositoryRules(w.abs(dir.path), w.abs(dir.path), dir.path); err != nil {
			return rules{}, err
		}
	}
	if !has(entries, ".gitignore") {
		return r, nil
	}
	data, err := readIgnoreFile(w.abs(dir.path))
	if err != nil {
		return rules{}, err
	}
	r.add(dir.path, "", data)
	return r, nil
}

func has(entries []fs.DirEntry, name string) bool {
	for _, e := range entries {
		if e.Name() == name {
			return true
		}
	}
	return false
}

// below returns the rules for a directory that is walked.
func (r rules) below(path, name string) rules {
	switch {
	case r.repo == nil:
		return r
	case name == ".git":
		return rules{}
	}
	r.under = r.under || r.matched(path, name, true)
	return r
}

// child makes the node of one entry, or nil with a warning for what is left out.
func (w *walk) child(path string, e fs.DirEntry) (*node, error) {
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		w.warn(path, "vanished while the directory was read")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	name := []byte(e.Name())
	switch info.Mode().Type() {
	case 0:
		return w.fileNode(path, name, info), nil
	case fs.ModeDir:
		return &node{path: path, entry: &stixv1.TreeEntry{
			Name: name, Type: stixv1.TreeEntryType_TREE_ENTRY_TYPE_DIRECTORY, Mode: uint32(info.Mode().Perm()),
		}}, nil
	case fs.ModeSymlink:
		target, err := os.Readlink(w.abs(path))
		return &node{path: path, entry: &stixv1.TreeEntry{
			Name: name, Type: stixv1.TreeEntryType_TREE_ENTRY_TYPE_SYMLINK, Target: []byte(target),
		}}, err
	}
	w.warn(path, "left out: it is a "+kindOf(info.Mode()))
	return nil, nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	}
	return "device"
}

// fileNode makes the node of a regular file, with its hashes if they are known.
func (w *walk) fileNode(path string, name []byte, info fs.FileInfo) *node {
	n := &node{path: path, stat: statOf(info), entry: &stixv1.TreeEntry{
		Name: name, Type: stixv1.TreeEntryType_TREE_ENTRY_TYPE_FILE,
		Mode: uint32(info.Mode().Perm()), Size: info.Size(),
	}}
	n.entry.Hashes, n.known = w.cache.lookup(path, n.stat)
	w.files = append(w.files, n)
	return n
}

// hash reads the files whose content is not known.
func (w *walk) hash(ctx context.Context, workers int) error {
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for _, n := range w.files {
		if n.known || reading.Err() != nil {
			continue
		}
		w.read += n.stat.size
		g.Go(func() error { return hashFile(reading, w.abs(n.path), n) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// readError tells the user what to do about a file that cannot be read.
func readError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("read %s: %w (make it readable, or name it in .skyignore)", path, err)
	}
	return fmt.Errorf("read %s: %w", path, err)
}

// Package files brings uploaded files onto a node: it makes directories and files
// what the trees of a job's mounts say.
//
// As with rsync's archive mode without owner and group, and without deletion: files
// of the node that are not in the tree stay; what is in the way of a file, a
// directory or a link of the tree is replaced, except a directory that is not
// empty. Times are not carried over.
//
// Nothing is written outside a mount's destination: names come from decoded trees,
// and every path is opened below an os.Root, which follows no link that leads out.
//
// A manifest in the cache directory remembers what was written, so that unchanged
// files cost one look and no bytes. It is a saving only: without it, or after a
// reboot (files are not synced to disk one by one), the files on the node are read
// and compared, and still not fetched when they are right.
//
// Crash steps: a file is written beside its place and renamed. Before the first
// byte, a journal in the cache directory lists the directories; when it is there at
// the next sync, temporary files in them are removed. Then everything is compared
// again: a sync that was interrupted is simply repeated.
package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/internal/filelock"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Fetch asks a coordinator for blobs and passes each to recv, in order, as it
// comes. A blob that the coordinator does not have is an error.
type Fetch func(ctx context.Context, hashes []string, recv func(hash string, r io.Reader) error) error

// Kinds of errors, for errors.Is.
var (
	// ErrMissing: a blob of the tree did not come.
	ErrMissing = errors.New("blob is missing")
	// ErrDamaged: a blob came with other bytes than its hash says.
	ErrDamaged = errors.New("blob arrived damaged")
	// ErrDestination: the mount cannot be at its destination.
	ErrDestination = errors.New("bad destination")
	// ErrInWay: something on the node is in the way and is not removed.
	ErrInWay = errors.New("in the way")
	// ErrTree: the tree is not one that a client makes.
	ErrTree = errors.New("bad tree")
)

// Config of a Syncer.
type Config struct {
	// Fetch gets blobs from a coordinator.
	Fetch Fetch
	// CacheDir is for manifests and locks. It is made if it is not there.
	CacheDir string
	// BootID of the kernel: after a reboot files are compared again. Empty means
	// that there is no telling, and the manifest is believed.
	BootID string
	// Logger is told what each sync did, at debug level. Nil means none.
	Logger hclog.Logger
}

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case c.Fetch == nil:
		return errors.New("no way to fetch blobs")
	case !filepath.IsAbs(c.CacheDir):
		return fmt.Errorf("cache directory %q is not an absolute path", c.CacheDir)
	}
	return nil
}

// Syncer brings trees onto this node.
type Syncer struct{ cfg Config }

// New checks the configuration.
func New(cfg Config) (*Syncer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &Syncer{cfg: cfg}, nil
}

// Sync makes the destinations of the mounts what their trees say, one after the
// other. Home is the home directory that "~" stands for. Syncs of one destination
// exclude each other, also between processes. After an error, or when ctx ends,
// some files are new and some old, none torn; Sync may be called again.
func (s *Syncer) Sync(ctx context.Context, mounts []*stixv1.Mount, home string) error {
	if !filepath.IsAbs(home) {
		return fmt.Errorf("sync files: home %q is not an absolute path", home)
	}
	if err := os.MkdirAll(s.cfg.CacheDir, 0o700); err != nil {
		return fmt.Errorf("sync files: %w", err)
	}
	for _, m := range mounts {
		if err := s.mount(ctx, m, home); err != nil {
			return fmt.Errorf("sync %s: %w", m.GetDestination(), err)
		}
	}
	return nil
}

func (s *Syncer) mount(ctx context.Context, m *stixv1.Mount, home string) (err error) {
	place, err := locate(m.GetDestination(), filepath.Clean(home))
	if err != nil {
		return err
	}
	names := s.cacheNames(place.path())
	lock, err := filelock.Lock(ctx, names.lock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := place.makeLink(); err != nil {
		return err
	}
	started := time.Now()
	j := &mountSync{
		syncer: s, names: names, root: m.GetRoot(), place: place,
		old: loadManifest(names.manifest, s.cfg.BootID), now: newManifest(s.cfg.BootID, m.GetRoot(), started),
	}
	defer j.close()
	if err := j.run(ctx); err != nil {
		return err
	}
	s.cfg.Logger.Debug("files synced", "destination", m.GetDestination(), "files", len(j.now.files),
		"written", j.written, "compared", j.compared, "took", time.Since(started))
	return nil
}

// locate finds out where the tree of a mount goes: below home or /tmp directly,
// anything else into home with a link at the destination. What is relative is in
// the working directory of jobs.
func locate(destination, home string) (place, error) {
	clean := filepath.Clean(destination)
	bad := func(why string) (place, error) {
		return place{}, fmt.Errorf("%w %q: %s", ErrDestination, destination, why)
	}
	switch {
	case destination == "" || strings.ContainsRune(destination, 0):
		return bad("not a path")
	case hasDotDot(destination):
		return bad(`".." is not allowed`)
	case clean == "~" || clean == home:
		return place{base: home, rel: "."}, nil
	case strings.HasPrefix(clean, "~/"):
		return place{base: home, rel: clean[2:]}, nil
	case strings.HasPrefix(clean, "~"):
		return bad("the home directory of another user")
	case !filepath.IsAbs(clean):
		return place{base: home, rel: filepath.Join("sky_workdir", clean)}, nil
	case clean == "/" || clean == "/tmp":
		return bad("the whole of it cannot be a destination")
	}
	if rel, ok := strings.CutPrefix(clean, home+"/"); ok {
		return place{base: home, rel: rel}, nil
	}
	if rel, ok := strings.CutPrefix(clean, "/tmp/"); ok {
		return place{base: "/tmp", rel: rel}, nil
	}
	return place{base: home, rel: filepath.Join(linkedDir, clean), link: clean}, nil
}

func hasDotDot(path string) bool {
	for element := range strings.SplitSeq(path, "/") {
		if element == ".." {
			return true
		}
	}
	return false
}

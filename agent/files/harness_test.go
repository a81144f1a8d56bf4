package files_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stix-run/stix/agent/files"
	"github.com/stix-run/stix/internal/testlog"
	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// server has blobs, as a coordinator does, and counts what is fetched.
type server struct {
	mu      sync.Mutex
	blobs   map[string][]byte
	fetched map[string]int
	calls   int
	// change is applied to the bytes that are sent.
	change func(hash string, data []byte) ([]byte, error)
}

func newServer() *server { return &server{blobs: map[string][]byte{}, fetched: map[string]int{}} }

func (s *server) fetch(ctx context.Context, hashes []string, recv func(string, io.Reader) error) error {
	s.mu.Lock()
	s.calls++
	s.mu.Unlock()
	for _, hash := range hashes {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.mu.Lock()
		data, ok := s.blobs[hash]
		s.fetched[hash]++
		change := s.change
		s.mu.Unlock()
		if !ok {
			return fmt.Errorf("no blob %s", hash)
		}
		if change != nil {
			var err error
			if data, err = change(hash, data); err != nil {
				return err
			}
		}
		if err := recv(hash, bytes.NewReader(data)); err != nil {
			return err
		}
	}
	return nil
}

// reset forgets what was fetched.
func (s *server) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched, s.calls = map[string]int{}, 0
}

// upload builds the tree of a path and returns the mount for it.
func (s *server) upload(t testing.TB, path, destination string) *stixv1.Mount {
	t.Helper()
	res, err := tree.Build(t.Context(), tree.Config{Root: path})
	if err != nil {
		t.Fatal(err)
	}
	for hash, o := range res.Objects {
		r, err := o.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		s.blobs[hash] = data
	}
	return &stixv1.Mount{Destination: destination, Root: res.Root, Files: res.Files, Bytes: res.Bytes}
}

// put adds a hand-made tree object and returns its hash.
func (s *server) put(t testing.TB, entries ...*stixv1.TreeEntry) string {
	t.Helper()
	data, err := tree.Encode(&stixv1.Tree{Version: 1, Entries: entries})
	if err != nil {
		t.Fatal(err)
	}
	s.blobs[tree.Hash(data)] = data
	return tree.Hash(data)
}

// node is a machine: a home, a cache, and a syncer.
type node struct {
	*files.Syncer
	home, cache string
}

func newNode(t testing.TB, s *server) *node {
	t.Helper()
	n := &node{home: tempDir(t), cache: tempDir(t)}
	n.boot(t, s, "boot-1")
	return n
}

// boot starts a syncer as after a start of the machine.
func (n *node) boot(t testing.TB, s *server, id string) {
	t.Helper()
	var err error
	n.Syncer, err = files.New(files.Config{Fetch: s.fetch, CacheDir: n.cache, BootID: id, Logger: testlog.New(t)})
	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) sync(t testing.TB, mounts ...*stixv1.Mount) {
	t.Helper()
	if err := n.Sync(t.Context(), mounts, n.home); err != nil {
		t.Fatal(err)
	}
}

func (n *node) fails(t testing.TB, kind error, mounts ...*stixv1.Mount) {
	t.Helper()
	err := n.Sync(t.Context(), mounts, n.home)
	if !errors.Is(err, kind) {
		t.Fatalf("Sync = %v, want %v", err, kind)
	}
	t.Log(err)
}

// tempDir is t.TempDir that can be removed whatever the modes in it are.
func tempDir(t testing.TB) string {
	dir := t.TempDir()
	t.Cleanup(func() { unlock(dir) })
	return dir
}

// unlock makes all directories writable. What cannot be changed is none of ours.
func unlock(dir string) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
}

// contents describes everything below a directory, by path.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text = "-> " + target
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + tree.Hash(data)
		}
		all[path[len(dir)+1:]] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t testing.TB, source, destination string) {
	t.Helper()
	want, got := contents(t, source), contents(t, destination)
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			t.Errorf("%q is %q, want %q", path, got[path], want[path])
		}
		delete(got, path)
	}
	for path := range got {
		t.Errorf("%q is too many", path)
	}
}

func write(t testing.TB, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

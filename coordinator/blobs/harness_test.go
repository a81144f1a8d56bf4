package blobs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stix-run/stix/coordinator/blobs"
	"github.com/stix-run/stix/internal/testlog"
	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const (
	fileKind = stixv1.BlobKind_BLOB_KIND_FILE
	treeKind = stixv1.BlobKind_BLOB_KIND_TREE
)

// clock is a time that the test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// store is a store with the clock it lives by.
type store struct {
	*blobs.Store
	clock *clock
	dir   string
}

func newStore(t testing.TB, change ...func(*blobs.Config)) *store {
	t.Helper()
	s := &store{clock: &clock{at: time.Unix(1e9, 0)}, dir: t.TempDir()}
	s.reopen(t, change...)
	return s
}

func (s *store) reopen(t testing.TB, change ...func(*blobs.Config)) {
	t.Helper()
	cfg := blobs.Config{Dir: s.dir, Now: s.clock.now, Logger: testlog.New(t)}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	s.Store, err = blobs.New(cfg)
	must(t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t testing.TB, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error %v, want %v", err, kind)
	}
	t.Log(err)
}

// missing returns what the store says it does not have.
func (s *store) missing(t testing.TB, hashes ...string) []string {
	t.Helper()
	m, err := s.Missing(hashes)
	must(t, err)
	return m
}

// put stores bytes and returns their hash.
func (s *store) put(t testing.TB, kind stixv1.BlobKind, data []byte) string {
	t.Helper()
	must(t, s.Put(t.Context(), tree.Hash(data), kind, bytes.NewReader(data)))
	return tree.Hash(data)
}

// refs are the roots in use.
type refs []string

func (r refs) Roots() iter.Seq[string] { return slices.Values(r) }

// collect removes what the roots do not need.
func (s *store) collect(t testing.TB, roots ...string) blobs.Collected {
	t.Helper()
	done, err := s.Collect(t.Context(), refs(roots))
	must(t, err)
	return done
}

// messages splits blobs into the messages of an upload.
func messages(pieceBytes int, objects ...object) func() (*stixv1.UploadRequest, error) {
	var all []*stixv1.UploadRequest
	for _, o := range objects {
		m := &stixv1.UploadRequest{Hash: o.hash, Kind: o.kind}
		for rest := o.data; ; m = (&stixv1.UploadRequest{}) {
			n := min(len(rest), pieceBytes)
			m.Data, rest = rest[:n], rest[n:]
			m.Last = len(rest) == 0
			all = append(all, m)
			if m.Last {
				break
			}
		}
	}
	return func() (*stixv1.UploadRequest, error) {
		if len(all) == 0 {
			return nil, io.EOF
		}
		m := all[0]
		all = all[1:]
		return m, nil
	}
}

type object struct {
	hash string
	kind stixv1.BlobKind
	data []byte
}

func fileObject(data string) object {
	return object{hash: tree.Hash([]byte(data)), kind: fileKind, data: []byte(data)}
}

// treeObject is a directory with these children, named by their order.
func treeObject(t testing.TB, children ...object) object {
	t.Helper()
	tr := &stixv1.Tree{Version: 1}
	for i, c := range children {
		sum, err := hex.DecodeString(c.hash)
		must(t, err)
		e := &stixv1.TreeEntry{Name: fmt.Appendf(nil, "%04d", i), Hashes: [][]byte{sum}, Mode: 0o700}
		if c.kind == treeKind {
			e.Type = stixv1.TreeEntryType_TREE_ENTRY_TYPE_DIRECTORY
		} else {
			e.Type, e.Size = stixv1.TreeEntryType_TREE_ENTRY_TYPE_FILE, int64(len(c.data))
		}
		tr.Entries = append(tr.Entries, e)
	}
	data, err := tree.Encode(tr)
	must(t, err)
	return object{hash: tree.Hash(data), kind: treeKind, data: data}
}

// upload sends the objects in one stream.
func (s *store) upload(ctx context.Context, objects ...object) error {
	_, err := s.Upload(ctx, messages(1000, objects...))
	return err
}

// get fetches one blob and checks it against its hash.
func (s *store) get(t testing.TB, hash string) []byte {
	t.Helper()
	var data []byte
	err := s.Fetch(t.Context(), []string{hash}, func(m *stixv1.FetchBlobsResponse) error {
		data = append(data, m.Data...)
		return nil
	})
	must(t, err)
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != hash {
		t.Fatalf("blob %s has other bytes", hash)
	}
	return data
}

// whole makes sure that everything below each tree object of the store is there.
func (s *store) whole(t testing.TB) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dir, "tree"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		must(t, err)
		tr, err := tree.Decode(data)
		must(t, err)
		for hash, kind := range tree.Children(tr) {
			in := []string{"tree", "file", "copy"}
			if kind == treeKind {
				in = in[:1]
			}
			if !slices.ContainsFunc(in, func(space string) bool {
				_, err := os.Stat(filepath.Join(s.dir, space, hash[:2], hash))
				return err == nil
			}) {
				t.Errorf("tree object %s is there without %s", d.Name(), hash)
			}
		}
		return nil
	})
	must(t, err)
}

// temps returns how many unfinished uploads lie in the store.
func (s *store) temps(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.dir, "tmp"))
	must(t, err)
	return len(entries)
}

// sourceTree makes a directory with some structure and builds its tree.
func sourceTree(t testing.TB, files int) *tree.Result {
	t.Helper()
	dir := t.TempDir()
	for i := range files {
		path := filepath.Join(dir, fmt.Sprint("d", i%7), fmt.Sprint("e", i%3), fmt.Sprint("f", i))
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(strings.Repeat(fmt.Sprint(i), i)), 0o600))
	}
	res, err := tree.Build(t.Context(), tree.Config{Root: dir})
	must(t, err)
	return res
}

// objectsOf reads the objects of a tree in upload order, those of only if given.
func objectsOf(t testing.TB, res *tree.Result, only ...string) []object {
	t.Helper()
	var all []object
	for _, hash := range res.Order {
		if only != nil && !slices.Contains(only, hash) {
			continue
		}
		r, err := res.Objects[hash].Open()
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		all = append(all, object{hash: hash, kind: res.Objects[hash].Kind, data: data})
	}
	return all
}

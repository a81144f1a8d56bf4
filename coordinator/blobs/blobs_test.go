package blobs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stix-run/stix/coordinator/blobs"
	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestUploadedTreeIsFetchedAsItWas(t *testing.T) {
	s := newStore(t)
	res := sourceTree(t, 200)
	if got := s.missing(t, res.Order...); !slices.Equal(got, res.Order) {
		t.Fatalf("%d of %d are missing from an empty store", len(got), len(res.Order))
	}
	must(t, s.upload(t.Context(), objectsOf(t, res)...))
	s.whole(t)
	if got := s.missing(t, res.Order...); got != nil {
		t.Fatalf("missing after the upload: %v", got)
	}
	var got []string
	err := s.Fetch(t.Context(), res.Order, func(m *stixv1.FetchBlobsResponse) error {
		if m.Last {
			got = append(got, m.Hash)
		}
		return nil
	})
	must(t, err)
	if !slices.Equal(got, res.Order) {
		t.Fatal("not fetched in order")
	}
	for _, o := range objectsOf(t, res) {
		if !bytes.Equal(s.get(t, o.hash), o.data) {
			t.Fatalf("%s has other bytes", o.hash)
		}
	}
	s.reopen(t)
	if got := s.missing(t, res.Root); got != nil {
		t.Fatal("gone after a restart")
	}
}

func TestUploadTellsWhatItTook(t *testing.T) {
	s := newStore(t)
	a, empty := fileObject(strings.Repeat("a", 2500)), fileObject("")
	for range 2 {
		got, err := s.Upload(t.Context(), messages(1000, a, empty, treeObject(t, a)))
		must(t, err)
		if got.Blobs != 3 || got.Bytes < 2500 {
			t.Fatalf("%v", got)
		}
	}
}

func TestTreesComeAfterTheirChildren(t *testing.T) {
	s := newStore(t)
	part := fileObject("part")
	below := treeObject(t, part)
	top := treeObject(t, below, part)
	wantKind(t, s.upload(t.Context(), below), blobs.ErrChildMissing)
	wantKind(t, s.upload(t.Context(), part, top), blobs.ErrChildMissing)
	if got := s.missing(t, part.hash, below.hash, top.hash); !slices.Equal(got, []string{below.hash, top.hash}) {
		t.Fatalf("missing %v: what arrived whole before the error is kept, nothing else", got)
	}
	must(t, s.upload(t.Context(), below, top))
	s.whole(t)
	if n := s.temps(t); n != 0 {
		t.Errorf("%d temporary files", n)
	}
}

// A file may have the bytes of a tree object, for example in a copy of a blob
// directory. It must not pass for the tree, whose children nobody sent.
func TestFileThatLooksLikeATreePromisesNothing(t *testing.T) {
	s := newStore(t)
	part := fileObject("part")
	dir := treeObject(t, part)
	posing := object{hash: dir.hash, kind: fileKind, data: dir.data}
	holder := treeObject(t, posing)
	must(t, s.upload(t.Context(), posing, holder))
	if got := s.missing(t, dir.hash, holder.hash); !slices.Equal(got, []string{dir.hash}) {
		t.Fatalf("missing %v", got)
	}
	if !bytes.Equal(s.get(t, dir.hash), dir.data) {
		t.Fatal("the file cannot be fetched")
	}
	wantKind(t, s.upload(t.Context(), treeObject(t, dir)), blobs.ErrChildMissing)
	must(t, s.upload(t.Context(), part, dir, treeObject(t, dir)))
	s.clock.pass(2 * time.Hour)
	s.collect(t, holder.hash)
	s.whole(t)
	if !bytes.Equal(s.get(t, dir.hash), dir.data) || s.missing(t, holder.hash) != nil {
		t.Fatal("the file was collected")
	}
}

func TestBadUploadsAreRefused(t *testing.T) {
	s := newStore(t, func(c *blobs.Config) { c.Reserve = -1 })
	good := fileObject("good")
	bad := func(change func(*object)) object {
		o := good
		change(&o)
		return o
	}
	for name, c := range map[string]struct {
		o    object
		kind error
	}{
		"other bytes":    {bad(func(o *object) { o.data = []byte("evil") }), blobs.ErrMismatch},
		"path":           {bad(func(o *object) { o.hash = "../../../etc/passwd" }), blobs.ErrInvalid},
		"upper case":     {bad(func(o *object) { o.hash = strings.ToUpper(o.hash) }), blobs.ErrInvalid},
		"no hash":        {bad(func(o *object) { o.hash = "" }), blobs.ErrInvalid},
		"no kind":        {bad(func(o *object) { o.kind = 0 }), blobs.ErrInvalid},
		"no tree":        {bad(func(o *object) { o.kind = treeKind }), blobs.ErrInvalid},
		"large part":     {fileObject(strings.Repeat("x", blobs.MaxFileBytes+1)), blobs.ErrTooLarge},
		"large tree":     {bad(func(o *object) { o.kind, o.data = treeKind, make([]byte, blobs.MaxTreeBytes+1) }), blobs.ErrTooLarge},
		"hostile tree":   {hostileTree(), blobs.ErrInvalid},
		"truncated tree": {object{hash: tree.Hash([]byte(tree.Magic)), kind: treeKind, data: []byte(tree.Magic)}, blobs.ErrInvalid},
	} {
		t.Log(name)
		_, err := s.Upload(t.Context(), messages(1<<20, c.o))
		wantKind(t, err, c.kind)
		wantKind(t, s.Put(t.Context(), c.o.hash, c.o.kind, bytes.NewReader(c.o.data)), c.kind)
	}
	count := 0
	must(t, filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error {
		if !d.IsDir() {
			count++
		}
		return err
	}))
	if count != 1 {
		t.Errorf("%d files in a store that accepted nothing", count)
	}
}

func hostileTree() object {
	data := []byte(tree.Magic + "\x08\x01\x12\x07\n\x05../up")
	return object{hash: tree.Hash(data), kind: treeKind, data: data}
}

func TestPiecesOutOfOrderAreRefused(t *testing.T) {
	s := newStore(t)
	a, b := fileObject("aa"), fileObject("bb")
	for name, pieces := range map[string][]*stixv1.UploadRequest{
		"another hash in the middle": {{Hash: a.hash, Kind: fileKind, Data: []byte("a")}, {Hash: b.hash, Data: []byte("a"), Last: true}},
		"end in the middle":          {{Hash: a.hash, Kind: fileKind, Data: []byte("a")}},
		"no beginning":               {{Data: []byte("a"), Last: true}},
	} {
		t.Log(name)
		_, err := s.Upload(t.Context(), func() (*stixv1.UploadRequest, error) {
			if len(pieces) == 0 {
				return nil, io.EOF
			}
			m := pieces[0]
			pieces = pieces[1:]
			return m, nil
		})
		wantKind(t, err, blobs.ErrInvalid)
	}
}

func TestBrokenUploadKeepsWhatArrivedWhole(t *testing.T) {
	s := newStore(t)
	a, b := fileObject("a"), fileObject(strings.Repeat("b", 3000))
	next, count := messages(1000, a, b), 0
	gone := errors.New("connection reset")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Upload(ctx, func() (*stixv1.UploadRequest, error) {
		if count++; count == 3 {
			cancel()
			return nil, gone
		}
		return next()
	})
	wantKind(t, err, gone)
	if got := s.missing(t, a.hash, b.hash); !slices.Equal(got, []string{b.hash}) || s.temps(t) != 0 {
		t.Fatalf("missing %v, %d temporary files", got, s.temps(t))
	}
}

func TestMissingBlobsAreNamed(t *testing.T) {
	s := newStore(t)
	here, absent := s.put(t, fileKind, []byte("here")), tree.Hash([]byte("absent"))
	sent := 0
	err := s.Fetch(t.Context(), []string{here, absent}, func(*stixv1.FetchBlobsResponse) error { sent++; return nil })
	wantKind(t, err, blobs.ErrNotFound)
	if sent != 1 || !strings.Contains(err.Error(), absent) {
		t.Errorf("%d sent, %v", sent, err)
	}
	_, err = s.Open("../format")
	wantKind(t, err, blobs.ErrInvalid)
	_, err = s.Missing([]string{"../format"})
	wantKind(t, err, blobs.ErrInvalid)
	_, err = s.Missing(make([]string, blobs.MaxHashes+1))
	wantKind(t, err, blobs.ErrTooLarge)
}

func TestCopyNoticesDamage(t *testing.T) {
	s := newStore(t)
	hash := s.put(t, fileKind, []byte("precious"))
	var b bytes.Buffer
	if n, err := s.Copy(&b, hash); err != nil || n != 8 || b.String() != "precious" {
		t.Fatalf("%d, %v, %q", n, err, b.String())
	}
	must(t, os.WriteFile(filepath.Join(s.dir, "file", hash[:2], hash), []byte("preciouz"), 0o600))
	_, err := s.Copy(io.Discard, hash)
	wantKind(t, err, blobs.ErrMismatch)
}

func TestReserveOfTheDiskIsKept(t *testing.T) {
	free := int64(100)
	s := newStore(t, func(c *blobs.Config) {
		c.Reserve = 50
		c.Space = func(string) (int64, int64, error) { return free, 1000, nil }
	})
	s.put(t, fileKind, make([]byte, 50))
	wantKind(t, s.upload(t.Context(), fileObject(strings.Repeat("x", 51))), blobs.ErrNoSpace)
	free = 10
	wantKind(t, s.upload(t.Context(), fileObject("small")), blobs.ErrNoSpace)
	// What is there already needs no room.
	s.put(t, fileKind, make([]byte, 50))
	if s.temps(t) != 0 {
		t.Error("temporary files stay")
	}
}

func TestLeftoversOfACrashAreSweptAndTheFormatIsChecked(t *testing.T) {
	s := newStore(t)
	must(t, os.WriteFile(filepath.Join(s.dir, "tmp/17"), []byte("half"), 0o600))
	s.reopen(t)
	if s.temps(t) != 0 {
		t.Error("a temporary file survived the start")
	}
	must(t, os.WriteFile(filepath.Join(s.dir, "format"), []byte("stix-blobs 2\n"), 0o600))
	_, err := blobs.New(blobs.Config{Dir: s.dir})
	wantKind(t, err, blobs.ErrFormat)
	if !strings.Contains(err.Error(), "stix-blobs 2") {
		t.Error("the newer format is not named")
	}
}

func TestFilesAreTheUsersAlone(t *testing.T) {
	s := newStore(t)
	part := fileObject("part")
	must(t, s.upload(t.Context(), part, treeObject(t, part)))
	must(t, filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; path != s.dir && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	}))
}

func TestConcurrentUploadsOfTheSameTree(t *testing.T) {
	s := newStore(t)
	res := sourceTree(t, 60)
	objects := objectsOf(t, res)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if err := s.upload(t.Context(), objects...); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.whole(t)
	if got := s.missing(t, res.Order...); got != nil {
		t.Errorf("missing %v", got)
	}
}

// Uploads, questions and collections in any order: a tree object is never there
// without its children, and what was promised stays.
func TestPromisesHoldUnderConcurrentCollection(t *testing.T) {
	s := newStore(t)
	s.clock.pass(2 * time.Hour)
	s.reopen(t)
	var parts, dirs, tops []object
	for i := range 12 {
		parts = append(parts, fileObject(fmt.Sprint("part ", i)))
	}
	for i := range 6 {
		dirs = append(dirs, treeObject(t, parts[i], parts[i+6]))
	}
	for i := range 5 {
		tops = append(tops, treeObject(t, dirs[i], dirs[i+1], parts[i]))
	}
	s.clock.pass(2 * time.Hour)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(worker), 2))
			for range 40 {
				i := rnd.IntN(len(tops))
				want := []object{parts[i], parts[i+1], parts[i+6], parts[i+7], dirs[i], dirs[i+1], tops[i]}
				s.client(t, want)
				s.clock.pass(time.Duration(rnd.IntN(90)) * time.Minute)
			}
		})
	}
	stop := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := s.Collect(t.Context(), refs(nil)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	wg.Wait()
	close(stop)
	collector.Wait()
	s.whole(t)
}

// client does what a client does: ask for the root, then for all, send the rest.
func (s *store) client(t *testing.T, objects []object) {
	root := objects[len(objects)-1].hash
	if m, err := s.Missing([]string{root}); err != nil || m == nil {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var hashes []string
	for _, o := range objects {
		hashes = append(hashes, o.hash)
	}
	m, err := s.Missing(hashes)
	if err != nil {
		t.Error(err)
	}
	rest := slices.DeleteFunc(slices.Clone(objects), func(o object) bool { return !slices.Contains(m, o.hash) })
	// The clock of this test runs so fast that a lease may end in between.
	if err := s.upload(t.Context(), rest...); err != nil && !errors.Is(err, blobs.ErrChildMissing) {
		t.Error(err)
	}
}

func BenchmarkMissing10000(b *testing.B) {
	s := newStore(b)
	res := sourceTree(b, 10_000)
	must(b, s.upload(b.Context(), objectsOf(b, res)...))
	for b.Loop() {
		s.missing(b, res.Order...)
	}
}

func BenchmarkUpload10000(b *testing.B) {
	res := sourceTree(b, 10_000)
	objects := objectsOf(b, res)
	for b.Loop() {
		must(b, newStore(b).upload(b.Context(), objects...))
	}
}

func BenchmarkUploadLarge(b *testing.B) {
	s := newStore(b)
	b.SetBytes(tree.PartSize)
	data := make([]byte, tree.PartSize)
	for i := 0; b.Loop(); i++ {
		copy(data, fmt.Sprint(i))
		s.put(b, fileKind, data)
	}
}

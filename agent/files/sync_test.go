package files_test

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
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stix-run/stix/agent/files"
	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const workdir = "~/sky_workdir"

// Whatever a directory is made of, the node has the same afterwards, also after
// changes of any kind.
func TestSyncMakesAnyTree(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 8 {
		s := newServer()
		n := newNode(t, s)
		for range 3 {
			source := tempDir(t)
			grow(t, rnd, source, 3)
			m := s.upload(t, source, workdir)
			n.sync(t, m)
			n.sync(t, m)
			same(t, source, filepath.Join(n.home, "sky_workdir"))
			// Nothing is deleted: what the next tree does not have would stay.
			unlock(n.home)
			must(t, os.RemoveAll(filepath.Join(n.home, "sky_workdir")))
		}
	}
}

// grow fills a directory with random things.
func grow(t testing.TB, rnd *rand.Rand, dir string, depth int) {
	t.Helper()
	names := []string{"a", "b c", "new\nline", "\xff\xfe", "-rf", "ä", ".hidden", "*", `back\slash`, strings.Repeat("n", 255)}
	rnd.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
	for _, name := range names[:rnd.IntN(8)] {
		path := filepath.Join(dir, name)
		switch kind := rnd.IntN(8); {
		case kind == 0:
			targets := []string{"a", "..", "/etc/passwd", "nowhere", "\xff", "../../../.."}
			must(t, os.Symlink(targets[rnd.IntN(len(targets))], path))
		case kind < 4 && depth > 0:
			must(t, os.Mkdir(path, 0o700))
			grow(t, rnd, path, depth-1)
			modes := []fs.FileMode{0o755, 0o700, 0o555, 0o500, 0o777}
			must(t, os.Chmod(path, modes[rnd.IntN(len(modes))]))
		default:
			sizes := []int{0, 1, 100, 70_000}
			data := bytes.Repeat([]byte{byte(rnd.IntN(256))}, sizes[rnd.IntN(len(sizes))])
			must(t, os.WriteFile(path, data, 0o600))
			modes := []fs.FileMode{0o644, 0o755, 0o400, 0o666, 0o444}
			must(t, os.Chmod(path, modes[rnd.IntN(len(modes))]))
		}
	}
}

func TestSyncSplitsLargeFiles(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	source := tempDir(t)
	part := strings.Repeat("x", tree.PartSize)
	write(t, filepath.Join(source, "large"), part+strings.Repeat("y", 1000)+part[1000:]+part+"end")
	write(t, filepath.Join(source, "copy"), part)
	m := s.upload(t, source, workdir)
	n.sync(t, m)
	same(t, source, filepath.Join(n.home, "sky_workdir"))
	if got := s.fetched[tree.Hash([]byte(part))]; got != 1 {
		t.Errorf("the part that three places share was fetched %d times", got)
	}
}

func TestUnchangedFilesAreNeitherFetchedNorWritten(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	source := tempDir(t)
	write(t, filepath.Join(source, "d/kept"), "kept")
	write(t, filepath.Join(source, "changed"), "before")
	n.sync(t, s.upload(t, source, workdir))
	kept := filepath.Join(n.home, "sky_workdir/d/kept")
	before, err := os.Stat(kept)
	must(t, err)
	s.reset()
	write(t, filepath.Join(source, "changed"), "after!")
	n.sync(t, s.upload(t, source, workdir))
	same(t, source, filepath.Join(n.home, "sky_workdir"))
	after, err := os.Stat(kept)
	must(t, err)
	if !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("an unchanged file was written again")
	}
	if len(s.fetched) != 2 || s.fetched[tree.Hash([]byte("after!"))] != 1 {
		t.Errorf("fetched %v, want the root and one file", s.fetched)
	}
	s.reset()
	n.sync(t, s.upload(t, source, workdir))
	if s.calls != 0 {
		t.Errorf("%d fetches for an unchanged tree", s.calls)
	}
}

func TestFilesChangedOnTheNodeAreRestoredAndOthersStay(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	source := tempDir(t)
	for _, name := range []string{"same-size", "removed", "mode", "to-link", "to-dir", "touched"} {
		write(t, filepath.Join(source, name), "as it should be")
	}
	must(t, os.Symlink("mode", filepath.Join(source, "link")))
	m := s.upload(t, source, workdir)
	n.sync(t, m)
	on := func(name string) string { return filepath.Join(n.home, "sky_workdir", name) }
	write(t, on("same-size"), "as it must not!")
	must(t, os.Remove(on("removed")))
	must(t, os.Chmod(on("mode"), 0o600))
	must(t, os.Chtimes(on("touched"), time.Now(), time.Unix(1, 0)))
	must(t, os.Remove(on("to-link")))
	must(t, os.Symlink("/etc/passwd", on("to-link")))
	must(t, os.Remove(on("to-dir")))
	must(t, os.Mkdir(on("to-dir"), 0o755))
	must(t, os.Remove(on("link")))
	write(t, on("link"), "a file")
	n.sync(t, m)
	same(t, source, filepath.Join(n.home, "sky_workdir"))
	write(t, on("of-the-job"), "stays")
	must(t, os.Remove(filepath.Join(source, "removed")))
	n.sync(t, s.upload(t, source, workdir))
	if read(t, on("of-the-job")) != "stays" || read(t, on("removed")) != "as it should be" {
		t.Error("something was deleted")
	}
}

func TestTreeTakesThePlaceOfOtherKinds(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	on := func(name string) string { return filepath.Join(n.home, "sky_workdir", name) }
	outside := tempDir(t)
	write(t, on("dir-was-file"), "")
	must(t, os.Symlink(outside, on("dir-was-link")))
	source := tempDir(t)
	write(t, filepath.Join(source, "dir-was-file/f"), "1")
	write(t, filepath.Join(source, "dir-was-link/f"), "2")
	n.sync(t, s.upload(t, source, workdir))
	same(t, source, filepath.Join(n.home, "sky_workdir"))
	if left := contents(t, outside); len(left) != 0 {
		t.Errorf("wrote through a link: %v", left)
	}
	write(t, on("busy/file"), "of the job")
	write(t, filepath.Join(source, "busy"), "a file")
	n.fails(t, files.ErrInWay, s.upload(t, source, workdir))
	if read(t, on("busy/file")) != "of the job" {
		t.Error("a directory with files was removed")
	}
}

func TestLostManifestCostsNoFetch(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	source := tempDir(t)
	write(t, filepath.Join(source, "d/f"), "content")
	write(t, filepath.Join(source, "empty"), "")
	m := s.upload(t, source, workdir)
	content := tree.Hash([]byte("content"))
	lose := map[string]func(){
		"reboot":  func() { n.boot(t, s, "boot-2") },
		"removed": func() { eachManifest(t, n, os.Remove) },
		"damaged": func() {
			eachManifest(t, n, func(path string) error {
				data := []byte(read(t, path))
				data[len(data)/2] ^= 1
				return os.WriteFile(path, data, 0o600)
			})
		},
	}
	n.sync(t, m)
	for name, how := range lose {
		how()
		s.reset()
		n.sync(t, m)
		if s.fetched[content] != 0 {
			t.Errorf("%s: fetched %v", name, s.fetched)
		}
		// A change that the times do not show is seen, as nothing is believed.
		same(t, source, filepath.Join(n.home, "sky_workdir"))
	}
}

func eachManifest(t *testing.T, n *node, do func(string) error) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(n.cache, "*.manifest"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no manifest", err)
	}
	for _, path := range paths {
		must(t, do(path))
	}
}

func TestInterruptedSyncIsRepeatedAndLeavesNothing(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	source := tempDir(t)
	for i := range 20 {
		write(t, filepath.Join(source, fmt.Sprint("d", i%3, "/f", i)), fmt.Sprint(i))
	}
	write(t, filepath.Join(source, "large"), strings.Repeat("x", tree.PartSize)+"rest")
	must(t, os.Symlink("large", filepath.Join(source, "link")))
	m := s.upload(t, source, workdir)
	gone := errors.New("connection lost")
	for stop := 1; ; stop++ {
		left := stop
		s.change = func(_ string, data []byte) ([]byte, error) {
			if left--; left < 0 {
				return nil, gone
			}
			return data, nil
		}
		err := n.Sync(t.Context(), []*stixv1.Mount{m}, n.home)
		if err == nil {
			break
		}
		if !errors.Is(err, gone) {
			t.Fatal(err)
		}
	}
	same(t, source, filepath.Join(n.home, "sky_workdir"))
}

// A crash leaves temporary files and a journal; the next sync is of another tree.
func TestLeftoversOfACrashAreRemoved(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	source := tempDir(t)
	write(t, filepath.Join(source, "d/large"), strings.Repeat("x", tree.PartSize)+"rest")
	m := s.upload(t, source, workdir)
	ctx, crash := context.WithCancel(t.Context())
	s.change = func(hash string, data []byte) ([]byte, error) {
		if string(data) == "rest" {
			crash()
			return nil, context.Canceled
		}
		return data, nil
	}
	if err := n.Sync(ctx, []*stixv1.Mount{m}, n.home); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	temps, err := filepath.Glob(filepath.Join(n.home, "sky_workdir/d/.stix-*"))
	if err != nil || len(temps) != 1 {
		t.Fatalf("the test does not leave what it should: %q, %v", temps, err)
	}
	s.change = nil
	other := tempDir(t)
	write(t, filepath.Join(other, "d/small"), "small")
	n.sync(t, s.upload(t, other, workdir))
	same(t, other, filepath.Join(n.home, "sky_workdir"))
}

func TestMissingAndDamagedBlobsAreNamed(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	source := tempDir(t)
	write(t, filepath.Join(source, "f"), "content")
	m := s.upload(t, source, workdir)
	s.change = func(_ string, data []byte) ([]byte, error) { return append([]byte("!"), data...), nil }
	n.fails(t, files.ErrDamaged, m)
	s.change = nil
	lazy, err := files.New(files.Config{CacheDir: n.cache, Fetch: func(context.Context, []string, func(string, io.Reader) error) error { return nil }})
	must(t, err)
	if err := lazy.Sync(t.Context(), []*stixv1.Mount{m}, n.home); !errors.Is(err, files.ErrMissing) || !strings.Contains(err.Error(), m.Root) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(n.home, "sky_workdir/f")); err == nil {
		t.Error("a damaged file is there")
	}
}

func TestSyncsOfOneDestinationExcludeEachOther(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	var mounts []*stixv1.Mount
	var sources []string
	for i := range 4 {
		source := tempDir(t)
		for k := range 30 {
			write(t, filepath.Join(source, fmt.Sprint("f", k)), fmt.Sprint(i, k, strings.Repeat("x", i*1000)))
		}
		sources = append(sources, source)
		mounts = append(mounts, s.upload(t, source, workdir))
	}
	var wg sync.WaitGroup
	for range 3 {
		for _, m := range mounts {
			wg.Go(func() {
				if err := n.Sync(t.Context(), []*stixv1.Mount{m}, n.home); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	last := contents(t, filepath.Join(n.home, "sky_workdir"))
	for _, source := range sources {
		if want := contents(t, source); want["f0"] == last["f0"] {
			same(t, source, filepath.Join(n.home, "sky_workdir"))
			return
		}
	}
	t.Error("the result is none of the trees")
}

func BenchmarkSync10000(b *testing.B) {
	s := newServer()
	source := tempDir(b)
	for i := range 10_000 {
		write(b, filepath.Join(source, fmt.Sprintf("d%d/e%d/f%d", i%10, i%100, i)), fmt.Sprint("content ", i))
	}
	m := s.upload(b, source, workdir)
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			newNode(b, s).sync(b, m)
		}
	})
	b.Run("warm", func(b *testing.B) {
		n := newNode(b, s)
		n.sync(b, m)
		for b.Loop() {
			n.sync(b, m)
		}
	})
}

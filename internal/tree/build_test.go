package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func build(t testing.TB, cfg Config) *Result {
	t.Helper()
	res, err := Build(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func data(t testing.TB, o Object) []byte {
	t.Helper()
	r, err := o.Open()
	must(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	must(t, err)
	return b
}

func TestBuildNamesEveryBlobAndOrdersChildrenFirst(t *testing.T) {
	root := t.TempDir()
	large := strings.Repeat("x", PartSize) + "rest"
	write(t, root, map[string]string{"a/b/small": "s", "a/large": large, "a/twin": "s", "empty": "", "dir/": "", "a b\n\xff": "odd"})
	must(t, os.Symlink("a/large", filepath.Join(root, "link")))
	must(t, os.Chmod(filepath.Join(root, "empty"), 0o4751))
	res := build(t, Config{Root: root})
	if res.Files != 5 || res.Bytes != int64(len(large)+1+1+3) {
		t.Errorf("%d files, %d bytes", res.Files, res.Bytes)
	}
	if len(res.Order) != len(res.Objects) || res.Order[len(res.Order)-1] != res.Root {
		t.Errorf("%d in order, %d objects", len(res.Order), len(res.Objects))
	}
	seen := map[string]bool{}
	for _, hash := range res.Order {
		b := data(t, res.Objects[hash])
		if Hash(b) != hash || int64(len(b)) != res.Objects[hash].Size {
			t.Errorf("object %s has other bytes", hash)
		}
		if res.Objects[hash].Kind == stixv1.BlobKind_BLOB_KIND_TREE {
			tr, err := Decode(b)
			must(t, err)
			for child := range Children(tr) {
				if !seen[child] {
					t.Errorf("%s comes before its child %s", hash, child)
				}
			}
		}
		seen[hash] = true
	}
	wantPaths(t, listing(t, Config{Root: root}), "a/", "a/b/", "a/b/small", "a/large", "a/twin", "a b\n\xff", "dir/", "empty", "link")
	top, err := Decode(res.Objects[res.Root].data)
	must(t, err)
	for _, e := range top.Entries {
		if string(e.Name) == "empty" && e.Mode != 0o751 || string(e.Name) == "link" && string(e.Target) != "a/large" {
			t.Errorf("%v", e)
		}
	}
}

func TestHashesDependOnContentOnly(t *testing.T) {
	files := map[string]string{"z": "1", "a/b": "2", "a/c": "3"}
	one, two := t.TempDir(), t.TempDir()
	write(t, one, files)
	for _, path := range []string{"a/c", "z", "a/b"} {
		write(t, two, map[string]string{path: files[path]})
	}
	must(t, os.Chtimes(filepath.Join(two, "z"), time.Unix(1, 0), time.Unix(1, 0)))
	if a, b := build(t, Config{Root: one}), build(t, Config{Root: two, Workers: 1}); a.Root != b.Root {
		t.Error("the same files have two hashes")
	}
	must(t, os.Chmod(filepath.Join(two, "z"), 0o600))
	if a, b := build(t, Config{Root: one}), build(t, Config{Root: two}); a.Root == b.Root {
		t.Error("a mode does not count")
	}
}

func TestSingleFileHasNoNameOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "x", "b": "x", ".skyignore": "*"})
	must(t, os.Symlink("a", filepath.Join(dir, "link")))
	a, b, link := build(t, Config{Root: dir + "/a"}), build(t, Config{Root: dir + "/b"}), build(t, Config{Root: dir + "/link"})
	if a.Root != b.Root || a.Root != link.Root || a.Files != 1 || a.Bytes != 1 {
		t.Errorf("%+v, %+v", a, b)
	}
	tr, err := Decode(a.Objects[a.Root].data)
	must(t, err)
	if e, ok := Single(tr); !ok || e.Size != 1 {
		t.Errorf("%v", tr)
	}
}

func TestRootMayBeALinkAndMustExist(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"real/f": "x"})
	must(t, os.Symlink("real", filepath.Join(dir, "link")))
	if a, b := build(t, Config{Root: dir + "/real"}), build(t, Config{Root: dir + "/link"}); a.Root != b.Root {
		t.Error("a link to a directory has another hash")
	}
	for _, root := range []string{"relative", "", dir + "/absent", "/dev/null"} {
		if _, err := Build(t.Context(), Config{Root: root}); err == nil {
			t.Errorf("built %q", root)
		} else {
			t.Log(err)
		}
	}
}

func TestSpecialFilesAreLeftOutWithAWarning(t *testing.T) {
	root := t.TempDir()
	must(t, syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600))
	l, err := net.Listen("unix", filepath.Join(root, "socket"))
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	res := build(t, Config{Root: root})
	want := []Warning{{Path: "pipe", Text: "left out: it is a named pipe"}, {Path: "socket", Text: "left out: it is a socket"}}
	if !slices.Equal(res.Warnings, want) || res.Files != 0 {
		t.Errorf("%v", res.Warnings)
	}
}

func TestUnreadableFilesAreNamed(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	for _, path := range []string{"file", "dir/"} {
		root := t.TempDir()
		write(t, root, map[string]string{path: ""})
		must(t, os.Chmod(filepath.Join(root, path), 0))
		_, err := Build(t.Context(), Config{Root: root})
		if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), strings.TrimSuffix(path, "/")) {
			t.Errorf("%v", err)
		}
		must(t, os.Chmod(filepath.Join(root, path), 0o700))
	}
}

func TestChangeBetweenBuildAndUploadIsNoticed(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"same size": func(path string) error { return os.WriteFile(path, []byte("later"), 0o600) },
		"shorter":   func(path string) error { return os.Truncate(path, 1) },
		"gone":      os.Remove,
	} {
		root := t.TempDir()
		write(t, root, map[string]string{"f": "first"})
		res := build(t, Config{Root: root})
		must(t, change(filepath.Join(root, "f")))
		r, err := res.Objects[Hash([]byte("first"))].Open()
		if err == nil {
			_, err = io.ReadAll(r)
			r.Close()
		}
		if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), filepath.Join(root, "f")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// More bytes at the end are no change of what the tree has.
	root := t.TempDir()
	write(t, root, map[string]string{"f": "first"})
	res := build(t, Config{Root: root})
	write(t, root, map[string]string{"f": "first and more"})
	if got := data(t, res.Objects[Hash([]byte("first"))]); string(got) != "first" {
		t.Errorf("%q", got)
	}
}

// meddler is a context that does something whenever it is looked at, which is
// between opening a file and reading it.
type meddler struct {
	context.Context
	do func()
}

func (m meddler) Err() error {
	m.do()
	return m.Context.Err()
}

// A file that never holds still is an error, not a tree of something.
func TestFileThatChangesWhileItIsRead(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "f")
	for name, c := range map[string]struct {
		times  int
		change func(i int) error
		kind   error
	}{
		"always":  {1000, func(i int) error { return os.Chtimes(path, time.Time{}, time.Unix(int64(i), 0)) }, ErrChanged},
		"shrinks": {1000, func(i int) error { return os.Truncate(path, int64(100-i)) }, ErrChanged},
		"grows":   {1000, func(i int) error { return os.Truncate(path, int64(100+i)) }, ErrChanged},
		"once":    {1, func(int) error { return os.Truncate(path, 50) }, nil},
	} {
		must(t, os.WriteFile(path, make([]byte, 100), 0o600))
		i := 0
		ctx := meddler{Context: t.Context(), do: func() {
			if i++; i <= c.times {
				must(t, c.change(i))
			}
		}}
		n := &node{entry: fileEntry("f", 0)}
		err := hashFile(ctx, path, n)
		if !errors.Is(err, c.kind) || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && n.entry.Size != 50 {
			t.Errorf("%s: size %d", name, n.entry.Size)
		}
	}
}

func TestBuildEndsWithItsContext(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"f": "x"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, Config{Root: root}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// A part of a file may have the bytes of a tree object of the same tree.
func TestFileThatIsACopyOfATreeObject(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"z/f": "content"})
	inner := build(t, Config{Root: root + "/z"})
	must(t, os.WriteFile(root+"/a", inner.Objects[inner.Root].data, 0o600))
	res := build(t, Config{Root: root})
	if res.Objects[inner.Root].Kind != stixv1.BlobKind_BLOB_KIND_TREE {
		t.Error("the tree object would be uploaded as a part")
	}
	if slices.Index(res.Order, inner.Root) < slices.Index(res.Order, Hash([]byte("content"))) || len(res.Order) != len(res.Objects) {
		t.Error("it comes before its child")
	}
}

// later is a clock that says that all files are old.
func later() time.Time { return time.Now().Add(time.Hour) }

func TestUnchangedFilesAreNotReadAgain(t *testing.T) {
	root, cache := t.TempDir(), t.TempDir()
	write(t, root, map[string]string{"kept": "kept", "d/changed": "before", "d/removed": "x", "empty": ""})
	cfg := Config{Root: root, CacheDir: cache, Now: later}
	if res := build(t, cfg); res.Read != 11 {
		t.Errorf("read %d bytes at first", res.Read)
	}
	first := build(t, cfg)
	if first.Read != 0 {
		t.Errorf("read %d bytes of unchanged files", first.Read)
	}
	if plain := build(t, Config{Root: root}); plain.Root != first.Root {
		t.Error("the cache makes another tree")
	}
	write(t, root, map[string]string{"d/changed": "after!"})
	must(t, os.Remove(root+"/d/removed"))
	if res := build(t, cfg); res.Read != 6 || res.Root != build(t, Config{Root: root}).Root {
		t.Errorf("read %d bytes", res.Read)
	}
	// The same name, size and time, but another file.
	info, err := os.Stat(root + "/kept")
	must(t, err)
	write(t, root, map[string]string{"new": "tpek"})
	must(t, os.Chtimes(root+"/new", info.ModTime(), info.ModTime()))
	must(t, os.Rename(root+"/new", root+"/kept"))
	if res := build(t, cfg); res.Read != 4 {
		t.Errorf("read %d bytes: a file was replaced without notice", res.Read)
	}
}

// A file that was just changed may change again within one tick of its clock.
func TestFreshFilesAreNotTrusted(t *testing.T) {
	root, cache := t.TempDir(), t.TempDir()
	write(t, root, map[string]string{"f": "content"})
	for range 2 {
		if res := build(t, Config{Root: root, CacheDir: cache}); res.Read != 7 {
			t.Errorf("read %d bytes", res.Read)
		}
	}
	must(t, os.Chtimes(root+"/f", time.Time{}, time.Now().Add(-time.Hour)))
	if res := build(t, Config{Root: root, CacheDir: cache}); res.Read != 7 {
		t.Errorf("read %d bytes: an old mtime was believed of a new file", res.Read)
	}
}

func cacheFile(t testing.TB, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.stat"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	return found[0]
}

func TestDamagedCacheIsNone(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	write(t, root, map[string]string{"f": "content"})
	cfg := Config{Root: root, CacheDir: dir, Now: later}
	want := build(t, cfg).Root
	path := cacheFile(t, dir)
	good, err := os.ReadFile(path)
	must(t, err)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		must(t, os.WriteFile(path, bad, 0o600))
		if i >= len(cacheMagic) && i < len(cacheMagic)+4 {
			continue // the version, see below
		}
		if res := build(t, cfg); res.Root != want || res.Read != 7 || res.Warnings != nil {
			t.Fatalf("byte %d: %+v", i, res)
		}
	}
	for n := range len(good) {
		must(t, os.WriteFile(path, good[:n], 0o600))
		if res := build(t, cfg); res.Root != want || res.Read != 7 {
			t.Fatalf("cut at %d: %+v", n, res)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestCacheOfANewerProgramIsLeftAlone(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	write(t, root, map[string]string{"f": "content"})
	cfg := Config{Root: root, CacheDir: dir, Now: later}
	build(t, cfg)
	path := cacheFile(t, dir)
	newer, err := os.ReadFile(path)
	must(t, err)
	newer[len(cacheMagic)+3] = cacheVersion + 1
	must(t, os.WriteFile(path, newer, 0o600))
	res := build(t, cfg)
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0].String(), "version 2") || res.Read != 7 {
		t.Errorf("%+v", res)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, newer) {
		t.Error("it was written over")
	}
}

func TestCacheThatCannotBeWrittenIsAWarning(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"f": "content"})
	res := build(t, Config{Root: root, CacheDir: root + "/f/under-a-file", Now: later})
	if len(res.Warnings) != 1 {
		t.Errorf("%+v", res)
	}
}

func FuzzCacheFile(f *testing.F) {
	good := appendCache(nil, "/root", []*node{
		{path: "a\nb", stat: fileStat{size: PartSize + 1, mtime: -1, ctime: 1, inode: 2, dev: 3, mode: 4}, entry: fileEntry("a", PartSize+1)},
		{path: "", entry: fileEntry("", 0)},
	})
	f.Add(good)
	f.Add(good[:len(good)-40])
	f.Add([]byte(cacheMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseCache(b, "/root")
		// Past the checksum, which random bytes do not have.
		d := decoder{data: b}
		entries, err := d.entries()
		if err != nil {
			return
		}
		for path, e := range entries {
			if int64(len(e.hashes)) != parts(e.stat.size) {
				t.Fatalf("%q has %d hashes for %d bytes", path, len(e.hashes), e.stat.size)
			}
		}
	})
}

func tree10000(b *testing.B) string {
	b.Helper()
	root := b.TempDir()
	files := map[string]string{}
	for i := range 10_000 {
		files[fmt.Sprintf("d%d/e%d/f%d.py", i%10, i%100, i)] = fmt.Sprint("content ", i)
	}
	write(b, root, files)
	git(b, root, "init", "-q")
	write(b, root, map[string]string{".gitignore": "*.pyc\n__pycache__/\n/build/\nnode_modules\n*.[oa]\n**/tmp/*.log\n!keep.log\n"})
	return root
}

func BenchmarkBuild10000(b *testing.B) {
	root := tree10000(b)
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			build(b, Config{Root: root})
		}
	})
	b.Run("warm", func(b *testing.B) {
		cfg := Config{Root: root, CacheDir: b.TempDir(), Now: later}
		build(b, cfg)
		for b.Loop() {
			if res := build(b, cfg); res.Read != 0 {
				b.Fatalf("read %d bytes", res.Read)
			}
		}
	})
}

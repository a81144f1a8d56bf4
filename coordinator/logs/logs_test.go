package logs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stix-run/stix/coordinator/logs"
)

func TestAppendTakesEachByteOnce(t *testing.T) {
	s := newStore(t)
	k := key("a")
	s.add(t, k, 0, "hello ")
	s.add(t, k, 0, "hel")
	s.add(t, k, 3, "lo world")
	s.add(t, k, 0, "hello world")
	s.wantSize(t, k, 11, false)
	size, err := s.Append(t.Context(), k, 12, []byte("gap"))
	wantKind(t, err, logs.ErrGap)
	var gap *logs.GapError
	if !errors.As(err, &gap) || gap.Size != 11 || size != 11 {
		t.Errorf("%+v, size %d", gap, size)
	}
	for _, offset := range []int64{-1, math.MaxInt64} {
		_, err := s.Append(t.Context(), k, offset, []byte("x"))
		wantKind(t, err, logs.ErrInvalid)
	}
	must(t, s.Complete(t.Context(), k, 11))
	if got := s.all(t, k, 0); got != "hello world" {
		t.Errorf("%q", got)
	}
	if got := s.all(t, k, 6); got != "world" {
		t.Errorf("%q", got)
	}
	if got := s.all(t, k, 99); got != "" {
		t.Errorf("%q", got)
	}
}

func TestCompleteEndsALog(t *testing.T) {
	s := newStore(t)
	k := key("a")
	s.add(t, k, 0, "12345")
	wantKind(t, s.Complete(t.Context(), k, 6), logs.ErrGap)
	wantKind(t, s.Complete(t.Context(), k, 4), logs.ErrInvalid)
	must(t, s.Complete(t.Context(), k, 5))
	must(t, s.Complete(t.Context(), k, 5))
	s.add(t, k, 2, "345")
	_, err := s.Append(t.Context(), k, 5, []byte("6"))
	wantKind(t, err, logs.ErrComplete)
	empty := key("empty")
	must(t, s.Complete(t.Context(), empty, 0))
	s.reopen(t)
	s.wantSize(t, k, 5, true)
	s.wantSize(t, empty, 0, true)
	if got := s.all(t, k, 0) + s.all(t, empty, 0); got != "12345" {
		t.Errorf("%q", got)
	}
	_, err = s.Append(t.Context(), k, 5, []byte("6"))
	wantKind(t, err, logs.ErrComplete)
}

func TestAbandonedLogIsOpenedAgainByItsNode(t *testing.T) {
	s := newStore(t)
	k := key("a")
	s.add(t, k, 0, "before ")
	must(t, s.Abandon(t.Context(), k))
	s.reopen(t)
	s.wantSize(t, k, 7, true)
	if got := s.all(t, k, 0); got != "before " {
		t.Errorf("%q", got)
	}
	s.add(t, k, 7, "after")
	s.wantSize(t, k, 12, false)
	s.reopen(t)
	s.wantSize(t, k, 12, false)
	must(t, s.Complete(t.Context(), k, 12))
	must(t, s.Abandon(t.Context(), k))
	if got := s.all(t, k, 0); got != "before after" {
		t.Errorf("%q", got)
	}
}

func TestKeysAreNoPaths(t *testing.T) {
	s := newStore(t)
	for _, k := range []logs.Key{
		{}, {JobUID: "a"}, {JobUID: "..", AssignmentUID: "a"}, {JobUID: "a", AssignmentUID: "../../x"},
		{JobUID: "a/b", AssignmentUID: "c"}, {JobUID: strings.Repeat("a", 200), AssignmentUID: "a"}, {JobUID: "a\x00", AssignmentUID: "a"},
	} {
		_, err := s.Append(t.Context(), k, 0, []byte("x"))
		wantKind(t, err, logs.ErrInvalid)
		r := s.Reader(k, 0)
		_, _, err = r.Next(t.Context(), 10)
		wantKind(t, err, logs.ErrInvalid)
		r.Close()
	}
	r := s.Reader(key("a"), -1)
	_, _, err := r.Next(t.Context(), 10)
	wantKind(t, err, logs.ErrInvalid)
	r.Close()
}

func TestCopyContinuesAfterARestart(t *testing.T) {
	s := newStore(t)
	k := key("a")
	s.add(t, k, 0, "12345")
	s.reopen(t)
	s.wantSize(t, k, 5, false)
	s.add(t, k, 3, "4567")
	s.wantSize(t, k, 7, false)
}

func TestFilesAreTheUsersAlone(t *testing.T) {
	s := newStore(t)
	s.add(t, key("a"), 0, "x")
	must(t, s.Complete(t.Context(), key("a"), 1))
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

// After a crash of the machine, memory pages that were not on disk read as zeros.
func TestCopyIsCutWhereACrashOfTheMachineLostBytes(t *testing.T) {
	page := strings.Repeat("x", 4096)
	for name, c := range map[string]struct {
		lost string
		kept int64
	}{
		"nothing":              {page + page + "xx", 2*4096 + 2},
		"the end":              {page + page[:100] + strings.Repeat("\x00", 50), 4096 + 100},
		"a page in the middle": {page + strings.Repeat("\x00", 4096) + page, 4096},
		"half a page":          {page + page[:10] + strings.Repeat("\x00", 4086) + page, 4096 + 10},
		"everything":           {strings.Repeat("\x00", 5000), 0},
		"zeros of the log":     {"a\x00b", 3},
	} {
		s := newStore(t)
		k := key("a")
		s.add(t, k, 0, c.lost)
		s.reopen(t)
		s.wantSize(t, k, int64(len(c.lost)), false)
		s.reopen(t, func(cfg *logs.Config) { cfg.BootID = "boot-2" })
		if size, _, err := s.Size(k); err != nil || size != c.kept {
			t.Errorf("%s: kept %d, %v; want %d", name, size, err, c.kept)
			continue
		}
		s.add(t, k, c.kept, "more")
		must(t, s.Complete(t.Context(), k, c.kept+4))
		s.reopen(t, func(cfg *logs.Config) { cfg.BootID = "boot-3" })
		if got := s.all(t, k, 0); got != c.lost[:c.kept]+"more" {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}

func TestDamagedMetaIsNoneAndANewerOneIsRefused(t *testing.T) {
	s := newStore(t)
	k := key("a")
	s.add(t, k, 0, "12345")
	must(t, s.Complete(t.Context(), k, 5))
	path := s.path(t, ".meta")
	good := read(t, path)
	for cut := range len(good) {
		must(t, os.WriteFile(path, []byte(good[:cut]), 0o600))
		s.reopen(t)
		s.wantSize(t, k, 5, false)
	}
	must(t, os.WriteFile(path, []byte(strings.Replace(good, " 1 ", " 2 ", 1)), 0o600))
	s.reopen(t)
	_, _, err := s.Size(k)
	wantKind(t, err, logs.ErrFormat)
	must(t, os.WriteFile(filepath.Join(s.dir, "format"), []byte("stix-logs 2\n"), 0o600))
	_, err = logs.New(logs.Config{Dir: s.dir})
	wantKind(t, err, logs.ErrFormat)
}

func TestFullDiskIsToldAndNothingIsLost(t *testing.T) {
	free, failing := int64(1000), error(nil)
	s := newStore(t, func(c *logs.Config) {
		c.Reserve = 500
		c.Space = func(string) (int64, int64, error) { return free, 10_000, failing }
	})
	k := key("a")
	s.add(t, k, 0, "12345")
	free = 100
	other := key("b")
	_, err := s.Append(t.Context(), other, 0, []byte("x"))
	wantKind(t, err, logs.ErrNoSpace)
	s.wantSize(t, other, 0, false)
	failing = syscall.EIO
	_, err = s.Append(t.Context(), other, 0, []byte("x"))
	wantKind(t, err, syscall.EIO)
	failing, free = nil, 1000
	s.add(t, other, 0, "x")
	s.wantSize(t, k, 5, false)
}

func TestZerosTakeNoRoom(t *testing.T) {
	s := newStore(t)
	k := key("a")
	s.add(t, k, 0, "begin")
	s.add(t, k, 5, strings.Repeat("\x00", 1<<20))
	s.add(t, k, 5+1<<20, "end")
	must(t, s.Complete(t.Context(), k, 5+1<<20+3))
	if got := s.all(t, k, 0); got != "begin"+strings.Repeat("\x00", 1<<20)+"end" {
		t.Errorf("%d bytes", len(got))
	}
	var st syscall.Stat_t
	must(t, syscall.Stat(s.path(t, ".log"), &st))
	if st.Blocks*512 > 1<<19 {
		t.Errorf("%d bytes on disk", st.Blocks*512)
	}
}

func TestTailFindsTheLastLines(t *testing.T) {
	s := newStore(t)
	long := strings.Repeat("y", 100_000)
	for i, c := range []struct {
		log   string
		lines int64
		want  string
	}{
		{"", 3, ""},
		{"one\n", 1, "one\n"},
		{"one\ntwo\n", 1, "two\n"},
		{"one\ntwo", 1, "two"},
		{"one\ntwo\nthree\n", 2, "two\nthree\n"},
		{"one\ntwo\n", 5, "one\ntwo\n"},
		{"one\ntwo\n", 0, "one\ntwo\n"},
		{"one\ntwo\n", -1, "one\ntwo\n"},
		{"\n\n\n", 2, "\n\n"},
		{"\n", 1, "\n"},
		{long + "\n" + long + "\n", 1, long + "\n"},
		{long + "\n" + long, 2, long + "\n" + long},
		{"x\n" + strings.Repeat("z\n", 100_000), 100_000, strings.Repeat("z\n", 100_000)},
		{strings.Repeat("q", 65536) + "\n" + strings.Repeat("r", 65535) + "\n", 1, strings.Repeat("r", 65535) + "\n"},
	} {
		k := key(fmt.Sprint(i))
		s.add(t, k, 0, c.log)
		must(t, s.Complete(t.Context(), k, int64(len(c.log))))
		offset, err := s.Tail(k, c.lines)
		must(t, err)
		if got := s.all(t, k, offset); got != c.want {
			t.Errorf("case %d: %d bytes, want %d", i, len(got), len(c.want))
		}
	}
}

// Two streams of one agent, an old and a new, push the same log at the same time,
// with repetitions, while others read it.
func TestConcurrentWritersAndReaders(t *testing.T) {
	s := newStore(t, func(c *logs.Config) { c.MaxOpen = 2 })
	const size = 100_000
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i % 251)
	}
	var keys []logs.Key
	for i := range 5 {
		keys = append(keys, key(fmt.Sprint(i)))
	}
	var writers, readers sync.WaitGroup
	for _, k := range keys {
		for n := range 2 {
			writers.Go(func() { writeRandomly(t, s, k, content, uint64(n)) })
		}
		for n := range 4 {
			readers.Go(func() {
				r := s.Reader(k, int64(n*1000))
				defer r.Close()
				if got, err := drain(t.Context(), r, 100+n*777); err != nil || got != string(content[n*1000:]) {
					t.Errorf("read %d bytes, %v", len(got), err)
				}
			})
		}
	}
	writers.Wait()
	for _, k := range keys {
		must(t, s.Complete(t.Context(), k, size))
	}
	readers.Wait()
}

func writeRandomly(t *testing.T, s *store, k logs.Key, content []byte, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 3))
	for at := 0; at < len(content); {
		from := max(0, at-rnd.IntN(5000))
		to := min(len(content), at+1+rnd.IntN(9000))
		size, err := s.Append(t.Context(), k, int64(from), content[from:to])
		if err != nil {
			t.Error(err)
			return
		}
		at = int(size)
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	s := newStore(t, func(c *logs.Config) { c.MaxOpen = 8 })
	before := openFiles(t)
	for i := range 200 {
		s.add(t, key(fmt.Sprint(i)), 0, "x")
	}
	if n := openFiles(t) - before; n > 12 {
		t.Errorf("%d files open", n)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	must(t, err)
	return len(entries)
}

func TestCollectByAgeSizeAndJob(t *testing.T) {
	now := time.Now()
	s := newStore(t, func(c *logs.Config) {
		c.MaxAge, c.MaxBytes = 48*time.Hour, 450
		c.Now = func() time.Time { return now }
	})
	age := map[string]time.Duration{
		"old": 72 * time.Hour, "stuck": 73 * time.Hour, "unknown": 2 * time.Hour, "unknown-new": time.Minute,
		"first": 10 * time.Hour, "second": 9 * time.Hour, "third": 8 * time.Hour, "growing": 20 * time.Hour, "read": 71 * time.Hour,
	}
	for name, a := range age {
		s.add(t, key(name), 0, strings.Repeat("x", 100))
		if name != "growing" && name != "stuck" {
			must(t, s.Complete(t.Context(), key(name), 100))
		}
		for _, suffix := range []string{".log", ".meta"} {
			for _, path := range s.paths(t, suffix) {
				if strings.HasSuffix(path, "-"+name+suffix) {
					must(t, os.Chtimes(path, now, now.Add(-a)))
				}
			}
		}
	}
	s.reopen(t, func(c *logs.Config) {
		c.MaxAge, c.MaxBytes = 48*time.Hour, 450
		c.Now = func() time.Time { return now }
	})
	r := s.Reader(key("read"), 0)
	defer r.Close()
	done, err := s.Collect(t.Context(), func(job string) bool { return !strings.HasPrefix(job, "job-unknown") })
	must(t, err)
	for name, kept := range map[string]bool{
		"old": false, "stuck": false, "unknown": false, "unknown-new": true, "first": false, "second": false,
		"third": true, "growing": true, "read": true,
	} {
		if size, _, err := s.Size(key(name)); err != nil || (size > 0) != kept {
			t.Errorf("%s: size %d, %v; want kept %v", name, size, err, kept)
		}
	}
	if done.Logs != 5 || done.Bytes != 500 {
		t.Errorf("%+v", done)
	}
	if data, err := drain(t.Context(), r, 1000); err != nil || len(data) != 100 {
		t.Errorf("the reader got %d bytes, %v", len(data), err)
	}
}

// A crash between the two removals leaves the meta.
func TestHalfRemovedLogIsToldAndRemoved(t *testing.T) {
	s := newStore(t, func(c *logs.Config) { c.MaxAge = time.Hour })
	k := key("a")
	s.add(t, k, 0, "12345")
	must(t, s.Complete(t.Context(), k, 5))
	must(t, os.Remove(s.path(t, ".log")))
	later := func(c *logs.Config) {
		c.MaxAge = time.Hour
		c.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	}
	s.reopen(t, later)
	_, _, err := s.Size(k)
	wantKind(t, err, logs.ErrRemoved)
	r := s.Reader(k, 0)
	defer r.Close()
	_, _, err = r.Next(t.Context(), 10)
	wantKind(t, err, logs.ErrRemoved)
	_, err = s.Collect(t.Context(), nil)
	must(t, err)
	if left := s.paths(t, ".meta"); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := s.Reader(key("a"), 0)
	defer r.Close()
	_, _, err := r.Next(ctx, 10)
	wantKind(t, err, context.Canceled)
	wantKind(t, r.CatchUp(ctx), context.Canceled)
}

func FuzzMeta(f *testing.F) {
	f.Add("stix-log 1 complete boot-1 5\n")
	f.Add("stix-log 1 growing - 0\n")
	f.Add("stix-log 2 x")
	dir := f.TempDir()
	s, err := logs.New(logs.Config{Dir: dir, BootID: "boot-1"})
	must(f, err)
	_, err = s.Append(f.Context(), key("a"), 0, []byte("12345"))
	must(f, err)
	path := (&store{dir: dir}).path(f, ".meta")
	f.Fuzz(func(t *testing.T, data string) {
		must(t, os.WriteFile(path, []byte(data), 0o600))
		s, err := logs.New(logs.Config{Dir: dir, BootID: "boot-1"})
		must(t, err)
		size, ended, err := s.Size(key("a"))
		if err == nil && (size > 5 || size < 5 && !ended) {
			t.Fatalf("size %d, %v", size, ended)
		}
	})
}

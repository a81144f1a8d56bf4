package logs_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/stix-run/stix/coordinator/logs"
	"github.com/stix-run/stix/internal/testlog"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func key(n string) logs.Key { return logs.Key{JobUID: "job-" + n, AssignmentUID: "assignment-" + n} }

// store is a store with its directory.
type store struct {
	*logs.Store
	dir string
}

func newStore(t testing.TB, change ...func(*logs.Config)) *store {
	t.Helper()
	s := &store{dir: t.TempDir()}
	s.reopen(t, change...)
	return s
}

// reopen is a restart of the process.
func (s *store) reopen(t testing.TB, change ...func(*logs.Config)) {
	t.Helper()
	cfg := logs.Config{Dir: s.dir, BootID: "boot-1", Logger: testlog.New(t)}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	s.Store, err = logs.New(cfg)
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

func (s *store) add(t testing.TB, k logs.Key, offset int64, data string) {
	t.Helper()
	size, err := s.Append(t.Context(), k, offset, []byte(data))
	must(t, err)
	if size < offset+int64(len(data)) {
		t.Fatalf("size %d after %d bytes at %d", size, len(data), offset)
	}
}

func (s *store) wantSize(t testing.TB, k logs.Key, size int64, complete bool) {
	t.Helper()
	got, ended, err := s.Size(k)
	must(t, err)
	if got != size || ended != complete {
		t.Fatalf("log %v: size %d, complete %v; want %d, %v", k, got, ended, size, complete)
	}
}

// all reads a complete log from an offset to its end.
func (s *store) all(t testing.TB, k logs.Key, offset int64) string {
	t.Helper()
	r := s.Reader(k, offset)
	defer r.Close()
	data, err := drain(t.Context(), r, 1000)
	must(t, err)
	return data
}

func drain(ctx context.Context, r *logs.Reader, limit int) (string, error) {
	var all []byte
	for {
		data, complete, err := r.Next(ctx, limit)
		all = append(all, data...)
		if complete || err != nil {
			return string(all), err
		}
	}
}

// path finds the one file of the store with this suffix.
func (s *store) path(t testing.TB, suffix string) string {
	t.Helper()
	found := s.paths(t, suffix)
	if len(found) != 1 {
		t.Fatalf("files with %s: %q", suffix, found)
	}
	return found[0]
}

func (s *store) paths(t testing.TB, suffix string) (found []string) {
	t.Helper()
	must(t, filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) == suffix {
			found = append(found, path)
		}
		return err
	}))
	return found
}

// wants records what agents are asked for.
type wants struct {
	mu    sync.Mutex
	calls []string
	from  map[string]int64
}

func (w *wants) Follow(uid string, from int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, "follow "+uid)
	if w.from == nil {
		w.from = map[string]int64{}
	}
	w.from[uid] = from
}

func (w *wants) Unfollow(uid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, "unfollow "+uid)
}

func (w *wants) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

// pushes is a stream of messages that ends with err, io.EOF if there is none.
func pushes(err error, all ...*stixv1.PushLogRequest) func() (*stixv1.PushLogRequest, error) {
	return func() (*stixv1.PushLogRequest, error) {
		if len(all) == 0 {
			if err == nil {
				err = io.EOF
			}
			return nil, err
		}
		m := all[0]
		all = all[1:]
		return m, nil
	}
}

// jobOf knows the assignments of key.
func jobOf(uid string) (string, bool) {
	const prefix = "assignment-"
	if len(uid) <= len(prefix) || uid[:len(prefix)] != prefix {
		return "", false
	}
	return "job-" + uid[len(prefix):], true
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

package consensus

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// startOnDisk runs a single voter on real files and waits until it leads.
func startOnDisk(t *testing.T, dir string, tweak func(*Config)) *member {
	t.Helper()
	cfg := Config{ID: "a", Dir: dir}
	if tweak != nil {
		tweak(&cfg)
	}
	m := startMember(t, cfg)
	waitReady(t, m)
	return m
}

// waitReady waits until a single voter serves, without looking at the clock.
func waitReady(t *testing.T, m *member) {
	t.Helper()
	for {
		select {
		case <-m.done:
			t.Fatalf("Run: %v", m.err)
		default:
		}
		leading, changed := m.leadership.now()
		if leading {
			if err := m.Barrier(t.Context()); err != nil {
				t.Fatal(err)
			}
			return
		}
		select {
		case <-changed:
		case <-m.done:
		}
	}
}

func TestSingleVoterLeadsWithinMomentsAndKeepsItsData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	start := time.Now()
	m := startOnDisk(t, dir, nil)
	t.Logf("empty directory to leader: %s", time.Since(start))
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint("e", i))
		m.put(t, want[i])
	}
	if err := m.LinearizableRead(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	m = startOnDisk(t, dir, nil)
	t.Logf("restart to leader: %s", time.Since(start))
	if got := m.journal.list(); !slices.Equal(got, want) {
		t.Errorf("after a restart: %v", got)
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotShortensTheLogAndIsRestored(t *testing.T) {
	dir := t.TempDir()
	m := startOnDisk(t, dir, func(cfg *Config) { cfg.TrailingEntries = 1 })
	var want []string
	for i := range 2 * deleteChunk {
		want = append(want, fmt.Sprint("e", i))
	}
	done := make(chan error, len(want))
	for _, e := range want { // at once, so that they share fsyncs
		go func() {
			_, err := m.Propose(context.Background(), []byte(e))
			done <- err
		}()
	}
	for range want {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	want = m.journal.list()
	if err := m.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.put(t, "after")
	applied := m.AppliedIndex()
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	assertLogBegins(t, dir, applied-2)

	m = startOnDisk(t, dir, nil)
	if got := m.journal.list(); !slices.Equal(got, append(want, "after")) {
		t.Errorf("restored %d of %d entries", len(got), len(want)+1)
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
}

func assertLogBegins(t *testing.T, dir string, least uint64) {
	t.Helper()
	bolt, err := openBolt(filepath.Join(dir, logFile))
	if err != nil {
		t.Fatal(err)
	}
	defer bolt.Close()
	if first, err := bolt.FirstIndex(); err != nil || first < least {
		t.Errorf("log begins at %d (%v), want %d or later", first, err, least)
	}
}

func TestCorruptSnapshotFallsBackOrRefusesButNeverStartsEmpty(t *testing.T) {
	dir := t.TempDir()
	m := startOnDisk(t, dir, func(cfg *Config) { cfg.TrailingEntries = 1 })
	m.put(t, "x")
	m.put(t, "y")
	if err := m.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, snapshotsDir, "*", "state.bin"))
	if err != nil || len(files) != 1 {
		t.Fatalf("snapshots %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := runBriefly(t, Config{ID: "a", Dir: dir, FSM: &journal{}}); err == nil {
		t.Error("started without the snapshot's entries")
	}
	// Without the snapshot the log has no beginning.
	if err := os.RemoveAll(filepath.Dir(files[0])); err != nil {
		t.Fatal(err)
	}
	err = runBriefly(t, Config{ID: "a", Dir: dir, FSM: &journal{}})
	if err == nil || !strings.Contains(err.Error(), "read log") {
		t.Errorf("Run = %v, want the log's hole", err)
	}
}

// runBriefly runs a node that is expected not to start.
func runBriefly(t *testing.T, cfg Config) error {
	t.Helper()
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case <-n.Started():
		cancel()
		<-done
		return nil
	case err := <-done:
		return err
	}
}

func TestForeignLogsAreRefusedByName(t *testing.T) {
	for name, tt := range map[string]struct {
		format, want string
	}{
		"newer":   {"stix-raft 2 a", "version 2"},
		"other":   {"stix-raft 1 b", "belongs to coordinator b"},
		"foreign": {"etcd 1 a", "not a stix log"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			bolt, err := raftboltdb.NewBoltStore(filepath.Join(dir, logFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := bolt.Set(keyFormat, []byte(tt.format)); err != nil {
				t.Fatal(err)
			}
			if err := bolt.Close(); err != nil {
				t.Fatal(err)
			}
			err = runBriefly(t, Config{ID: "a", Dir: dir, FSM: &journal{}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNewerSnapshotIsRefusedByVersion(t *testing.T) {
	head := snapshotHead(7)
	head[len(snapshotMagic)+3]++
	if _, err := readSnapshotHead(strings.NewReader(string(head))); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("readSnapshotHead = %v", err)
	}
}

func TestSecondCoordinatorOnOneDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	m := startOnDisk(t, dir, nil)
	err := runBriefly(t, Config{ID: "a", Dir: dir, FSM: &journal{}})
	if err == nil || !strings.Contains(err.Error(), "in use by another coordinator") {
		t.Errorf("Run = %v", err)
	}
	m.put(t, "x")
	if err := m.stop(); err != nil {
		t.Error(err)
	}
}

func TestLeftoversOfACrashAreSweptAtStart(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, snapshotsDir, "3-7-99.tmp")
	if err := os.MkdirAll(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, logFile+".new"), []byte("half a log"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := startOnDisk(t, dir, nil)
	m.put(t, "x")
	if err := m.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{left, filepath.Join(dir, logFile+".new")} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there", path)
		}
	}
}

func TestNobodyElseCanLookIntoTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	m := startOnDisk(t, dir, nil)
	m.put(t, "x")
	if err := m.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, snapshotsDir), filepath.Join(dir, logFile)} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, fs.FileMode(info.Mode().Perm()))
		}
	}
}

func FuzzReadSnapshotHead(f *testing.F) {
	f.Add(snapshotHead(0))
	f.Add(snapshotHead(1 << 63))
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		index, err := readSnapshotHead(bytes.NewReader(b))
		if err == nil && !bytes.HasPrefix(b, snapshotHead(index)) {
			t.Errorf("%q was read as index %d", b, index)
		}
	})
}

func FuzzParseFormat(f *testing.F) {
	f.Add(formatOf("a"))
	f.Add("stix-raft 2 a")
	f.Add("stix-raft 1")
	f.Fuzz(func(t *testing.T, format string) {
		owner, err := parseFormat(format)
		if err == nil && formatOf(owner) != format {
			t.Errorf("%q was read as %q's", format, owner)
		}
	})
}

func BenchmarkPropose(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			n, err := New(Config{ID: "a", Dir: b.TempDir(), FSM: &journal{}})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ran := make(chan error, 1)
			go func() { ran <- n.Run(ctx) }()
			awaitLeader(b, n)
			data := make([]byte, 256)
			b.ResetTimer()
			proposeAll(b, n, clients, data)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "proposals/s")
			cancel()
			if err := <-ran; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkStart is from an empty directory to a leader that has passed its
// barrier.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		n, err := New(Config{ID: "a", Dir: b.TempDir(), FSM: &journal{}})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- n.Run(ctx) }()
		awaitLeader(b, n)
		b.StopTimer()
		cancel()
		if err := <-ran; err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func awaitLeader(b *testing.B, n *Node) {
	b.Helper()
	for leading, changed := n.leadership.now(); !leading; leading, changed = n.leadership.now() {
		<-changed
	}
	if err := n.Barrier(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func proposeAll(b *testing.B, n *Node, clients int, data []byte) {
	b.Helper()
	work := make(chan struct{})
	failed := make(chan error, clients)
	for range clients {
		go func() {
			var err error
			for range work {
				if err == nil {
					_, err = n.Propose(context.Background(), data)
				}
			}
			failed <- err
		}()
	}
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	for range clients {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
}

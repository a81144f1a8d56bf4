package state

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stix-run/stix/internal/testlog"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errRefused = errors.New("refused")
	errLost    = errors.New("leadership lost")
)

// fakeLog is a log of one voter: it applies what is proposed to the store and keeps it. It can be slow, refuse, and lose
// its memory of what it did.
type fakeLog struct {
	t     testing.TB
	delay time.Duration

	mu      sync.Mutex
	store   *Store
	term    uint64
	entries [][]byte
	terms   []uint64
	faults  []fault // of the next proposals, in order
	started atomic.Int64
}

// fault is what happens to one proposal.
type fault struct {
	before func()
	apply  bool
	err    error
}

//stix:bubble
func (l *fakeLog) Propose(ctx context.Context, data []byte) (uint64, error) {
	l.started.Add(1)
	if l.delay > 0 {
		time.Sleep(l.delay)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f := fault{apply: true}
	if len(l.faults) > 0 {
		f, l.faults = l.faults[0], l.faults[1:]
	}
	if f.before != nil {
		f.before()
	}
	if f.apply {
		l.append(data)
	}
	return uint64(len(l.entries)), f.err
}

// append commits an entry. The log copies it, as a transport would.
func (l *fakeLog) append(data []byte) {
	l.entries = append(l.entries, append([]byte(nil), data...))
	l.terms = append(l.terms, l.term)
	if err := l.store.Apply(uint64(len(l.entries)), l.term, l.entries[len(l.entries)-1]); err != nil {
		l.t.Errorf("apply: %v", err)
	}
}

// commit appends an entry that was proposed before.
func (l *fakeLog) commit(data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.append(data)
}

func (l *fakeLog) fail(f ...fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, f...)
}

// replay applies the log to an empty store.
func (l *fakeLog) replay(t testing.TB) *Store {
	t.Helper()
	s := newStore(t, Config{})
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range l.entries {
		if err := s.Apply(uint64(i+1), l.terms[i], e); err != nil {
			t.Fatalf("replay entry %d: %v", i+1, err)
		}
	}
	return s
}

func classify(err error) Outcome {
	if errors.Is(err, errRefused) {
		return NotHappened
	}
	return Unknown
}

func newStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lead starts a store that leads term 1 of a fake log until stop.
func lead(t testing.TB, change func(*Config, *fakeLog)) (s *Store, l *fakeLog, stop func()) {
	t.Helper()
	l = &fakeLog{t: t, term: 1}
	var ids atomic.Int64
	cfg := Config{
		Proposer: l,
		Now:      func() int64 { return time.Now().UnixNano() },
		NewID:    func() string { return fmt.Sprintf("id-%08d", ids.Add(1)) },
		Classify: classify,
		Logger:   testlog.New(t),
	}
	if change != nil {
		change(&cfg, l)
	}
	s = newStore(t, cfg)
	l.store = s
	s.StartTerm(1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	return s, l, func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
}

func by(verb string) Actor { return Actor{Subject: "tester", Verb: verb, RequestID: "req"} }

// must updates and fails the test on an error.
func must(t testing.TB, s *Store, fn func(tx *Tx)) uint64 {
	t.Helper()
	rev, err := s.UpdateRevision(context.Background(), by("test"), func(tx *Tx) error { fn(tx); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func cluster(uid, name string) *stixv1.Cluster {
	return &stixv1.Cluster{Meta: &stixv1.Meta{Uid: uid, Name: name}, State: stixv1.ClusterState_CLUSTER_STATE_INIT}
}

func job(uid, clusterUID string, number int64) *stixv1.Job {
	return &stixv1.Job{
		Meta: &stixv1.Meta{Uid: uid}, ClusterUid: clusterUID, Number: number, State: stixv1.JobState_JOB_STATE_PENDING,
	}
}

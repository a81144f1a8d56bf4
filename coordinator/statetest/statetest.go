// Package statetest gives tests of behaviours a real store whose log is this process: what is proposed commits at once.
package statetest

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/testlog"
)

// Store returns a store that leads term 1 until the test, or the bubble, ends. Ids count up: "id-1", "id-2", …
func Store(t testing.TB) *state.Store {
	t.Helper()
	l := &log{t: t}
	ids := counter{}
	s, err := state.New(state.Config{
		Proposer: l, Now: func() int64 { return time.Now().UnixNano() }, NewID: ids.next, Logger: testlog.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	l.store = s
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("store: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	s.StartTerm(1)
	return s
}

// Do runs one update in the name of the test.
func Do(t testing.TB, s *state.Store, fn func(tx *state.Tx)) {
	t.Helper()
	err := s.Update(t.Context(), state.Actor{Subject: "test", Verb: "arrange", Object: "test"}, func(tx *state.Tx) error {
		fn(tx)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) next() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return "id-" + strconv.Itoa(c.n)
}

type log struct {
	t     testing.TB
	store *state.Store

	mu    sync.Mutex
	index uint64
}

// Propose is part of state.Proposer.
func (l *log) Propose(_ context.Context, data []byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	if err := l.store.Apply(l.index, 1, data); err != nil {
		l.t.Errorf("apply: %v", err)
	}
	return l.index, nil
}

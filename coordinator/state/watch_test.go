package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// next returns what a watcher is told now, as text: key, old and new name.
func next(t *testing.T, w *Watcher) string {
	t.Helper()
	changes, err := w.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range changes {
		old, _ := c.Old.(*stixv1.Cluster)
		now, _ := c.New.(*stixv1.Cluster)
		all = append(all, fmt.Sprintf("%d %s %s>%s", c.Revision, c.Key, old.GetMeta().GetName(), now.GetMeta().GetName()))
	}
	return strings.Join(all, ", ")
}

func rename(t *testing.T, s *Store, uid, name string) {
	t.Helper()
	must(t, s, func(tx *Tx) {
		if !tx.Clusters.Edit(uid, func(c *stixv1.Cluster) { c.Meta.Name = name }) {
			tx.Clusters.Put(cluster(uid, name))
		}
	})
}

func TestWatchTellsEveryChangeAfterItsRevision(t *testing.T) {
	s, _, stop := lead(t, nil)
	defer stop()
	rename(t, s, "c1", "one")
	w := s.Watch(s.Read().Revision, Filter{})
	now := s.Watch(0, Filter{})
	rename(t, s, "c2", "two")
	if got := next(t, w); got != "2 c2 >two" {
		t.Errorf("told %q", got)
	}
	must(t, s, func(tx *Tx) { tx.Clusters.Delete("c2") })
	if got := next(t, w); got != "3 c2 two>" {
		t.Errorf("told %q", got)
	}
	if got := next(t, now); got != "3 c2 >" {
		t.Errorf("told %q", got)
	}
	if got := next(t, s.Watch(1, Filter{})); got != "3 c2 >" {
		t.Errorf("resumed from the beginning: %q", got)
	}
}

func TestSlowWatcherIsToldOneChangePerRecord(t *testing.T) {
	s, _, stop := lead(t, nil)
	defer stop()
	rename(t, s, "c1", "a0")
	w := s.Watch(0, Filter{})
	for i := range 100 {
		rename(t, s, "c1", fmt.Sprint("a", i+1))
		rename(t, s, "c2", fmt.Sprint("b", i+1))
	}
	if got := next(t, w); got != "200 c1 a0>a100, 201 c2 >b100" {
		t.Errorf("told %q", got)
	}
}

func TestWatchFilters(t *testing.T) {
	s, _, stop := lead(t, nil)
	defer stop()
	w := s.Watch(0, Filter{
		Tables: []TableID{TableClusters},
		Match:  func(c Change) bool { return c.Key != "c2" },
	})
	must(t, s, func(tx *Tx) { tx.Jobs.Put(job("j", "c", 1)) })
	rename(t, s, "c2", "two")
	rename(t, s, "c1", "one")
	if got := next(t, w); got != "3 c1 >one" {
		t.Errorf("told %q", got)
	}
	if w.Revision() != 3 {
		t.Errorf("told up to revision %d", w.Revision())
	}
}

func TestWatchStartsOverWhenChangesAreNotKept(t *testing.T) {
	s, _, stop := lead(t, func(c *Config, _ *fakeLog) { c.RingSize = 10 })
	defer stop()
	rename(t, s, "c", "first")
	old := s.Watch(0, Filter{})
	for i := range 10 {
		rename(t, s, "c", fmt.Sprint(i))
	}
	if got := next(t, old); got != "11 c first>9" {
		t.Errorf("told %q", got)
	}
	for i := range 11 {
		rename(t, s, "c", fmt.Sprint("again", i))
	}
	for range 2 {
		if _, err := old.Next(cancelled()); !errors.Is(err, ErrStartOver) {
			t.Errorf("after falling behind: %v", err)
		}
	}
	if got := next(t, s.Watch(12, Filter{})); got != "22 c again0>again10" {
		t.Errorf("told %q", got)
	}
}

func TestWatchStartsOverAfterRestore(t *testing.T) {
	s, _, stop := lead(t, nil)
	defer stop()
	rename(t, s, "c", "name")
	replica := newStore(t, Config{})
	w := replica.Watch(0, Filter{})
	if err := replica.Restore(bytes.NewReader(save(t, s))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.Next(cancelled()); !errors.Is(err, ErrStartOver) {
			t.Errorf("%v", err)
		}
	}
	if _, err := replica.Watch(0, Filter{}).Next(cancelled()); !errors.Is(err, context.Canceled) {
		t.Errorf("a new watch: %v", err)
	}
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestWhoIsToldOfAChangeFindsItInTheView(t *testing.T) {
	s, _, stop := lead(t, nil)
	defer stop()
	var wg sync.WaitGroup
	for range 8 {
		w := s.Watch(0, Filter{})
		wg.Go(func() {
			for seen := uint64(0); seen < 200; {
				changes, err := w.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for _, c := range changes {
					if v := s.Read(); v.Revision < c.Revision {
						t.Errorf("told of revision %d, read %d", c.Revision, v.Revision)
					}
					if c.Revision <= seen {
						t.Errorf("told of revision %d after %d", c.Revision, seen)
					}
					seen = c.Revision
				}
			}
		})
	}
	for i := range 200 {
		rename(t, s, "c", fmt.Sprint(i))
	}
	wg.Wait()
}

func TestAwaitReturnsTheViewOfARevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, stop := slow(t, nil)
		var wg sync.WaitGroup
		wg.Go(func() {
			if v, err := s.Await(t.Context(), 2); err != nil || v.Revision != 2 {
				t.Errorf("%v, %v", v, err)
			}
		})
		rename(t, s, "c", "1")
		rename(t, s, "c", "2")
		wg.Wait()
		if _, err := s.Await(cancelled(), 3); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		stop()
	})
}

func TestEventsAreCountedAndBounded(t *testing.T) {
	s, l, stop := lead(t, func(c *Config, _ *fakeLog) { c.EventsPerObject = 5 })
	defer stop()
	must(t, s, func(tx *Tx) {
		tx.Event("cluster", "c1", "cluster.up", "up")
		tx.Event("cluster", "c1", "cluster.up", "up")
		tx.Event("cluster", "c10", "cluster.up", "of another")
	})
	for i := range 20 {
		must(t, s, func(tx *Tx) { tx.Event("cluster", "c1", "cluster.odd", fmt.Sprint(i)) })
	}
	var texts []string
	for e := range s.Read().EventsOf("c1") {
		texts = append(texts, e.Text)
	}
	if want := []string{"15", "16", "17", "18", "19"}; !slices.Equal(texts, want) {
		t.Errorf("events %q, want %q", texts, want)
	}
	must(t, s, func(tx *Tx) { tx.Event("cluster", "c10", "cluster.up", "of another") })
	for e := range s.Read().EventsOf("c10") {
		if e.Count != 2 || e.ObjectKind != "cluster" || e.Type != "cluster.up" {
			t.Errorf("event is %v", e)
		}
	}
	sameEverywhere(t, s, l)
}

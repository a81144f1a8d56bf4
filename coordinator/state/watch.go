package state

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
)

// Change is what happened to one record in one entry, or, for a watcher that is slow, in several.
type Change struct {
	// Revision of the (last) entry.
	Revision uint64
	Table    TableID
	Key      string
	// Old is the record before, nil if there was none. New is the record after, nil if it was deleted. Both are shared.
	Old, New proto.Message
}

// Filter says which changes a watch is told of. The zero value means all.
type Filter struct {
	// Tables are the tables of interest; empty means all.
	Tables []TableID
	// Match chooses among their changes; nil means all. It is called for each change on the watcher's goroutine.
	Match func(Change) bool
}

func (f *Filter) wantsTable(id TableID) bool {
	return len(f.Tables) == 0 || slices.Contains(f.Tables, id)
}

// Watch returns a watcher of the changes after revision from, as this replica applies them; 0 means from now on. To miss
// nothing, pass the revision of the view that was read before. A watcher holds no resources and needs no closing.
func (s *Store) Watch(from uint64, f Filter) *Watcher {
	if from == 0 {
		from = s.Read().Revision
	}
	return &Watcher{ring: s.ring, era: s.ring.currentEra(), after: from, filter: f}
}

// Watcher is one watch; it is used by one goroutine at a time.
type Watcher struct {
	ring   *ring
	era    uint64
	after  uint64
	filter Filter
}

// Revision returns the revision up to which Next has told everything: where another watcher may resume.
func (w *Watcher) Revision() uint64 { return w.after }

// Next blocks until there are changes and returns all that there are, in order of revision. Several changes of one
// record since the last call are told as one, from the first Old to the last New. It returns ErrStartOver if some are
// not kept any more or the state was restored, then for ever, and the error of ctx when that ends first.
func (w *Watcher) Next(ctx context.Context) ([]Change, error) {
	for {
		changes, changed, err := w.ring.since(w)
		if err != nil {
			return nil, err
		}
		if changes = coalesce(changes); len(changes) > 0 {
			return changes, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// coalesce leaves one change per record, at the place of its last.
func coalesce(changes []Change) []Change {
	if len(changes) < 2 {
		return changes
	}
	at := make(map[place]int, len(changes))
	for i := range changes {
		p := place{changes[i].Table, changes[i].Key}
		if before, again := at[p]; again {
			changes[i].Old = changes[before].Old
			changes[before].Table = 0
		}
		at[p] = i
	}
	return slices.DeleteFunc(changes, func(c Change) bool { return c.Table == 0 })
}

// ring keeps the last changes. One goroutine adds, watchers read.
type ring struct {
	limit int

	mu   sync.RWMutex
	kept []Change // a circle once it has limit elements
	head int      // of the circle: the oldest
	// floor is the newest revision of which a change is not kept.
	floor uint64
	// at is the newest revision.
	at uint64
	// era counts restores.
	era  uint64
	next chan struct{} // closed and replaced when changes are added
}

func newRing(limit int) *ring { return &ring{limit: limit, next: make(chan struct{})} }

func (r *ring) add(revision uint64, changes []Change) {
	r.mu.Lock()
	for i := range changes {
		if len(r.kept) < r.limit {
			r.kept = append(r.kept, changes[i])
			continue
		}
		r.floor = max(r.floor, r.kept[r.head].Revision)
		r.kept[r.head] = changes[i]
		r.head = (r.head + 1) % r.limit
	}
	r.at = revision
	woken := r.swap()
	r.mu.Unlock()
	close(woken)
}

// reset forgets everything: all watchers start over.
func (r *ring) reset(revision uint64) {
	r.mu.Lock()
	r.kept, r.head = nil, 0
	r.floor, r.at = revision, revision
	r.era++
	woken := r.swap()
	r.mu.Unlock()
	close(woken)
}

func (r *ring) swap() (woken chan struct{}) {
	woken, r.next = r.next, make(chan struct{})
	return woken
}

func (r *ring) changed() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.next
}

func (r *ring) currentEra() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.era
}

// since returns what w has not been told and moves it on, and the channel that tells of more.
func (r *ring) since(w *Watcher) ([]Change, <-chan struct{}, error) {
	fresh, changed, err := r.after(w)
	if w.filter.Match != nil { // outside of the lock: it is the caller's code
		fresh = slices.DeleteFunc(fresh, func(c Change) bool { return !w.filter.Match(c) })
	}
	return fresh, changed, err
}

func (r *ring) after(w *Watcher) ([]Change, <-chan struct{}, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if w.era != r.era || w.after < r.floor {
		return nil, nil, ErrStartOver
	}
	i := r.search(w.after)
	var fresh []Change
	for ; i < len(r.kept); i++ {
		if c := r.get(i); w.filter.wantsTable(c.Table) {
			fresh = append(fresh, *c)
		}
	}
	w.after = max(w.after, r.at)
	return fresh, r.next, nil
}

// get returns the i-th oldest change.
func (r *ring) get(i int) *Change { return &r.kept[(r.head+i)%len(r.kept)] }

// search returns the place of the oldest change after a revision.
func (r *ring) search(revision uint64) int {
	low, high := 0, len(r.kept)
	for low < high {
		mid := (low + high) / 2
		if r.get(mid).Revision > revision {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

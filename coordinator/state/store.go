package state

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// Store holds the records of one replica. All methods are safe for concurrent use, except that Apply, Snapshot and
// Restore are called by one goroutine at a time.
type Store struct {
	cfg  Config
	view atomic.Pointer[View]
	ring *ring
	// decoding interns for Apply and Restore.
	decoding interner
	// inflight is the batch that is being proposed, which Apply knows without decoding.
	inflight atomic.Pointer[batch]
	// restores counts them: what was built on an older state is void.
	restores atomic.Uint64

	poke    chan struct{} // wakes the committer
	cancels chan *call    // updates whose caller gave up, after the committer took them

	mu      sync.Mutex
	term    term
	pending []*call
	running bool
	ended   bool
}

// term is one stretch of leadership here.
type term struct {
	number uint64
	// seq tells two stretches apart, and one from the time after it.
	seq     uint64
	leading bool
}

// New returns an empty store. It follows the log as soon as its Apply is called, and needs Run to change it.
func New(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	s := &Store{
		cfg:     cfg,
		ring:    newRing(cfg.RingSize),
		poke:    make(chan struct{}, 1),
		cancels: make(chan *call),
	}
	s.view.Store(&View{Reader: *newReader()})
	return s, nil
}

// Read returns the newest state that this replica has applied. It never blocks and never returns nil.
func (s *Store) Read() *View { return s.view.Load() }

// StartTerm makes this replica accept updates. Call it when it leads and everything of earlier terms is applied here,
// that is after a barrier; number is the term of the log.
func (s *Store) StartTerm(number uint64) { s.setTerm(number, true) }

// EndTerm makes updates that are not proposed yet, and all later ones, fail with ErrNotLeader.
func (s *Store) EndTerm() { s.setTerm(0, false) }

func (s *Store) setTerm(number uint64, leading bool) {
	s.mu.Lock()
	s.term = term{number: number, seq: s.term.seq + 1, leading: leading}
	s.mu.Unlock()
	s.wake()
}

func (s *Store) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Update changes records: it runs fn over the newest ones, and returns nil once what fn did is committed and applied
// here. An error of fn is returned as it is, and nothing is changed.
//
// fn may run several times, the last run counts; it runs on another goroutine, but never after Update has returned. It
// must not block, and touch nothing but tx and what its caller reads after Update. Updates take effect in the order of
// their calls. What fn found, and any error it decided on, is committed when Update returns.
//
// ErrNotLeader, ErrConflict, ErrTooLarge: nothing happened. ErrUnknownOutcome: the update may or may not be made, now or
// later. When ctx ends early, its error is returned if nothing happened, and is wrapped with ErrUnknownOutcome otherwise.
func (s *Store) Update(ctx context.Context, by Actor, fn func(tx *Tx) error) error {
	_, err := s.UpdateRevision(ctx, by, fn)
	return err
}

// UpdateRevision is Update that also returns the revision in which its effect can be seen.
func (s *Store) UpdateRevision(ctx context.Context, by Actor, fn func(tx *Tx) error) (uint64, error) {
	c := &call{by: by, fn: fn, done: make(chan struct{})}
	if err := s.enqueue(ctx, c); err != nil {
		return 0, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		s.cancel(ctx, c)
	}
	return c.revision, c.err
}

func (s *Store) enqueue(ctx context.Context, c *call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if !s.term.leading || s.ended {
		s.mu.Unlock()
		return ErrNotLeader
	}
	c.term = s.term
	s.pending = append(s.pending, c)
	first := len(s.pending) == 1
	s.mu.Unlock()
	if first {
		s.wake()
	}
	return nil
}

// cancel ends c with the error of ctx if nothing happened, and waits for the committer to tell: it may be running the
// function of c, which must not outlive Update.
func (s *Store) cancel(ctx context.Context, c *call) {
	c.cause = ctx.Err()
	s.mu.Lock()
	queued := !c.taken
	if queued {
		c.dropped, c.err = true, c.cause
	}
	s.mu.Unlock()
	if queued {
		return
	}
	select {
	case s.cancels <- c:
		<-c.done
	case <-c.done:
	}
}

// Await returns the view of this replica once it has applied the revision.
func (s *Store) Await(ctx context.Context, revision uint64) (*View, error) {
	for {
		changed := s.ring.changed()
		if v := s.Read(); v.Revision >= revision {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("await revision %d: %w", revision, ctx.Err())
		}
	}
}

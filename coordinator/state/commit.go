package state

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// committer makes updates into entries. All of it belongs to the goroutine of Store.Run.
//
// A call goes pending -> backlog -> open batch -> batch in flight -> answered. When an entry is rejected, or its outcome
// stays unknown, the calls behind it go back to the backlog and run again on the committed state.
type committer struct {
	s *Store
	// term is the one that open and working belong to.
	term term
	// backlog are calls that were taken and are to be run.
	backlog []*call

	// working is the committed state with the batch in flight and the open one; nil: to be forked from the committed.
	working  *Reader
	restores uint64 // that working was made after
	tx       *Tx
	log      updateLog
	interner interner

	open     *batch
	inflight *batch
	// uncertain is a batch of this term whose outcome is not known: nothing may be built until it is.
	uncertain *batch
	// pausing is set while a rejected entry waits to be built again.
	pausing    bool
	rejections int

	errands chan errand
	results chan result
}

// errand is something that blocks, done beside the committer, one at a time.
type errand struct {
	kind    errandKind
	batch   *batch
	attempt int
}

type errandKind int

const (
	propose errandKind = iota
	barrier
	pause
)

type result struct {
	errand errand
	err    error
}

// Run makes updates into entries until ctx ends; then it answers all that wait, and returns nil. It may be called once.
func (s *Store) Run(ctx context.Context) error {
	if s.cfg.Proposer == nil {
		return errors.New("state: run without a proposer")
	}
	s.mu.Lock()
	twice := s.running
	s.running = true
	s.mu.Unlock()
	if twice {
		return errors.New("state: run twice")
	}
	c := &committer{
		s: s, open: new(batch),
		// A batch in flight and a barrier or pause can be outstanding together, when a term ends and the next begins.
		errands: make(chan errand, 4), results: make(chan result, 4),
	}
	c.log = updateLog{cfg: &s.cfg, at: map[place]int{}, interner: &c.interner}
	go c.work(ctx)
	c.loop(ctx)
	close(c.errands)
	c.shutdown()
	return nil
}

func (c *committer) work(ctx context.Context) {
	defer close(c.results)
	for j := range c.errands {
		r := result{errand: j}
		switch j.kind {
		case propose:
			r.err = c.s.propose(ctx, j.batch)
		case barrier:
			r.err = c.s.cfg.Barrier(ctx)
		case pause:
			if c.s.cfg.Pause != nil {
				c.s.cfg.Pause(ctx, j.attempt)
			}
		}
		c.results <- r
	}
}

// propose puts a batch into the log, where Apply will know it again.
func (s *Store) propose(ctx context.Context, b *batch) error {
	if err := b.encode(); err != nil {
		return fmt.Errorf("%w: %w", errRejected, err)
	}
	s.inflight.Store(b)
	_, err := s.cfg.Proposer.Propose(ctx, b.data)
	return err
}

func (c *committer) loop(ctx context.Context) {
	for {
		c.take()
		c.followTerm()
		c.runBacklog()
		c.propose()
		select {
		case <-ctx.Done():
			return
		case <-c.s.poke:
		case r := <-c.results:
			c.settle(r)
		case x := <-c.s.cancels:
			c.cancel(x)
		}
	}
}

// shutdown answers everybody. What is in flight is waited for: its context has ended.
func (c *committer) shutdown() {
	for r := range c.results {
		if r.errand.kind == propose {
			c.inflight = nil
			c.s.inflight.Store(nil)
			c.answer(r.errand.batch.calls, c.verdict(r.errand.batch, r.err))
		}
	}
	c.s.mu.Lock()
	c.s.ended = true
	c.s.mu.Unlock()
	c.take()
	c.abandon(append(c.open.calls, c.backlog...))
	c.open, c.backlog = new(batch), nil
}

// take moves what was asked for since to the backlog.
func (c *committer) take() {
	c.s.mu.Lock()
	taken := c.s.pending
	c.s.pending = nil
	for _, x := range taken {
		x.taken = true
	}
	c.s.mu.Unlock()
	c.backlog = append(c.backlog, taken...)
}

// followTerm notices that a term began or ended. What was built in the last one is void, save what is in flight.
func (c *committer) followTerm() {
	c.s.mu.Lock()
	now := c.s.term
	c.s.mu.Unlock()
	if now == c.term {
		c.followState()
		return
	}
	c.term = now
	c.abandon(c.open.calls)
	c.reset()
	c.certain()
	c.rejections = 0
	kept := c.backlog[:0]
	for _, x := range c.backlog {
		if x.term == now {
			kept = append(kept, x)
		} else {
			c.finish(x, ErrNotLeader)
		}
	}
	clear(c.backlog[len(kept):])
	c.backlog = kept
}

// followState notices that a doubtful entry was applied after all, or that the state was replaced.
func (c *committer) followState() {
	if c.uncertain != nil && c.uncertain.applied.Load() {
		c.certain()
	}
	if now := c.s.restores.Load(); now != c.restores {
		c.restores = now
		c.rerun(c.open.calls)
	}
}

// certain ends the wait for an outcome.
func (c *committer) certain() {
	if c.uncertain != nil {
		c.uncertain = nil
		c.s.inflight.Store(nil)
	}
}

// reset forgets what was built: the next call runs on the committed state.
func (c *committer) reset() {
	c.working, c.tx, c.open = nil, nil, new(batch)
}

// runBacklog runs calls until the batch is full, or one in flight has an answer that its callers wait for.
func (c *committer) runBacklog() {
	if c.uncertain != nil || c.pausing {
		return
	}
	n := 0
	for ; n < len(c.backlog) && !c.open.full(&c.s.cfg) && len(c.results) == 0; n++ {
		if x := c.backlog[n]; !x.dropped {
			c.run(x)
		}
	}
	clear(c.backlog[:n])
	if c.backlog = c.backlog[n:]; len(c.backlog) == 0 {
		c.backlog = nil
	}
}

// run runs one update and makes it part of the open batch, if it has to wait for anything.
func (c *committer) run(x *call) {
	if x.term != c.term {
		c.finish(x, ErrNotLeader)
		return
	}
	c.prepare()
	c.log.begin(x.by)
	x.err = c.call(x)
	if x.err != nil {
		c.log.rollback()
	}
	x.revision = c.open.base
	if len(c.log.changes) > 0 || !c.open.empty() {
		x.revision++
	}
	if len(c.log.changes) == 0 && c.open.empty() && c.inflight == nil {
		c.finish(x, x.err) // it saw committed data only
		return
	}
	c.open.add(x, &c.log)
}

// prepare makes a transaction and an open batch to run on.
func (c *committer) prepare() {
	if c.working == nil {
		v := c.s.Read()
		c.working = v.fork()
		c.tx = newTx(c.working, &c.log)
		c.open.base = v.Revision
	}
	if len(c.open.calls) == 0 {
		c.open.term = c.term
		c.open.at = c.s.cfg.Now()
		c.log.now = c.open.at
		c.log.revision = c.open.base + 1
	}
}

// call runs the function of x. Its panic is an error of that update, not the end of all.
func (c *committer) call(x *call) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.s.cfg.Logger.Error("update panicked", "verb", x.by.Verb, "object", x.by.Object, "panic", p,
				"stack", string(debug.Stack()))
			err = fmt.Errorf("update %s of %s panicked: %v", x.by.Verb, x.by.Object, p)
		}
	}()
	if err := x.fn(c.tx); err != nil {
		return err
	}
	if c.log.err != nil {
		return c.log.err
	}
	if c.log.size > c.s.cfg.MaxUpdateBytes {
		return fmt.Errorf("%w: %d bytes, at most %d go into one entry", ErrTooLarge, c.log.size, c.s.cfg.MaxUpdateBytes)
	}
	return nil
}

// propose closes the open batch and puts it into the log, if none is in flight.
func (c *committer) propose() {
	if c.inflight != nil || c.uncertain != nil || c.pausing {
		return
	}
	if c.open.dirty {
		c.rerun(c.open.calls)
		c.runBacklog()
	}
	b := c.open
	if b.empty() {
		c.answer(b.calls, nil)
		b.calls = nil
		return
	}
	b.after = c.working.fork()
	c.open = &batch{base: b.base + 1}
	c.inflight = b
	c.errands <- errand{kind: propose, batch: b}
}

// rerun puts calls before the backlog, to be run again on the committed state.
func (c *committer) rerun(calls ...[]*call) {
	var again []*call
	for _, some := range calls {
		again = append(again, some...)
	}
	c.backlog = append(again, c.backlog...)
	c.reset()
}

package state

import (
	"errors"
	"fmt"
	"slices"
)

// errRejected says that an entry was not taken into the log.
var errRejected = errors.New("entry rejected")

// verdict tells the callers of a batch that was proposed how it ended; nil: it is committed.
func (c *committer) verdict(b *batch, err error) error {
	switch {
	case b.applied.Load():
		return nil
	case err == nil:
		// It was logged in a later term than it was decided in, so it was passed over; see stale.
		return fmt.Errorf("%w: %w: it came too late", ErrNotLeader, errRejected)
	case errors.Is(err, errRejected):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	case c.s.cfg.Classify(err) == NotHappened:
		return fmt.Errorf("%w: %w: %w", ErrNotLeader, errRejected, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}

// settle takes what an errand came to.
func (c *committer) settle(r result) {
	switch r.errand.kind {
	case propose:
		c.inflight = nil
		c.settleBatch(r.errand.batch, c.verdict(r.errand.batch, r.err))
	case barrier:
		if r.err == nil && c.uncertain == r.errand.batch {
			c.certain()
		}
	case pause:
		c.pausing = false
	}
}

func (c *committer) settleBatch(b *batch, verdict error) {
	doubtful := errors.Is(verdict, ErrUnknownOutcome) && b.term.number == c.term.number
	if !doubtful {
		c.s.inflight.Store(nil)
	}
	switch {
	case b.term != c.term && !doubtful:
		// What is open was begun in this term without knowing that one of the last was still on its way.
		c.rerun(c.open.calls)
		c.answer(b.calls, verdict)
	case verdict == nil:
		c.rejections = 0
		c.propose() // first, so that the next entry is on its way while the callers wake up
		c.answer(b.calls, nil)
	case doubtful:
		c.doubt(b, verdict)
	default:
		c.reject(b, verdict)
	}
}

// reject builds the batch, and what was built on it, again.
func (c *committer) reject(b *batch, verdict error) {
	c.rejections++
	if c.rejections > c.s.cfg.MaxRejections {
		c.rejections = 0
		c.answer(b.calls, verdict)
		b.calls = nil
	}
	c.rerun(b.calls, c.open.calls)
	if c.s.cfg.Pause != nil {
		c.pausing = true
		c.errands <- errand{kind: pause, attempt: max(c.rejections, 1)}
	}
}

// doubt tells the callers who changed something that nobody knows; all others run again once the outcome is known.
func (c *committer) doubt(b *batch, verdict error) {
	var readers []*call
	for _, x := range b.calls {
		if x.changed {
			c.finish(x, verdict)
		} else {
			readers = append(readers, x)
		}
	}
	c.rerun(readers, c.open.calls)
	c.uncertain = b
	if c.s.cfg.Barrier != nil {
		c.errands <- errand{kind: barrier, batch: b}
	}
}

// cancel answers a call whose caller gave up.
func (c *committer) cancel(x *call) {
	if x.dropped {
		return // it was answered already
	}
	err := x.cause
	switch {
	case c.inflight != nil && x.changed && slices.Contains(c.inflight.calls, x):
		err = fmt.Errorf("%w: %w", ErrUnknownOutcome, x.cause)
	case x.changed && slices.Contains(c.open.calls, x):
		c.open.dirty = true
	}
	c.finish(x, err)
}

// answer ends calls with the error of their function, or with err if it could not be decided.
func (c *committer) answer(calls []*call, err error) {
	for _, x := range calls {
		switch {
		case err == nil:
			c.finish(x, x.err)
		case !x.changed && errors.Is(err, ErrUnknownOutcome):
			c.finish(x, ErrNotLeader) // nothing of it was proposed
		default:
			c.finish(x, err)
		}
	}
}

// abandon ends calls that were not proposed.
func (c *committer) abandon(calls []*call) { c.answer(calls, ErrNotLeader) }

func (c *committer) finish(x *call, err error) {
	if x.dropped {
		return
	}
	x.dropped = true
	x.err = err
	close(x.done)
}

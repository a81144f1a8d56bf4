package consensus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stix-run/stix/internal/backoff"
)

// leadership is the library's last word on whether this node leads. Each change
// closes the channel of the state before, so a loss is noticed also when a gain
// followed it at once.
type leadership struct {
	mu      sync.Mutex
	leading bool
	changed chan struct{}
}

// set notes a word of the library's. Two gains in a row have a loss between them
// that was overtaken.
func (l *leadership) set(leading bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leading && !leading {
		return
	}
	l.leading = leading
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leadership) now() (leading bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leading, l.changed
}

// Lead calls lead each time this node begins to lead, one call at a time, with the
// new term and a context that is cancelled when leadership is lost or the node
// stops. Before each call a barrier is passed: everything that earlier terms
// committed is applied. Where the barrier or lead fails before the term is over,
// the node hands leadership over; while it keeps it, all is tried again after a
// pause. Where lead returns nil, it is called again in the next term.
//
// Lead returns nil when ctx is done, and the node's fault or ErrStopped when Run
// has ended. One Lead can run at a time.
func (n *Node) Lead(ctx context.Context, lead func(ctx context.Context, term uint64) error) error {
	if n.leads.Swap(true) {
		return errors.New("consensus: Lead runs already")
	}
	defer n.leads.Store(false)
	for failures := 0; ; {
		changed, err := n.awaitLeadership(ctx)
		if err != nil || changed == nil {
			return err
		}
		err = n.leadOnce(ctx, changed, lead)
		if err == nil {
			failures = 0
			continue
		}
		n.stepBack(ctx, changed, failures)
		failures++
	}
}

// awaitLeadership returns a channel that is closed when the leadership that has
// just begun changes, or nil when ctx is done.
func (n *Node) awaitLeadership(ctx context.Context) (<-chan struct{}, error) {
	for {
		if ctx.Err() != nil {
			return nil, nil // also while the node itself goes on leading
		}
		leading, changed := n.leadership.now()
		if leading && !n.isEnding() {
			return changed, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-n.ended:
		}
		if n.hasEnded() && ctx.Err() == nil {
			return nil, cmp.Or(n.fault.cause(), ErrStopped)
		}
	}
}

func (n *Node) hasEnded() bool {
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

func (n *Node) isEnding() bool {
	select {
	case <-n.ending:
		return true
	case <-n.fault.done:
		return true
	default:
		return false
	}
}

// leadOnce runs lead for one term. It returns an error when leadership should be
// given up: the barrier failed or lead did.
func (n *Node) leadOnce(ctx context.Context, changed <-chan struct{}, lead func(context.Context, uint64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	defer func() {
		cancel()
		<-watched
	}()
	go func() {
		defer close(watched)
		defer cancel()
		select {
		case <-changed:
		case <-n.ending:
		case <-n.fault.done:
		case <-ctx.Done():
		}
	}()
	term, err := n.beginTerm(ctx)
	if err != nil {
		return unlessDone(ctx, err)
	}
	if n.work.enter(false) != nil {
		return nil
	}
	defer n.work.leave()
	n.logger.Info("leading", "term", term)
	err = lead(ctx, term)
	if ctx.Err() == nil && err != nil {
		n.logger.Error("leader's work failed", "term", term, "error", err)
		return err
	}
	<-ctx.Done()
	n.logger.Info("no longer leading", "term", term)
	return nil
}

// unlessDone drops an error that only says that the term is over.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// beginTerm passes a barrier and returns the term it was passed in.
func (n *Node) beginTerm(ctx context.Context) (uint64, error) {
	if err := n.Barrier(ctx); err != nil {
		n.logger.Debug("barrier of new term", "error", err)
		return 0, err
	}
	term := n.barriered.Load()
	if term != n.Term() {
		return 0, fmt.Errorf("term %d is over: %w", term, ErrNotLeader)
	}
	return term, nil
}

// stepBack makes room for another leader after a failure, so that there is never
// one that leads by half, and waits until leadership changes or it is time to try
// again.
func (n *Node) stepBack(ctx context.Context, changed <-chan struct{}, failures int) {
	if n.hasOtherVoter() {
		if err := n.TransferLeadership(ctx, ""); err != nil {
			n.logger.Debug("step back", "error", err)
		}
	}
	timer := time.NewTimer(backoff.Backoff{Max: 10 * time.Second}.Ceiling(failures))
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-n.ending:
	case <-n.fault.done:
	case <-ctx.Done():
	}
}

func storeMax(to *atomic.Uint64, value uint64) {
	for {
		old := to.Load()
		if old >= value || to.CompareAndSwap(old, value) {
			return
		}
	}
}

package consensus

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Propose appends an entry and returns its index once it is committed and this
// node's state machine has applied it. data must not change afterwards.
//
// ErrNotLeader and ErrRejected mean that nothing happened. Any other error, that
// of ctx included, is an ErrUnknownOutcome: the entry may be committed, or still
// become so.
func (n *Node) Propose(ctx context.Context, data []byte) (index uint64, err error) {
	var committed uint64 // not the result: the call may outlive this one
	err = n.call(ctx, write, func(r *raft.Raft) error {
		future := r.Apply(data, 0)
		if err := future.Error(); err != nil {
			return err
		}
		committed = future.Index()
		if err, ok := future.Response().(error); ok {
			return err
		}
		return nil
	})
	if err == nil {
		return committed, nil
	}
	if errors.Is(err, ErrNotLeader) || errors.Is(err, ErrRejected) || errors.Is(err, ErrUnknownOutcome) {
		return 0, err
	}
	return 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
}

// Barrier returns once everything committed before it is applied here. Only the
// leader can pass one.
func (n *Node) Barrier(ctx context.Context) error {
	return n.call(ctx, write, func(r *raft.Raft) error {
		term := r.CurrentTerm()
		future := r.Barrier(0)
		if err := future.Error(); err != nil {
			return err
		}
		// The state machine does not see barriers, but readers wait for their index.
		if f, ok := future.(raft.IndexFuture); ok {
			n.machine.applied.advance(f.Index())
		}
		// In the same term before and after: then it was passed in that term.
		if r.CurrentTerm() == term {
			storeMax(&n.barriered, term)
		}
		return nil
	})
}

// VerifyLeader returns nil if a quorum agreed, after the call, that this node
// leads.
func (n *Node) VerifyLeader(ctx context.Context) error {
	return n.call(ctx, read, func(r *raft.Raft) error { return r.VerifyLeader().Error() })
}

// LinearizableRead returns once a read of the local state machine reflects every
// entry whose proposal was acknowledged, by any leader, before the call.
//
// The commit index is known here only after this leader committed something of
// its own term (raft §8), so a barrier must have been passed in it. Then the index
// is read, a quorum is asked whether this node still led after that, in that very
// term (leadership lost and won again in between would make the index stale), and
// the state machine is waited for. It is never the library's State that answers.
func (n *Node) LinearizableRead(ctx context.Context) error {
	r := n.raft.Load()
	if r == nil {
		return ErrNotLeader
	}
	term := r.CurrentTerm()
	if n.barriered.Load() != term {
		if err := n.Barrier(ctx); err != nil {
			return err
		}
		term = n.barriered.Load()
	}
	commit := r.CommitIndex()
	if err := n.VerifyLeader(ctx); err != nil {
		return err
	}
	if r.CurrentTerm() != term {
		return ErrNotLeader
	}
	return n.WaitApplied(ctx, commit)
}

// WaitApplied returns once the state machine of this node has applied the entry of
// that index, which must be one that Propose returned.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	return n.machine.applied.wait(ctx, index, n.ending)
}

// Snapshot writes a snapshot of the state machine now and shortens the log.
func (n *Node) Snapshot(ctx context.Context) error {
	err := n.call(ctx, read, func(r *raft.Raft) error { return r.Snapshot().Error() })
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	return err
}

// snapshotInBackground is Snapshot for a caller that cannot wait.
func (n *Node) snapshotInBackground() {
	r := n.raft.Load()
	if n.calls.enter(false) != nil {
		return
	}
	go func() {
		defer n.calls.leave()
		if err := r.Snapshot().Error(); err != nil {
			n.logger.Debug("snapshot for size", "error", err) // the library has told operators
		}
	}()
}

// Whether a call writes: those wait while leadership is handed over.
const (
	read  = false
	write = true
)

// call runs a blocking call into the library. It returns early when ctx is done or
// the node fails, but the call is then still counted until it was answered.
func (n *Node) call(ctx context.Context, writes bool, do func(*raft.Raft) error) error {
	r := n.raft.Load()
	if r == nil {
		return ErrNotLeader
	}
	if err := n.calls.enter(writes); err != nil {
		return err
	}
	answered := make(chan error, 1)
	go func() {
		defer n.calls.leave()
		answered <- do(r)
	}()
	select {
	case err := <-answered:
		return classify(err)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.fault.done:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, n.fault.err)
	}
}

// classify maps the library's errors to this package's kinds.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrRejected
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown):
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	default:
		return err
	}
}

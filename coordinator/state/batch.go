package state

import (
	"slices"
	"sync/atomic"

	logv1 "github.com/stix-run/stix/proto/stix/log/v1"
)

// call is one update on its way. Its fields belong to the committer once it is taken, and to the caller again once done
// is closed.
type call struct {
	by   Actor
	fn   func(*Tx) error
	term term // in which it was asked for
	done chan struct{}

	taken   bool // by the committer; guarded by Store.mu, like dropped until then
	dropped bool // the caller was answered early: it is not run (again)
	cause   error

	changed  bool
	err      error
	revision uint64
}

// batch is the updates of one entry: first open, then in flight.
type batch struct {
	base uint64
	term term
	at   int64
	// calls are answered when the batch commits; those that changed nothing are there because of what they read.
	calls   []*call
	updates []*logv1.Update
	told    []Change
	size    int
	dirty   bool // a call that changed something was dropped: the batch must be built again

	// Set when it is closed:

	// after is the state with the batch.
	after *Reader
	// data is the entry, made just before it is proposed.
	data []byte
	// applied is set by Apply.
	applied atomic.Bool
}

func (b *batch) empty() bool { return len(b.updates) == 0 }

func (b *batch) full(cfg *Config) bool {
	return len(b.calls) >= cfg.MaxBatch || b.size >= cfg.MaxBatchBytes
}

// add makes c part of the batch, with what the update did, if anything.
func (b *batch) add(c *call, l *updateLog) {
	c.changed = len(l.changes) > 0
	b.calls = append(b.calls, c)
	if !c.changed {
		return
	}
	b.updates = append(b.updates, &logv1.Update{
		Actor: c.by.Subject, Verb: c.by.Verb, Object: c.by.Object, RequestId: c.by.RequestID,
		Changes: slices.Clone(l.changes),
	})
	b.told = append(b.told, l.told...)
	b.size += l.size
}

func (b *batch) encode() error {
	data, err := encodeEntry(&logv1.Entry{BaseRevision: b.base, Term: b.term.number, At: b.at, Updates: b.updates})
	b.data, b.updates = data, nil
	return err
}

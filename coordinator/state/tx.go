package state

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	logv1 "github.com/stix-run/stix/proto/stix/log/v1"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Actor says who changes what: it becomes part of the entry, which is the audit trail, and of records that are made.
type Actor struct {
	// Subject is the user or the part of the coordinator that acts.
	Subject string
	// Verb is what it does.
	Verb string
	// Object is what it does it to ("cluster/<uid>").
	Object string
	// RequestID is the user's request, empty inside the coordinator.
	RequestID string
}

// Tx is what a function given to Update reads and writes: the committed records with all updates before it, committed
// or not. It is valid until the function returns, on its goroutine.
type Tx struct {
	Reader
	Clusters    TxTable[*stixv1.Cluster]
	Nodes       TxTable[*stixv1.Node]
	Jobs        TxTable[*stixv1.Job]
	Specs       TxTable[*stixv1.Spec]
	Assignments TxTable[*stixv1.Assignment]
	Requests    TxTable[*stixv1.Request]
	Events      TxTable[*stixv1.Event]
	Intervals   TxTable[*stixv1.Interval]
	Identity    TxTable[*stixv1.Identity]
	marks       TxTable[*stixv1.Event]

	log *updateLog
}

// updateLog collects what one update does. It is used again for the next.
type updateLog struct {
	cfg      *Config
	by       Actor
	now      int64
	revision uint64
	interner *interner

	err     error
	changes []*logv1.Change
	told    []Change
	at      map[place]int // where in changes and told a record is
	undone  []undo
	size    int
}

// undo is one step back: the record that stood in a table under a key, nil for none.
type undo struct {
	table interface {
		revert(key string, old proto.Message)
	}
	key string
	old proto.Message
}

// place names a record.
type place struct {
	table TableID
	key   string
}

// newTx returns a transaction that writes to r.
func newTx(r *Reader, l *updateLog) *Tx {
	tx := &Tx{Reader: *r, log: l}
	tx.Clusters = TxTable[*stixv1.Cluster]{r.Clusters, l}
	tx.Nodes = TxTable[*stixv1.Node]{r.Nodes, l}
	tx.Jobs = TxTable[*stixv1.Job]{r.Jobs, l}
	tx.Specs = TxTable[*stixv1.Spec]{r.Specs, l}
	tx.Assignments = TxTable[*stixv1.Assignment]{r.Assignments, l}
	tx.Requests = TxTable[*stixv1.Request]{r.Requests, l}
	tx.Events = TxTable[*stixv1.Event]{r.Events, l}
	tx.Intervals = TxTable[*stixv1.Interval]{r.Intervals, l}
	tx.Identity = TxTable[*stixv1.Identity]{r.Identity, l}
	tx.marks = TxTable[*stixv1.Event]{r.marks, l}
	return tx
}

// Now returns the leader's time of the entry, Unix nanoseconds.
func (tx *Tx) Now() int64 { return tx.log.now }

// NewID makes a uid.
func (tx *Tx) NewID() string { return tx.log.cfg.NewID() }

// Revision returns the revision that the entry of this update will have, if nothing before it fails.
func (tx *Tx) Revision() uint64 { return tx.log.revision }

// TxTable is a table that can be written to.
type TxTable[M Record] struct {
	Table[M]
	log *updateLog
}

// Put inserts m or replaces the record with its uid, which must be set. It sets the fields of the head that belong to
// this package, in m too, and keeps a copy. m must not be a record that was read: use Edit for those. What is wrong
// with m (no uid, text that is not UTF-8, a conflict in a unique index) makes Update fail and leave nothing behind.
func (t *TxTable[M]) Put(m M) {
	uid := m.GetMeta().GetUid()
	old, exists := t.rows.Get(uid)
	if exists && old.GetMeta() == m.GetMeta() {
		t.log.fail(fmt.Errorf("put %s %s: it is a shared record", t.spec.name, uid))
		return
	}
	t.put(m, old, exists)
}

// Edit hands a private copy of a record to f and stores what f made of it. It returns false, without calling f, if there
// is no record with that uid. If f changes nothing, nothing is written.
func (t *TxTable[M]) Edit(uid string, f func(m M)) bool {
	old, exists := t.rows.Get(uid)
	if !exists {
		return false
	}
	m := proto.CloneOf(old)
	f(m)
	if m.GetMeta().GetUid() != uid {
		t.log.fail(fmt.Errorf("edit %s %s: its uid was changed", t.spec.name, uid))
		return true
	}
	if !proto.Equal(old, m) {
		t.put(m, old, true)
	}
	return true
}

// Delete removes a record and returns whether it was there.
func (t *TxTable[M]) Delete(uid string) bool {
	if t.log.err != nil {
		return false
	}
	old, existed := t.unset(uid)
	if !existed {
		return false
	}
	t.log.undone = append(t.log.undone, undo{t, uid, old})
	t.log.record(&logv1.Change{Table: uint32(t.spec.id), Key: uid, Deleted: true},
		Change{Table: t.spec.id, Key: uid, Old: old})
	return true
}

func (t *TxTable[M]) put(m, old M, exists bool) {
	if t.log.err != nil {
		return
	}
	if err := t.store(m, old, exists); err != nil {
		t.log.fail(fmt.Errorf("put %s: %w", t.spec.name, err))
	}
}

// store keeps what the log will say, decoded again, rather than m: this replica then has what all others have, and
// m stays the caller's.
func (t *TxTable[M]) store(m, old M, exists bool) error {
	meta := m.GetMeta()
	if meta.GetUid() == "" {
		return errors.New("it has no uid")
	}
	t.log.stamp(meta, old.GetMeta(), exists)
	if err := t.conflict(m); err != nil {
		return err
	}
	value, err := marshal.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", meta.Uid, err)
	}
	stored, err := t.spec.decode(meta.Uid, value, t.log.interner)
	if err != nil {
		return err
	}
	t.set(stored)
	c := Change{Table: t.spec.id, Key: meta.Uid, New: stored}
	if exists {
		c.Old = old
	}
	t.log.undone = append(t.log.undone, undo{t, meta.Uid, c.Old})
	t.log.record(&logv1.Change{Table: uint32(t.spec.id), Key: meta.Uid, Value: value}, c)
	return nil
}

// revert puts back what stood under a key.
func (t *TxTable[M]) revert(key string, old proto.Message) {
	if m, ok := old.(M); ok {
		t.set(m)
	} else {
		t.unset(key)
	}
}

// stamp sets the fields of a head that belong to this package.
func (l *updateLog) stamp(meta, old *stixv1.Meta, exists bool) {
	meta.Revision = l.revision
	if exists {
		meta.CreatedAt, meta.CreatedBy, meta.RequestId = old.CreatedAt, old.CreatedBy, old.RequestId
		return
	}
	meta.CreatedAt, meta.CreatedBy, meta.RequestId = l.now, l.by.Subject, l.by.RequestID
}

// changeOverhead is about what a change costs in an entry beside its key and value.
const changeOverhead = 16

// record notes a change; only the last of a record within an update goes into the entry.
func (l *updateLog) record(c *logv1.Change, told Change) {
	l.size += len(c.Key) + len(c.Value) + changeOverhead
	told.Revision = l.revision
	p := place{told.Table, told.Key}
	if i, again := l.at[p]; again {
		l.size -= len(l.changes[i].Key) + len(l.changes[i].Value) + changeOverhead
		told.Old = l.told[i].Old
		l.changes[i], l.told[i] = c, told
		return
	}
	l.at[p] = len(l.changes)
	l.changes = append(l.changes, c)
	l.told = append(l.told, told)
}

// fail notes the first error: the update will not be made, whatever its function returns.
func (l *updateLog) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

func (l *updateLog) begin(by Actor) {
	l.by, l.err = by, nil
	l.forget()
	clear(l.undone)
	l.undone = l.undone[:0]
}

// forget drops what was collected and keeps the room for more.
func (l *updateLog) forget() {
	clear(l.at)
	clear(l.changes)
	clear(l.told)
	l.changes, l.told, l.size = l.changes[:0], l.told[:0], 0
}

// rollback undoes the update, so that nothing of it is left in the tables.
func (l *updateLog) rollback() {
	for i := len(l.undone) - 1; i >= 0; i-- {
		u := l.undone[i]
		u.table.revert(u.key, u.old)
	}
	l.forget()
}

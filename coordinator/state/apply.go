package state

import (
	"bytes"
	"fmt"

	logv1 "github.com/stix-run/stix/proto/stix/log/v1"
)

// Apply consumes one committed entry, on every replica, in the order of the log. term is that of the log's entry. An
// error means that this replica cannot follow: it must stop rather than differ from the others. Nothing is changed then.
func (s *Store) Apply(_, term uint64, data []byte) error {
	if b := s.inflight.Load(); b != nil && bytes.Equal(data, b.data) {
		return s.applyOwn(b, term)
	}
	e, err := decodeEntry(data)
	if err != nil {
		return err
	}
	return s.applyEntry(e, term)
}

// stale tells whether an entry was decided by a leader of an earlier term than the one it was logged in. Its proposal
// was on its way while leadership was lost and won again, so what it was decided on may be gone. All replicas see the
// same and pass over it; its proposer takes it for rejected.
func stale(decided, logged uint64) (bool, error) {
	if decided > logged {
		return false, fmt.Errorf("entry of term %d was decided in the later term %d", logged, decided)
	}
	return decided < logged, nil
}

func (s *Store) checkBase(base uint64) error {
	if now := s.Read().Revision; base != now {
		return fmt.Errorf("entry was decided on revision %d, the state is at %d", base, now)
	}
	return nil
}

// applyOwn publishes the tables that this leader made while it decided the batch. They hold records decoded from the
// very bytes of the entry, so it is what the other replicas make of it.
func (s *Store) applyOwn(b *batch, logged uint64) error {
	if old, err := stale(b.term.number, logged); old || err != nil {
		return err
	}
	if err := s.checkBase(b.base); err != nil {
		return err
	}
	b.applied.Store(true)
	s.publish(&View{Reader: *b.after, Revision: b.base + 1, At: b.at, term: logged}, b.told)
	return nil
}

func (s *Store) applyEntry(e *logv1.Entry, logged uint64) error {
	if old, err := stale(e.Term, logged); old || err != nil {
		return err
	}
	if err := s.checkBase(e.BaseRevision); err != nil {
		return err
	}
	revision := e.BaseRevision + 1
	tables := s.Read().fork()
	var told []Change
	for _, u := range e.Updates {
		for _, c := range u.Changes {
			t := tables.table(TableID(c.Table))
			if t == nil {
				return fmt.Errorf("entry changes table %d, which this build does not know: a newer stix wrote it", c.Table)
			}
			one, err := applyChange(t, c, &s.decoding)
			if err != nil {
				return fmt.Errorf("apply revision %d: %w", revision, err)
			}
			one.Revision = revision
			told = append(told, one)
		}
	}
	if b := s.inflight.Load(); b != nil && b.base == e.BaseRevision && b.term.number == e.Term {
		b.applied.Store(true)
	}
	s.publish(&View{Reader: *tables, Revision: revision, At: e.At, term: logged}, told)
	return nil
}

func applyChange(t table, c *logv1.Change, in *interner) (Change, error) {
	one := Change{Table: t.id(), Key: c.Key}
	if c.Deleted {
		one.Old = t.remove(c.Key)
		return one, nil
	}
	var err error
	one.Old, one.New, err = t.put(c.Key, c.Value, in)
	return one, err
}

// publish shows a new state. The view comes before the changes: who is told of a change finds it in Read.
func (s *Store) publish(v *View, told []Change) {
	s.view.Store(v)
	s.ring.add(v.Revision, told)
	s.wake()
}

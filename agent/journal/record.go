package journal

import (
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Record puts orders (an order of the same assignment is replaced) and statuses
// on record and forgets assignments, all or nothing, and returns when that is
// durable. The statuses go into a report of the outbox.
//
// Records that arrive while another is being written share one commit and, with
// it, one report. The messages must not be changed afterwards.
func (j *Journal) Record(orders []*stixv1.Order, statuses []*stixv1.AssignmentStatus, forget []string) error {
	w := &write{orders: orders, statuses: statuses, forget: forget, done: make(chan error, 1)}
	j.mu.Lock()
	j.queue = append(j.queue, w)
	lead := !j.busy
	j.busy = true
	j.mu.Unlock()
	if lead {
		j.drain()
	}
	return <-w.done
}

// drain commits until nobody waits. Whoever finds nobody committing does it, for
// all that come meanwhile too.
func (j *Journal) drain() {
	for {
		j.mu.Lock()
		batch := j.queue
		j.queue = nil
		if len(batch) == 0 {
			j.busy = false
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		err := j.commit(batch)
		for _, w := range batch {
			w.done <- err
		}
	}
}

// commit writes a batch in one transaction and, when that is durable, puts its
// report into the outbox.
func (j *Journal) commit(batch []*write) error {
	j.mu.Lock()
	acked, report := j.acked, &stixv1.Report{Sequence: j.sequence + 1}
	j.mu.Unlock()
	for _, w := range batch {
		report.Statuses = append(report.Statuses, w.statuses...)
	}
	err := j.db.Update(func(tx *bbolt.Tx) error {
		for _, w := range batch {
			if err := j.put(tx, w); err != nil {
				return err
			}
		}
		if err := dropReports(tx.Bucket([]byte(bucketOutbox)), acked); err != nil {
			return err
		}
		return putReport(tx, report)
	})
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if len(report.Statuses) > 0 {
		j.publish(report)
	}
	return nil
}

func (j *Journal) put(tx *bbolt.Tx, w *write) error {
	orders, statuses := tx.Bucket([]byte(bucketOrders)), tx.Bucket([]byte(bucketStatuses))
	for _, o := range w.orders {
		if err := j.putOrder(orders, o); err != nil {
			return err
		}
	}
	for _, s := range w.statuses {
		data, err := proto.Marshal(s)
		if err != nil {
			return err
		}
		if err := statuses.Put([]byte(s.GetUid()), data); err != nil {
			return err
		}
	}
	for _, uid := range w.forget {
		if err := orders.Delete([]byte(uid)); err != nil {
			return err
		}
		if err := statuses.Delete([]byte(uid)); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) putOrder(orders *bbolt.Bucket, o *stixv1.Order) error {
	plain, err := proto.Marshal(o)
	if err != nil {
		return err
	}
	uid := []byte(o.GetAssignmentUid())
	sealed, err := j.seal.Seal(plain, uid)
	if err != nil {
		return fmt.Errorf("seal order %s: %w", uid, err)
	}
	return orders.Put(uid, sealed)
}

func putReport(tx *bbolt.Tx, r *stixv1.Report) error {
	if len(r.GetStatuses()) == 0 {
		return nil
	}
	data, err := proto.Marshal(r)
	if err != nil {
		return err
	}
	key := encodeUint(r.GetSequence())
	if err := tx.Bucket([]byte(bucketMeta)).Put([]byte(keySequence), key); err != nil {
		return err
	}
	return tx.Bucket([]byte(bucketOutbox)).Put(key, data)
}

// dropReports removes what was confirmed. It goes along with the next commit
// only: a report that is sent once more does no harm, a sync for each would.
func dropReports(outbox *bbolt.Bucket, acked uint64) error {
	c := outbox.Cursor()
	for k, _ := c.First(); k != nil && decodeUint(k) <= acked; k, _ = c.First() {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) publish(r *stixv1.Report) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sequence = r.GetSequence()
	j.outbox = append(j.outbox, r)
	close(j.changed)
	j.changed = make(chan struct{})
}

// Reports returns the reports after a sequence number that are not confirmed
// yet, and a channel that is closed when there are more.
func (j *Journal) Reports(after uint64) ([]*stixv1.Report, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := slices.IndexFunc(j.outbox, func(r *stixv1.Report) bool { return r.GetSequence() > after })
	if from < 0 {
		return nil, j.changed
	}
	return slices.Clone(j.outbox[from:]), j.changed
}

// Ack notes that a coordinator has all reports up to sequence.
func (j *Journal) Ack(sequence uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	sequence = min(sequence, j.sequence)
	if sequence <= j.acked {
		return
	}
	j.acked = sequence
	j.outbox = slices.DeleteFunc(j.outbox, func(r *stixv1.Report) bool { return r.GetSequence() <= sequence })
}

// Package journal is what an agent remembers: the orders it accepted, the last
// status of each, and the reports that no coordinator has confirmed yet. What it
// returned from Record survives any crash of the agent and of the machine.
//
// It is one bbolt file. Orders are sealed before they are written, because they
// hold secrets in clear; nothing else in the file is secret.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Version of the file format that this program writes, and the newest it reads.
const Version = 1

const magic = "stix-journal"

// Buckets and the keys of bucket meta.
const (
	bucketMeta     = "meta"     // see the keys
	bucketOrders   = "orders"   // assignment uid -> sealed Order
	bucketStatuses = "statuses" // assignment uid -> AssignmentStatus
	bucketOutbox   = "outbox"   // sequence, big endian -> Report

	keyMagic    = "magic"
	keyVersion  = "version"
	keySequence = "sequence"
	keyBoot     = "boot_id"
)

// ErrNewer tells that the file was written by a newer program than this one.
var ErrNewer = errors.New("journal has a newer version")

// Sealer encrypts what must not lie in a file in clear, *seal.Box for one.
type Sealer interface {
	Seal(plaintext, aad []byte) ([]byte, error)
	Open(sealed, aad []byte) ([]byte, error)
}

// Journal is an open journal. Its methods may be called from any goroutine.
type Journal struct {
	db   *bbolt.DB
	seal Sealer

	mu       sync.Mutex
	queue    []*write         // waiting for the next commit
	busy     bool             // somebody is committing
	sequence uint64           // of the last report on disk
	acked    uint64           // reports up to here are confirmed
	outbox   []*stixv1.Report // on disk and not confirmed, by sequence
	changed  chan struct{}    // closed when outbox grows
}

// write is one Record that waits for its commit.
type write struct {
	orders   []*stixv1.Order
	statuses []*stixv1.AssignmentStatus
	forget   []string
	done     chan error
}

// Open opens the journal at path, and makes it where there is none.
func Open(path string, sealer Sealer) (*Journal, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("open journal %s: %w", path, err)
	}
	j := &Journal{db: db, seal: sealer, changed: make(chan struct{})}
	if err := j.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", path, err), db.Close())
	}
	return j, nil
}

func (j *Journal) load() error {
	if err := j.db.Update(prepare); err != nil {
		return err
	}
	return j.db.View(func(tx *bbolt.Tx) error {
		j.sequence = decodeUint(tx.Bucket([]byte(bucketMeta)).Get([]byte(keySequence)))
		return tx.Bucket([]byte(bucketOutbox)).ForEach(func(_, v []byte) error {
			r := &stixv1.Report{}
			if err := proto.Unmarshal(v, r); err != nil {
				return fmt.Errorf("read report: %w", err)
			}
			j.outbox = append(j.outbox, r)
			return nil
		})
	})
}

// prepare makes the buckets of a new file and refuses a file of another format.
func prepare(tx *bbolt.Tx) error {
	meta := tx.Bucket([]byte(bucketMeta))
	if meta == nil {
		return create(tx)
	}
	if string(meta.Get([]byte(keyMagic))) != magic {
		return errors.New("not a stix journal")
	}
	if v := decodeUint(meta.Get([]byte(keyVersion))); v > Version {
		return fmt.Errorf("%w: %d, this program knows up to %d", ErrNewer, v, Version)
	}
	for _, name := range []string{bucketOrders, bucketStatuses, bucketOutbox} {
		if tx.Bucket([]byte(name)) == nil {
			return fmt.Errorf("bucket %s is missing", name)
		}
	}
	return nil
}

func create(tx *bbolt.Tx) error {
	for _, name := range []string{bucketMeta, bucketOrders, bucketStatuses, bucketOutbox} {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	meta := tx.Bucket([]byte(bucketMeta))
	if err := meta.Put([]byte(keyMagic), []byte(magic)); err != nil {
		return err
	}
	return meta.Put([]byte(keyVersion), encodeUint(Version))
}

// Close writes what was confirmed since the last commit and closes the file. No
// Record may be running.
func (j *Journal) Close() error {
	err := j.commit(nil)
	return errors.Join(err, j.db.Close())
}

// BootID returns the boot of the machine that the journal was last used in,
// empty for a new journal.
func (j *Journal) BootID() string {
	var id string
	_ = j.db.View(func(tx *bbolt.Tx) error { // the function returns no error
		id = string(tx.Bucket([]byte(bucketMeta)).Get([]byte(keyBoot)))
		return nil
	})
	return id
}

// SetBootID notes the boot that the journal is used in. Call it after the loss
// of everything that ran in the boot before is on record.
func (j *Journal) SetBootID(id string) error {
	if j.BootID() == id {
		return nil
	}
	return j.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put([]byte(keyBoot), []byte(id))
	})
}

// Each calls fn for every assignment that is remembered, in order of uid.
func (j *Journal) Each(fn func(*stixv1.Order, *stixv1.AssignmentStatus) error) error {
	return j.db.View(func(tx *bbolt.Tx) error {
		statuses := tx.Bucket([]byte(bucketStatuses))
		return tx.Bucket([]byte(bucketOrders)).ForEach(func(uid, sealed []byte) error {
			order, err := j.openOrder(uid, sealed)
			if err != nil {
				return err
			}
			status := &stixv1.AssignmentStatus{Uid: string(uid)}
			if err := proto.Unmarshal(statuses.Get(uid), status); err != nil {
				return fmt.Errorf("read status of %s: %w", uid, err)
			}
			return fn(order, status)
		})
	})
}

func (j *Journal) openOrder(uid, sealed []byte) (*stixv1.Order, error) {
	plain, err := j.seal.Open(sealed, uid)
	if err != nil {
		return nil, fmt.Errorf("read order %s: %w", uid, err)
	}
	order := &stixv1.Order{}
	if err := proto.Unmarshal(plain, order); err != nil {
		return nil, fmt.Errorf("read order %s: %w", uid, err)
	}
	return order, nil
}

func encodeUint(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

func decodeUint(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

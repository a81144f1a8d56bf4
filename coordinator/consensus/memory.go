package consensus

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// ErrFrozen is the cause when a write meets a frozen MemoryDisk.
var ErrFrozen = errors.New("memory disk is frozen")

// MemoryDisk holds a node's log, term, vote and snapshots for tests, and outlives
// the node: pass it, or a Clone, to the next one as a disk that was unplugged and
// plugged in again. Every write is durable at once.
type MemoryDisk struct {
	mu        sync.Mutex
	entries   map[uint64]raft.Log
	first     uint64 // zero when there are no entries
	last      uint64
	values    map[string][]byte
	snapshots []memorySnapshot // oldest first
	frozen    bool
	allowance int           // writes until it freezes; negative: none set
	stall     chan struct{} // closed when writes may go on; nil when they do not wait
}

// NewMemoryDisk returns an empty disk.
func NewMemoryDisk() *MemoryDisk {
	return &MemoryDisk{
		entries:   make(map[uint64]raft.Log),
		values:    make(map[string][]byte),
		allowance: -1,
	}
}

// Freeze makes every write from now on fail and leave no trace, those that a Stall
// holds included: the disk stays as a crash at this instant leaves it. The node on
// it is mute from its next write on, and its Run returns.
func (d *MemoryDisk) Freeze() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.freeze()
}

// FreezeAfter lets n more writes happen and then freezes. A test that counts up
// from zero crashes a node at its every write.
func (d *MemoryDisk) FreezeAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.allowance = n
	if n == 0 {
		d.freeze()
	}
}

func (d *MemoryDisk) freeze() {
	d.frozen = true
	d.allowance = -1
	d.release()
}

// Thaw ends Freeze, FreezeAfter and Stall.
func (d *MemoryDisk) Thaw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = false
	d.allowance = -1
	d.release()
}

// Stall makes writes wait, as on a device that does not answer, until Thaw lets
// them happen or Freeze fails them.
func (d *MemoryDisk) Stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stall == nil {
		d.stall = make(chan struct{})
	}
}

func (d *MemoryDisk) release() {
	if d.stall != nil {
		close(d.stall)
		d.stall = nil
	}
}

// Clone returns a disk, neither frozen nor stalled, with what this one holds now.
func (d *MemoryDisk) Clone() *MemoryDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := NewMemoryDisk()
	c.entries = maps.Clone(d.entries)
	c.first, c.last = d.first, d.last
	c.values = maps.Clone(d.values)
	c.snapshots = slices.Clone(d.snapshots)
	return c
}

// write runs a write under the disk's lock unless the disk fails it.
func (d *MemoryDisk) write(write func()) error {
	d.mu.Lock()
	for d.stall != nil {
		stall := d.stall
		d.mu.Unlock()
		<-stall
		d.mu.Lock()
	}
	defer d.mu.Unlock()
	if d.frozen {
		return ErrFrozen
	}
	write()
	if d.allowance > 0 {
		d.allowance--
		if d.allowance == 0 {
			d.freeze()
		}
	}
	return nil
}

func (d *MemoryDisk) stores() stores {
	return stores{
		log:       memoryLog{d},
		stable:    memoryStable{d},
		snapshots: memorySnapshots{d},
		closer:    nopCloser{},
	}
}

type nopCloser struct{}

func (nopCloser) Close() error { return nil }

// memoryLog is the disk as a raft.LogStore. Entries are copied in and out; their
// data never changes.
type memoryLog struct{ disk *MemoryDisk }

func (l memoryLog) FirstIndex() (uint64, error) {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	return l.disk.first, nil
}

func (l memoryLog) LastIndex() (uint64, error) {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	return l.disk.last, nil
}

func (l memoryLog) GetLog(index uint64, entry *raft.Log) error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	e, ok := l.disk.entries[index]
	if !ok {
		return raft.ErrLogNotFound
	}
	*entry = e
	return nil
}

func (l memoryLog) StoreLog(entry *raft.Log) error {
	return l.StoreLogs([]*raft.Log{entry})
}

func (l memoryLog) StoreLogs(entries []*raft.Log) error {
	d := l.disk
	return d.write(func() {
		for _, e := range entries {
			d.entries[e.Index] = *e
			if d.first == 0 || e.Index < d.first {
				d.first = e.Index
			}
			d.last = max(d.last, e.Index)
		}
	})
}

func (l memoryLog) DeleteRange(min, max uint64) error {
	d := l.disk
	return d.write(func() {
		maps.DeleteFunc(d.entries, func(i uint64, _ raft.Log) bool { return min <= i && i <= max })
		d.first, d.last = bounds(d.entries)
	})
}

func bounds(entries map[uint64]raft.Log) (first, last uint64) {
	for i := range entries {
		if first == 0 || i < first {
			first = i
		}
		last = max(last, i)
	}
	return first, last
}

// memoryStable is the disk as a raft.StableStore.
type memoryStable struct{ disk *MemoryDisk }

func (s memoryStable) Set(key, value []byte) error {
	value = slices.Clone(value)
	return s.disk.write(func() { s.disk.values[string(key)] = value })
}

func (s memoryStable) Get(key []byte) ([]byte, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return slices.Clone(s.disk.values[string(key)]), nil
}

func (s memoryStable) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

func (s memoryStable) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err != nil || len(value) == 0 {
		return 0, err
	}
	return binary.BigEndian.Uint64(value), nil
}

package consensus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// stores is where a node keeps what must survive it.
type stores struct {
	log       raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	closer    io.Closer
}

// watchdog times writes to the log. The library's leader keeps sending heartbeats
// while its log hangs, so that no other node stands for election, and nothing
// commits any more.
type watchdog struct {
	limit time.Duration
	fault *fault
}

// write runs one write. Its error, and its failure to return in time, are faults:
// after a failed fsync nobody knows what is on the disk.
func (w watchdog) write(what string, write func() error) error {
	var returned atomic.Bool
	stalled := func() {
		if !returned.Load() {
			w.fault.raise(fmt.Errorf("%w: %s outstanding for %s", ErrDiskStalled, what, w.limit))
		}
	}
	// In two steps: when the process itself was stopped for a while the first
	// timer is overdue on resumption, and the write then gets the time of the
	// second to return.
	grace := w.limit / 10
	timer := time.AfterFunc(w.limit-grace, func() { time.AfterFunc(grace, stalled) })
	err := write()
	returned.Store(true)
	timer.Stop()
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
		w.fault.raise(err)
	}
	return err
}

// watchedLog is the log as the library sees it.
type watchedLog struct {
	raft.LogStore
	watch watchdog
	size  *sizeTrigger
}

var _ raft.MonotonicLogStore = watchedLog{}

// IsMonotonic answers for the store inside, which would else be hidden.
func (l watchedLog) IsMonotonic() bool {
	m, ok := l.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// GetLog hides a failing disk behind an entry that does nothing: the library would
// panic, and the node is mute by then.
func (l watchedLog) GetLog(index uint64, entry *raft.Log) error {
	err := l.LogStore.GetLog(index, entry)
	if err == nil || errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	l.watch.fault.raise(fmt.Errorf("read log entry %d: %w", index, err))
	*entry = raft.Log{Index: index, Type: raft.LogNoop}
	return nil
}

func (l watchedLog) StoreLog(entry *raft.Log) error {
	return l.StoreLogs([]*raft.Log{entry})
}

func (l watchedLog) StoreLogs(entries []*raft.Log) error {
	if err := l.watch.fault.cause(); err != nil {
		return err
	}
	err := l.watch.write("append to log", func() error { return l.LogStore.StoreLogs(entries) })
	if err == nil {
		l.size.add(entries)
	}
	return err
}

// deleteChunk is how many entries one transaction of a compaction removes: an
// append waits for the one that is under way.
const deleteChunk = 512

// DeleteRange removes the log's beginning piece by piece, oldest first, so that a
// crash between pieces leaves a shorter beginning. Any other range, which is a
// suffix that conflicts with the leader's, goes at once: half of one would be a
// hole.
func (l watchedLog) DeleteRange(min, max uint64) error {
	if err := l.watch.fault.cause(); err != nil {
		return err
	}
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	for min <= first && max-min >= deleteChunk {
		if err := l.deleteOnce(min, min+deleteChunk-1); err != nil {
			return err
		}
		min += deleteChunk
		first = min
	}
	return l.deleteOnce(min, max)
}

func (l watchedLog) deleteOnce(min, max uint64) error {
	return l.watch.write("delete from log", func() error { return l.LogStore.DeleteRange(min, max) })
}

// watchedStable is the store of term and vote as the library sees it.
type watchedStable struct {
	raft.StableStore
	watch watchdog
}

// keyTerm is the one key whose failure makes the library panic.
var keyTerm = []byte("CurrentTerm")

func (s watchedStable) Set(key, value []byte) error {
	return s.write(key, func() error { return s.StableStore.Set(key, value) })
}

func (s watchedStable) SetUint64(key []byte, value uint64) error {
	if old, err := s.GetUint64(key); err == nil && old == value && value != 0 {
		return nil // the library stores its term again at every start
	}
	return s.write(key, func() error { return s.StableStore.SetUint64(key, value) })
}

func (s watchedStable) write(key []byte, write func() error) error {
	err := s.watch.fault.cause()
	if err == nil {
		err = s.watch.write("store "+string(key), write)
	}
	if bytes.Equal(key, keyTerm) {
		return nil // raised above: nothing that follows from this term leaves the node
	}
	return err
}

// sizeTrigger asks for a snapshot when many bytes were appended since the last:
// the library counts entries only, and ours differ in size by four orders of
// magnitude.
type sizeTrigger struct {
	limit int64
	bytes atomic.Int64
	due   chan struct{}
}

func newSizeTrigger(limit int64) *sizeTrigger {
	return &sizeTrigger{limit: limit, due: make(chan struct{}, 1)}
}

func (t *sizeTrigger) add(entries []*raft.Log) {
	var n int64
	for _, e := range entries {
		n += int64(len(e.Data))
	}
	if t.bytes.Add(n) < t.limit {
		return
	}
	t.bytes.Store(0)
	select {
	case t.due <- struct{}{}:
	default:
	}
}

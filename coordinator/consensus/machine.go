package consensus

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// machine drives an FSM for the library, which calls it from one goroutine. It
// also implements raft.ConfigurationStore, because otherwise the library would
// not tell it of those entries and the applied index would stay behind them.
type machine struct {
	fsm     FSM
	fault   *fault
	applied progress
	last    uint64      // newest entry seen; the library's snapshots are of this index
	started atomic.Bool // the state found at start is restored
}

var (
	errMute = errors.New("node has failed")

	_ raft.ConfigurationStore = (*machine)(nil)
)

// Apply returns an error or nil as the response of the entry's future.
func (m *machine) Apply(l *raft.Log) any {
	if m.fault.set.Load() {
		return errMute
	}
	if err := m.fsm.Apply(l.Index, l.Term, l.Data); err != nil {
		err = fmt.Errorf("apply entry %d: %w", l.Index, err)
		m.fault.raise(err)
		return err
	}
	m.advance(l.Index)
	return nil
}

// StoreConfiguration notes that a membership entry was passed.
func (m *machine) StoreConfiguration(index uint64, _ raft.Configuration) {
	m.advance(index)
}

func (m *machine) advance(index uint64) {
	m.last = index
	m.applied.advance(index)
}

// Snapshot refuses once the node has failed: a state in which an entry is missing
// must not be written.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.fault.set.Load() {
		return nil, errMute
	}
	s, err := m.fsm.Snapshot()
	if err != nil {
		return nil, err
	}
	return &snapshot{Snapshot: s, index: m.last}, nil
}

// Restore fails the node when a running one is sent a snapshot that it cannot
// read: its state is gone. At start the library tries an older snapshot first,
// which is sound as long as the log reaches back that far, and it does not start
// otherwise.
func (m *machine) Restore(rc io.ReadCloser) error {
	err := m.restore(bufio.NewReaderSize(rc, 1<<16))
	if err != nil && m.started.Load() {
		m.fault.raise(fmt.Errorf("restore snapshot: %w", err))
	}
	return err
}

func (m *machine) restore(r io.Reader) error {
	index, err := readSnapshotHead(r)
	if err != nil {
		return err
	}
	if err := m.fsm.Restore(r); err != nil {
		return err
	}
	m.advance(index)
	return nil
}

// snapshot adds a head to what the FSM writes: magic, version, applied index. The
// library keeps the index to itself when it restores.
type snapshot struct {
	Snapshot
	index uint64
}

const (
	snapshotMagic   = "stixsnap"
	snapshotVersion = 1
	snapshotHeadLen = len(snapshotMagic) + 4 + 8
)

// Persist leaves closing and cancelling the sink to the library, which does both.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	w := bufio.NewWriterSize(sink, 1<<16)
	if _, err := w.Write(snapshotHead(s.index)); err != nil {
		return err
	}
	if _, err := s.WriteTo(w); err != nil {
		return err
	}
	return w.Flush()
}

func snapshotHead(index uint64) []byte {
	b := make([]byte, 0, snapshotHeadLen)
	b = append(b, snapshotMagic...)
	b = binary.BigEndian.AppendUint32(b, snapshotVersion)
	return binary.BigEndian.AppendUint64(b, index)
}

func readSnapshotHead(r io.Reader) (index uint64, err error) {
	var b [snapshotHeadLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, fmt.Errorf("read snapshot head: %w", err)
	}
	if string(b[:len(snapshotMagic)]) != snapshotMagic {
		return 0, errors.New("not a stix snapshot")
	}
	if v := binary.BigEndian.Uint32(b[len(snapshotMagic):]); v != snapshotVersion {
		return 0, fmt.Errorf("snapshot has version %d, this build reads %d", v, snapshotVersion)
	}
	return binary.BigEndian.Uint64(b[len(snapshotMagic)+4:]), nil
}

// progress is an index that only grows and can be waited for.
type progress struct {
	mu      sync.Mutex
	index   uint64
	changed chan struct{} // closed at the next advance; nil unless awaited
}

func (p *progress) advance(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if index <= p.index {
		return
	}
	p.index = index
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func (p *progress) load() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.index
}

// wait returns when the index is reached, ctx is done, or stop is closed.
func (p *progress) wait(ctx context.Context, index uint64, stop <-chan struct{}) error {
	for {
		p.mu.Lock()
		if p.index >= index {
			p.mu.Unlock()
			return nil
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			return ErrStopped
		}
	}
}

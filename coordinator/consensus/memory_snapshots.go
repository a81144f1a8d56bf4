package consensus

import (
	"bytes"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// memorySnapshot is one finished snapshot.
type memorySnapshot struct {
	meta raft.SnapshotMeta
	data []byte
}

// memorySnapshots is the disk as a raft.SnapshotStore.
type memorySnapshots struct{ disk *MemoryDisk }

func (s memorySnapshots) Create(version raft.SnapshotVersion, index, term uint64,
	configuration raft.Configuration, configurationIndex uint64, _ raft.Transport,
) (raft.SnapshotSink, error) {
	return &memorySink{disk: s.disk, meta: raft.SnapshotMeta{
		Version:            version,
		ID:                 fmt.Sprintf("%d-%d", term, index),
		Index:              index,
		Term:               term,
		Configuration:      configuration.Clone(),
		ConfigurationIndex: configurationIndex,
	}}, nil
}

// List returns the snapshots, newest first.
func (s memorySnapshots) List() ([]*raft.SnapshotMeta, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	var metas []*raft.SnapshotMeta
	for i := len(s.disk.snapshots) - 1; i >= 0; i-- {
		meta := s.disk.snapshots[i].meta
		metas = append(metas, &meta)
	}
	return metas, nil
}

func (s memorySnapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	for _, snap := range s.disk.snapshots {
		if snap.meta.ID == id {
			meta := snap.meta
			return &meta, io.NopCloser(bytes.NewReader(snap.data)), nil
		}
	}
	return nil, nil, fmt.Errorf("no snapshot %s", id)
}

// memorySink collects a snapshot, which exists from Close on.
type memorySink struct {
	disk   *MemoryDisk
	meta   raft.SnapshotMeta
	data   bytes.Buffer
	closed bool
}

func (s *memorySink) ID() string { return s.meta.ID }

func (s *memorySink) Write(p []byte) (int, error) { return s.data.Write(p) }

func (s *memorySink) Cancel() error {
	s.closed = true
	return nil
}

func (s *memorySink) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.meta.Size = int64(s.data.Len())
	return s.disk.write(func() {
		keep := s.disk.snapshots
		keep = append(keep[:len(keep):len(keep)], memorySnapshot{meta: s.meta, data: s.data.Bytes()})
		if len(keep) > retainSnapshots {
			keep = keep[len(keep)-retainSnapshots:]
		}
		s.disk.snapshots = keep
	})
}

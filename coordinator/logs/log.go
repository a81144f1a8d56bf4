package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"

	"github.com/stix-run/stix/internal/atomicfile"
	"github.com/stix-run/stix/internal/diskspace"
)

// log is one log in memory.
type log struct {
	key Key
	// uses counts those who have it; guarded by the store's mutex.
	uses int
	// once reads the state from disk; failed is how that went.
	once   sync.Once
	failed error
	// turn is held by who writes the file or its meta.
	turn chan struct{}
	// removed says that Collect took the log away; prepared that the directory and the meta of this boot exist, and unchecked
	// how many bytes may be written before the disk is looked at. They belong to the
	// holder of the turn.
	removed   bool
	prepared  bool
	unchecked int64

	mu sync.Mutex
	status
	// changed is closed at the next change; nil while nobody waits.
	changed chan struct{}
}

// ending is whether a log grows.
type ending int

const (
	growing ending = iota
	// complete: all bytes are here.
	complete
	// abandoned: the node is lost, no more is expected.
	abandoned
)

// status of the copy.
type status struct {
	size int64
	end  ending
	// current says that an agent pushes the log now, and has said that it had no
	// more bytes than these.
	current bool
}

func newLog(key Key) *log { return &log{key: key, turn: make(chan struct{}, 1)} }

func (l *log) state() status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// watch is state with a channel that is closed when it is not true any more.
func (l *log) watch() (status, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.status, l.changed
}

// set changes the state and wakes who waits for that.
func (l *log) set(change func(*status)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.status)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// lock takes the turn, unless the log is not there any more.
func (l *log) lock(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if l.removed {
		l.unlock()
		return fmt.Errorf("write log %v: %w", l.key, ErrRemoved)
	}
	return nil
}

func (l *log) unlock() { <-l.turn }

// append has the rules of Store.Append.
func (s *Store) append(ctx context.Context, l *log, offset int64, data []byte) (int64, error) {
	if err := l.lock(ctx); err != nil {
		return 0, err
	}
	defer l.unlock()
	st := l.state()
	switch {
	case offset < 0 || offset > math.MaxInt64-int64(len(data)):
		return st.size, fmt.Errorf("append to log %v: %w: offset %d", l.key, ErrInvalid, offset)
	case offset > st.size:
		return st.size, fmt.Errorf("append to log %v: %w", l.key, &GapError{Size: st.size, Offset: offset})
	case offset+int64(len(data)) <= st.size:
		return st.size, nil
	case st.end == complete:
		return st.size, fmt.Errorf("append to log %v at %d: %w", l.key, offset, ErrComplete)
	}
	data = data[st.size-offset:]
	if err := s.write(l, st.size, data); err != nil {
		return st.size, fmt.Errorf("append to log %v: %w", l.key, noSpace(err))
	}
	size := st.size + int64(len(data))
	l.set(func(st *status) { st.size, st.end = size, growing })
	return size, nil
}

// roomEvery is how many bytes are written between looks at the disk.
const roomEvery = 16 << 20

// write puts bytes at the end of the file. Where it fails in the middle, the size
// stays, and the next try writes over what got there.
func (s *Store) write(l *log, at int64, data []byte) error {
	if l.unchecked -= int64(len(data)); l.unchecked < 0 {
		if err := s.room(int64(len(data))); err != nil {
			return err
		}
		l.unchecked = roomEvery
	}
	if err := s.prepare(l); err != nil {
		return err
	}
	return s.files.write(s.logPath(l.key), func(f *os.File) error {
		if zeros(data) {
			// What an agent could not keep comes as zeros: they need no disk.
			return f.Truncate(at + int64(len(data)))
		}
		_, err := f.WriteAt(data, at)
		return err
	})
}

func zeros(data []byte) bool {
	return len(data) >= pageBytes && len(bytes.TrimLeft(data, "\x00")) == 0
}

// prepare makes the directory of the job, and the meta that says in which boot the
// bytes were written.
func (s *Store) prepare(l *log) error {
	if l.prepared {
		return nil
	}
	if err := s.makeDir(l.key); err != nil {
		return err
	}
	// Not synced: a meta that is torn is the same as none.
	if err := os.WriteFile(s.metaPath(l.key), meta{end: growing, boot: s.cfg.BootID}.format(), 0o600); err != nil {
		return err
	}
	l.prepared = true
	return nil
}

// complete has the rules of Store.Complete.
func (s *Store) complete(ctx context.Context, l *log, size int64) error {
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer l.unlock()
	st := l.state()
	switch {
	case st.end == complete && size == st.size:
		return nil
	case size > st.size:
		return fmt.Errorf("complete log %v: %w", l.key, &GapError{Size: st.size, Offset: size})
	case size < st.size:
		return fmt.Errorf("complete log %v at %d: %w: there are %d bytes", l.key, size, ErrInvalid, st.size)
	}
	return s.finish(l, st.size, complete)
}

func (s *Store) abandon(ctx context.Context, l *log) error {
	if err := l.lock(ctx); err != nil {
		return err
	}
	defer l.unlock()
	st := l.state()
	if st.end != growing {
		return nil
	}
	return s.finish(l, st.size, abandoned)
}

// finish makes the log durable, and then the meta that says that it ends. A crash
// between leaves a log that grows: it is completed again.
func (s *Store) finish(l *log, size int64, end ending) error {
	if err := s.makeDir(l.key); err != nil {
		return fmt.Errorf("complete log %v: %w", l.key, noSpace(err))
	}
	if size > 0 {
		if err := s.files.read(s.logPath(l.key), (*os.File).Sync); err != nil {
			return fmt.Errorf("complete log %v: %w", l.key, noSpace(err))
		}
	}
	m := meta{end: end, boot: s.cfg.BootID, size: size}
	if err := atomicfile.Write(s.metaPath(l.key), m.format(), 0o600); err != nil {
		return fmt.Errorf("complete log %v: %w", l.key, noSpace(err))
	}
	l.prepared = false
	l.set(func(st *status) { st.end = end })
	return nil
}

// load finds the state of a log on disk.
func (s *Store) load(l *log) error {
	m, known, err := readMeta(s.metaPath(l.key))
	if err != nil {
		return err
	}
	info, err := os.Lstat(s.logPath(l.key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var size int64
	if err == nil {
		size = info.Size()
	}
	if known && m.end != growing {
		if size < m.size {
			return ErrRemoved
		}
		// More than that was written by an Append that a crash interrupted before it
		// could say that the log grows again.
		l.status = status{size: m.size, end: m.end}
		return nil
	}
	if s.cfg.BootID != "" && m.boot != s.cfg.BootID && size > 0 {
		if size, err = s.repair(l.key, size); err != nil {
			return err
		}
	}
	l.status = status{size: size}
	return nil
}

const pageBytes = 4096

// repair cuts a log where bytes may be missing. A crash of the machine keeps or
// loses memory pages of a file one by one, and what is lost reads as zeros up to
// the end of the page. Zeros that belong to the log are cut too: the agent, which
// keeps the log until it is complete here, pushes them again.
func (s *Store) repair(key Key, size int64) (int64, error) {
	good := size
	err := s.files.read(s.logPath(key), func(f *os.File) error {
		page := make([]byte, pageBytes)
		for at := int64(0); at < size; at += pageBytes {
			n, err := io.ReadFull(io.NewSectionReader(f, at, pageBytes), page)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			if kept := len(bytes.TrimRight(page[:n], "\x00")); kept < n {
				good = at + int64(kept)
				return f.Truncate(good)
			}
		}
		return nil
	})
	if good != size {
		s.cfg.Logger.Warn("log cut where it may have lost bytes in a crash of the machine", "log", key.String(), "size", size, "kept", good)
	}
	return good, err
}

// room errors when less than the reserve would be free after need more bytes.
func (s *Store) room(need int64) error {
	err := diskspace.Reserve{Path: s.cfg.Dir, Bytes: s.cfg.Reserve, Space: s.cfg.Space}.Room(need)
	if errors.Is(err, diskspace.ErrReserve) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

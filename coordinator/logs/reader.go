package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Reader reads one log from an offset on. As long as it is open, the log is
// followed: its agent pushes what there is and what comes. It is used by one
// goroutine, and must be closed.
type Reader struct {
	store *Store
	log   *log
	// err is why the log cannot be read.
	err error
	at  int64
	// buf is used again, and kept only while there is more to read.
	buf []byte
}

// Reader opens a log at an offset; it need not exist yet. What is wrong with the
// log is an error of Next.
func (s *Store) Reader(key Key, offset int64) *Reader {
	r := &Reader{store: s, at: offset}
	if offset < 0 {
		r.err = fmt.Errorf("read log %v: %w: offset %d", key, ErrInvalid, offset)
		return r
	}
	if r.log, r.err = s.use(key); r.err == nil {
		s.demand(r.log)
	}
	return r
}

// Next returns the bytes at the reader's place, at least one and at most limit,
// which stay valid until the next call. It waits for them. Complete is true when
// the log ends with these bytes, which then may be none.
func (r *Reader) Next(ctx context.Context, limit int) (data []byte, complete bool, err error) {
	if r.err != nil {
		return nil, false, r.err
	}
	for {
		st, changed := r.log.watch()
		if r.at < st.size {
			data, err := r.read(min(int64(max(limit, 1)), st.size-r.at))
			return data, err == nil && st.end != growing && r.at == st.size, err
		}
		if st.end != growing {
			return nil, true, nil
		}
		r.buf = nil
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// Offset is where Next reads.
func (r *Reader) Offset() int64 { return r.at }

// CatchUp waits until the copy has what the agent has: for a reader that wants to
// see the log as it is now, and not wait for what comes.
func (r *Reader) CatchUp(ctx context.Context) error {
	if r.err != nil {
		return r.err
	}
	for {
		st, changed := r.log.watch()
		if st.current || st.end != growing {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *Reader) read(n int64) ([]byte, error) {
	if int64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	buf := r.buf[:n]
	if err := r.store.readAt(r.log.key, buf, r.at); err != nil {
		return nil, err
	}
	r.at += n
	return buf, nil
}

// Close ends the interest in the log.
func (r *Reader) Close() {
	if r.log == nil {
		return
	}
	if r.err == nil {
		r.store.undemand(r.log.key)
		r.store.done(r.log)
	}
	r.log = nil
	r.err = fmt.Errorf("read log: %w", fs.ErrClosed)
}

func (s *Store) readAt(key Key, buf []byte, at int64) error {
	err := s.files.read(s.logPath(key), func(f *os.File) error {
		_, err := f.ReadAt(buf, at)
		return err
	})
	if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
		err = ErrRemoved
	}
	if err != nil {
		return fmt.Errorf("read log %v at %d: %w", key, at, err)
	}
	return nil
}

const tailBytes = 64 << 10

// Tail returns the offset at which the last lines of the copy begin, reading it
// backwards. Bytes after the last newline are a line. Zero lines, or more than
// there are, is the beginning.
func (s *Store) Tail(key Key, lines int64) (int64, error) {
	l, err := s.use(key)
	if err != nil {
		return 0, err
	}
	defer s.done(l)
	end := l.state().size
	if lines <= 0 || end == 0 {
		return 0, nil
	}
	buf := make([]byte, min(end, tailBytes))
	// The newline at the very end ends the last line; it does not begin another.
	for at := end; at > 0; {
		block := buf[:min(at, tailBytes)]
		at -= int64(len(block))
		if err := s.readAt(key, block, at); err != nil {
			return 0, err
		}
		scan := block
		if at+int64(len(block)) == end {
			scan = block[:len(block)-1]
		}
		for {
			i := bytes.LastIndexByte(scan, '\n')
			if i < 0 {
				break
			}
			if lines--; lines == 0 {
				return at + int64(i) + 1, nil
			}
			scan = scan[:i]
		}
	}
	return 0, nil
}

package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const (
	// smallChunk and largeChunk bound what one message carries: small while the log
	// grows slowly, so that a thousand tails cost little memory.
	smallChunk = 16 << 10
	largeChunk = 256 << 10
	// lookEvery is how often a log is looked at that the kernel tells nothing of.
	lookEvery = 500 * time.Millisecond
)

// errNews says that a stream was given up because something else is wanted now.
var errNews = errors.New("there is news")

// gained is what a stream told of the coordinator's copy.
type gained struct {
	size     int64
	known    bool
	complete bool
}

// transfer is one stream of a push.
type transfer struct {
	push    *push
	log     Log
	stream  *connect.ClientStreamForClientSimple[stixv1.PushLogRequest, stixv1.PushLogResponse]
	cancel  context.CancelFunc // of the stream
	session int
	named   bool  // the stream knows which log it is
	end     int64 // size of the log, where complete was sent, otherwise -1
	buf     []byte
}

// run pushes from where the coordinator is; if that is not known and sending all
// would cost something, it asks, by a stream without data.
func (t *transfer) run(ctx context.Context, w wants) (gained, error) {
	t.end = -1
	if !w.known && w.size > largeChunk {
		return t.close(t.send(&stixv1.PushLogRequest{}))
	}
	off := w.offset
	if !w.known {
		off = 0
	}
	return t.close(t.copy(ctx, off))
}

// close ends the stream and returns what the coordinator has.
func (t *transfer) close(err error) (gained, error) {
	if errors.Is(err, errNews) {
		t.cancel()
	}
	resp, closeErr := t.stream.CloseAndReceive() // also of one that is given up: it would stay open
	if errors.Is(err, errNews) {
		return gained{}, err
	}
	if closeErr != nil {
		return gained{}, closeErr // tells why a send failed
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return gained{}, err
	}
	g := gained{size: resp.GetSize(), known: true}
	if t.end >= 0 && g.size < t.end {
		return gained{}, fmt.Errorf("coordinator has %d bytes of %d", g.size, t.end)
	}
	g.complete = t.end >= 0
	return g, nil
}

func (t *transfer) send(m *stixv1.PushLogRequest) error {
	if !t.named {
		m.AssignmentUid, t.named = t.push.uid, true
	}
	return t.stream.Send(m)
}

// copy sends the log from off on until it is complete or nobody wants it.
func (t *transfer) copy(ctx context.Context, off int64) error {
	t.buf = make([]byte, smallChunk)
	said := false // that there is no more for now
	for {
		w := t.push.look()
		if w.session != t.session {
			return errNews
		}
		n, err := t.read(off, w)
		if err != nil {
			return err
		}
		end := w.finished && off+int64(n) >= w.size
		if n > 0 || end || !t.named {
			if err := t.send(&stixv1.PushLogRequest{Offset: off, Data: t.buf[:n], Complete: end}); err != nil {
				return err
			}
			off += int64(n)
		}
		if end {
			t.end = w.size
		}
		if end || !w.active() {
			return nil
		}
		if n > 0 {
			said = false
			continue
		}
		if !said {
			// A reader that does not follow waits for this.
			if err := t.send(&stixv1.PushLogRequest{Offset: off}); err != nil {
				return err
			}
			said = true
			continue
		}
		if err := t.wait(ctx); err != nil {
			return err
		}
	}
}

// read fills the buffer from off on. The end of a finished log that is not there,
// after a power cut say, is made up for.
func (t *transfer) read(off int64, w wants) (int, error) {
	buf := t.buf
	if w.finished {
		buf = buf[:max(0, min(int64(len(buf)), w.size-off))]
	}
	n, err := t.log.ReadAt(buf, off)
	if err != nil {
		return 0, err
	}
	if n == 0 && w.finished && off < w.size {
		n = Fill(buf, off, w.size)
	}
	if n == len(t.buf) && n < largeChunk {
		t.grow()
	}
	return n, nil
}

// grow enlarges the buffer, with what was read into it.
func (t *transfer) grow() {
	larger := make([]byte, min(4*len(t.buf), largeChunk))
	copy(larger, t.buf)
	t.buf = larger
}

// wait returns when the log may have grown or what is wanted may have changed.
func (t *transfer) wait(ctx context.Context) error {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-t.log.Changed():
	case <-t.push.woken:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

package client

import (
	"context"
	"errors"
	"iter"

	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

var errEarlyEnd = errors.New("the stream ended early")

// Logs yields the messages of a job's logs. When the connection is lost it is
// made again, and the logs go on at the byte where the reader was: no gap, no
// repeat. A message that repeats what the reader has (the head, an unchanged
// state, bytes) is left out.
//
// When following, the sequence ends after the final state; otherwise when the
// server has sent what there is. It ends with one error when the job is not
// there or the server stays away for StreamPatience.
func (c *Client) Logs(ctx context.Context, req *stixv1.LogsRequest) iter.Seq2[*stixv1.LogsResponse, error] {
	return func(yield func(*stixv1.LogsResponse, error) bool) {
		l := logReader{yield: yield, req: proto.CloneOf(req), offsets: map[string]int64{}}
		for _, cur := range req.GetCursors() {
			l.offsets[cur.GetAssignmentUid()] = cur.GetOffset()
		}
		r := retry{c: c}
		for !l.done {
			err := c.logsOnce(ctx, &l, &r)
			if l.done {
				return
			}
			r.patience = c.cfg.Patience
			if l.head != nil {
				r.patience = c.cfg.StreamPatience
			}
			if !r.again(ctx, err) {
				yield(nil, c.explain(ctx, err))
				return
			}
		}
	}
}

func (c *Client) logsOnce(ctx context.Context, l *logReader, r *retry) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.jobs.Logs(ctx, l.request())
	if err != nil {
		return err
	}
	defer stream.Close()
	for !l.done && stream.Receive() {
		if l.take(stream.Msg()) {
			r.moved()
		}
	}
	if err := stream.Err(); err != nil || l.req.GetFollow() {
		return streamEnd(err)
	}
	l.done = true
	return nil
}

// logReader is what the reader has of a job's logs.
type logReader struct {
	yield   func(*stixv1.LogsResponse, error) bool
	req     *stixv1.LogsRequest
	offsets map[string]int64 // next byte by assignment
	head    *stixv1.LogHead
	state   *stixv1.LogState
	done    bool
}

// request asks for what the reader does not have yet.
func (l *logReader) request() *stixv1.LogsRequest {
	req := proto.CloneOf(l.req)
	if l.head != nil {
		// The latest job may be another one by now, and so may the cluster of that name.
		req.JobUid, req.Number = l.head.GetJobUid(), l.head.GetNumber()
	}
	if len(l.offsets) > 0 {
		// A log that began after the reader did is wanted whole: a tail would be a gap.
		req.Tail = 0
		req.Cursors = req.Cursors[:0]
		for uid, off := range l.offsets {
			req.Cursors = append(req.Cursors, &stixv1.LogCursor{AssignmentUid: uid, Offset: off})
		}
	}
	return req
}

// take tells the reader what is new in a message, and reports whether anything was.
func (l *logReader) take(msg *stixv1.LogsResponse) bool {
	switch m := msg.GetMessage().(type) {
	case *stixv1.LogsResponse_Head:
		if l.head != nil && l.head.GetJobUid() == m.Head.GetJobUid() {
			return false
		}
		l.head = m.Head
	case *stixv1.LogsResponse_State:
		if l.state != nil && proto.Equal(l.state, m.State) {
			return false
		}
		l.state = m.State
		l.emit(msg)
		l.done = l.done || m.State.GetFinal()
		return true
	case *stixv1.LogsResponse_Chunk:
		if !l.advance(m.Chunk) {
			return false
		}
	}
	l.emit(msg)
	return true
}

// advance moves the cursor of the chunk's log past it, cuts off what the reader
// has already, and reports whether anything is left to tell.
func (l *logReader) advance(chunk *stixv1.LogChunk) bool {
	uid := chunk.GetAssignmentUid()
	next, known := l.offsets[uid]
	end := chunk.GetOffset() + int64(len(chunk.GetData()))
	if known && chunk.GetOffset() < next {
		have := min(next-chunk.GetOffset(), int64(len(chunk.GetData())))
		chunk.Data = chunk.Data[have:]
		chunk.Offset += have
	}
	l.offsets[uid] = max(end, next)
	return len(chunk.GetData()) > 0 || chunk.GetComplete() || !known
}

func (l *logReader) emit(msg *stixv1.LogsResponse) {
	if !l.yield(msg, nil) {
		l.done = true
	}
}

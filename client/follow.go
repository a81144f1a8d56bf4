package client

import (
	"context"
	"iter"

	"connectrpc.com/connect"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// FollowRequest yields a request as it is and then each change, until it is
// final. A lost connection is made again and continues with what is new. The
// sequence ends after the final state, or with one error.
func (c *Client) FollowRequest(ctx context.Context, id string) iter.Seq2[*stixv1.Request, error] {
	return func(yield func(*stixv1.Request, error) bool) {
		f := requestFollower{yield: yield}
		r := retry{c: c, patience: c.cfg.StreamPatience}
		for !f.done {
			err := c.followOnce(ctx, id, &f, &r)
			if f.done {
				return
			}
			r.patience = c.cfg.Patience
			if f.seen != nil {
				r.patience = c.cfg.StreamPatience
			}
			if !r.again(ctx, err) {
				yield(nil, c.explain(ctx, err))
				return
			}
		}
	}
}

// requestFollower is what the reader has of a request.
type requestFollower struct {
	yield func(*stixv1.Request, error) bool
	seen  *stixv1.Request
	done  bool
}

func (f *requestFollower) take(req *stixv1.Request) bool {
	if f.seen != nil && req.GetMeta().GetRevision() == f.seen.GetMeta().GetRevision() {
		return false
	}
	f.seen = req
	f.done = !f.yield(req, nil) || RequestFinal(req.GetState())
	return true
}

func (c *Client) followOnce(ctx context.Context, id string, f *requestFollower, r *retry) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.requests.Follow(ctx, &stixv1.FollowRequest{Id: id})
	if err != nil {
		return err
	}
	defer stream.Close()
	for !f.done && stream.Receive() {
		if f.take(stream.Msg().GetRequest()) {
			r.moved()
		}
	}
	return streamEnd(stream.Err())
}

// streamEnd makes an end before the final message an error that is tried again.
func streamEnd(err error) error {
	if err != nil {
		return err
	}
	return connect.NewError(connect.CodeUnavailable, errEarlyEnd)
}

// RequestFinal reports whether a request will not change any more.
func RequestFinal(s stixv1.RequestState) bool {
	switch s {
	case stixv1.RequestState_REQUEST_STATE_SUCCEEDED, stixv1.RequestState_REQUEST_STATE_FAILED,
		stixv1.RequestState_REQUEST_STATE_CANCELLED:
		return true
	}
	return false
}

// JobFinal reports whether a job will not change any more (a late real result
// of a job whose driver was lost aside).
func JobFinal(s stixv1.JobState) bool {
	return s >= stixv1.JobState_JOB_STATE_FAILED_DRIVER
}

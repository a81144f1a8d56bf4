package client

import (
	"context"
	"time"

	"github.com/stix-run/stix/internal/backoff"
)

// retry spaces attempts and counts how long nothing has moved.
type retry struct {
	c        *Client
	patience time.Duration
	since    time.Time // of the first failure in a row
	attempt  int
}

// again waits before the next attempt. It returns false, at once or after the
// wait, when there is to be none: the error is final, the patience is at its
// end, or ctx is.
func (r *retry) again(ctx context.Context, err error) bool {
	if !transient(ctx, err) {
		return false
	}
	now := time.Now()
	if r.attempt == 0 {
		r.since = now
	}
	left := r.patience - now.Sub(r.since)
	if left <= 0 {
		return false
	}
	r.c.cfg.Logger.Debug("try again", "attempt", r.attempt, "error", err)
	if r.c.cfg.OnRetry != nil {
		r.c.cfg.OnRetry(err)
	}
	wait := min(r.c.cfg.Backoff.Next(r.attempt, nil), left)
	r.attempt++
	return backoff.Sleep(ctx, wait) == nil
}

// moved is told that something worked: patience starts anew.
func (r *retry) moved() { r.attempt = 0 }

// call makes one unary call, repeated while the server cannot be reached.
func call[Req, Res any](ctx context.Context, c *Client, do func(context.Context, *Req) (*Res, error), req *Req) (*Res, error) {
	r := retry{c: c, patience: c.cfg.Patience}
	for {
		res, err := do(ctx, req)
		if err == nil {
			return res, nil
		}
		if !r.again(ctx, err) {
			return nil, c.explain(ctx, err)
		}
	}
}

// mutate is call for a request with an id, which an error keeps.
func mutate[Req, Res any](ctx context.Context, c *Client, do func(context.Context, *Req) (*Res, error), req *Req, id string) (*Res, error) {
	res, err := call(ctx, c, do, req)
	if e, ok := err.(*Error); ok {
		e.RequestID = id
	}
	return res, err
}

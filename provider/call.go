package provider

import (
	"context"
	"errors"
	"time"
)

// call makes one call to the driver: rate limited, and again while it is throttled or fails for a while. Making a call again is
// safe because every one of them is idempotent, Launch by its token.
func (c *Cloud) call(ctx context.Context, op Op, do func() error) error {
	for attempt := 1; ; attempt++ {
		if err := c.limit.wait(ctx); err != nil {
			return c.wrap(op, err)
		}
		err := do()
		if err == nil {
			return nil
		}
		wrapped := c.wrap(op, err)
		if !wrapped.Kind.retryable() || attempt >= c.cfg.Attempts || ctx.Err() != nil {
			return wrapped
		}
		delay := c.backoff(attempt)
		c.cfg.Logger.Debug("cloud call failed, will retry", "cloud", c.cfg.Name, "op", string(op), "attempt", attempt,
			"delay", delay, "error", err)
		if sleep(ctx, delay) != nil {
			return wrapped
		}
	}
}

// backoff is "equal jitter": at least half of the doubled wait, so that a throttled cloud gets a rest for certain.
func (c *Cloud) backoff(attempt int) time.Duration {
	d := c.cfg.Backoff
	for i := 1; i < attempt && d < c.cfg.MaxBackoff; i++ {
		d *= 2
	}
	d = min(d, c.cfg.MaxBackoff)
	return d/2 + time.Duration(c.cfg.Rand()*float64(d/2))
}

// wrap classifies err, once.
func (c *Cloud) wrap(op Op, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Kind: e.Kind, Scope: e.Scope, Op: op, Cloud: c.cfg.Name, Err: cause(err)}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &Error{Kind: KindTransient, Scope: ScopeMachine, Op: op, Cloud: c.cfg.Name, Err: err}
	}
	k, s := c.cfg.Driver.Kind(err)
	return &Error{Kind: k, Scope: s, Op: op, Cloud: c.cfg.Name, Err: err}
}

// cause keeps the text short: a bare Error of the driver is replaced by ours, one inside a longer chain stays.
func cause(err error) error {
	if direct, ok := err.(*Error); ok && direct.Err != nil {
		return direct.Err
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

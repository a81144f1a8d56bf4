// Package backoff computes how long to wait before trying again: exponential
// with full jitter, so that many that failed together do not return together.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff is a schedule of delays. The zero value is Min 100ms, Max 30s.
type Backoff struct {
	// Min bounds the delay before the first retry. Zero means 100ms.
	Min time.Duration
	// Max bounds every delay. Zero means 30s.
	Max time.Duration
}

// Random is what Next draws from; *math/rand/v2.Rand satisfies it.
type Random interface {
	Int64N(n int64) int64
}

// Next returns the delay before retry number attempt, which counts from zero:
// uniform between nothing and Ceiling(attempt), never zero. A nil rnd means the
// process's own generator; tests pass a seeded one.
func (b Backoff) Next(attempt int, rnd Random) time.Duration {
	ceiling := int64(b.Ceiling(attempt))
	if rnd == nil {
		return time.Duration(1 + rand.Int64N(ceiling))
	}
	return time.Duration(1 + rnd.Int64N(ceiling))
}

// Ceiling returns the longest delay that Next may return for attempt:
// Min·2^attempt, at most Max.
func (b Backoff) Ceiling(attempt int) time.Duration {
	low, high := b.Min, b.Max
	if low <= 0 {
		low = 100 * time.Millisecond
	}
	if high <= 0 {
		high = 30 * time.Second
	}
	d := min(low, high)
	for ; attempt > 0 && d < high; attempt-- {
		if d > high/2 {
			return high
		}
		d *= 2
	}
	return d
}

// Sleep waits for d, or returns the cause when ctx ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

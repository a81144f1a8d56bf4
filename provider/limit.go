package provider

import (
	"context"
	"sync"
	"time"
)

// limiter is a token bucket whose debt is paid by waiting: calls are admitted in the order in which they came.
type limiter struct {
	every time.Duration // one call is earned in this time
	slack time.Duration // what an idle limiter has saved up at most
	now   func() time.Time

	mu   sync.Mutex
	next time.Time // when the next call is earned
}

func newLimiter(rate float64, burst int, now func() time.Time) *limiter {
	every := time.Duration(float64(time.Second) / rate)
	return &limiter{every: every, slack: every * time.Duration(burst-1), now: now}
}

func (l *limiter) wait(ctx context.Context) error {
	return sleep(ctx, l.reserve())
}

// reserve takes the next place in the queue and returns how long to wait for it. A caller who gives up leaves its place unused.
func (l *limiter) reserve() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if earliest := now.Add(-l.slack); l.next.Before(earliest) {
		l.next = earliest
	}
	d := l.next.Sub(now)
	l.next = l.next.Add(l.every)
	return d
}

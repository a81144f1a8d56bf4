package backoff_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/internal/backoff"
)

func TestCeilingDoublesUpToMax(t *testing.T) {
	b := backoff.Backoff{Min: time.Second, Max: 5 * time.Second}
	want := []time.Duration{1, 2, 4, 5, 5}
	for attempt, w := range want {
		if got := b.Ceiling(attempt); got != w*time.Second {
			t.Errorf("attempt %d: %v, want %v", attempt, got, w*time.Second)
		}
	}
	if got := b.Ceiling(math.MaxInt); got != 5*time.Second {
		t.Errorf("attempt without end: %v", got)
	}
	if got := (backoff.Backoff{Min: 1, Max: math.MaxInt64}).Ceiling(1000); got != math.MaxInt64 {
		t.Errorf("overflow: %v", got)
	}
	if got := (backoff.Backoff{Min: time.Minute, Max: time.Second}).Ceiling(0); got != time.Second {
		t.Errorf("Min over Max: %v", got)
	}
}

func TestNextIsSpreadOverTheWholeRange(t *testing.T) {
	b := backoff.Backoff{Min: time.Second, Max: 8 * time.Second}
	rnd := rand.New(rand.NewPCG(1, 2))
	var low, high int
	for range 1000 {
		d := b.Next(3, rnd)
		if d <= 0 || d > 8*time.Second {
			t.Fatalf("delay %v out of range", d)
		}
		if d < 2*time.Second {
			low++
		}
		if d > 6*time.Second {
			high++
		}
	}
	if low < 150 || high < 150 {
		t.Fatalf("not full jitter: %d in the lowest quarter, %d in the highest", low, high)
	}
	if d := (backoff.Backoff{}).Next(0, nil); d <= 0 || d > 100*time.Millisecond {
		t.Fatalf("zero value: %v", d)
	}
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := backoff.Sleep(t.Context(), time.Hour); err != nil || time.Since(start) != time.Hour {
			t.Fatalf("slept %v, %v", time.Since(start), err)
		}
		gone := errors.New("term is over")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if err := backoff.Sleep(ctx, time.Hour); !errors.Is(err, gone) {
			t.Fatalf("Sleep = %v", err)
		}
	})
}

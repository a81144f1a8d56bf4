package control

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/internal/backoff"
)

// longest is a Random that makes every delay as long as it may be.
type longest struct{}

func (longest) Int64N(n int64) int64 { return n - 1 }

func newTestQueue() *Queue {
	return NewQueue(backoff.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second}, longest{})
}

// next takes a key at once or reports "".
func next(t *testing.T, q *Queue) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	key, _ := q.Next(ctx)
	return key
}

// nextWithin takes a key and returns how long that took.
func nextWithin(t *testing.T, q *Queue, want string, limit time.Duration) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	key, ok := q.Next(ctx)
	if !ok || key != want {
		t.Fatalf("Next = %q, %v within %s, want %q", key, ok, limit, want)
	}
	return time.Since(start)
}

func TestQueueHandsOutInOrderAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue()
		for _, key := range []string{"a", "b", "a", "c", "b"} {
			q.Add(key)
		}
		for _, want := range []string{"a", "b", "c", ""} {
			if got := next(t, q); got != want {
				t.Fatalf("Next = %q, want %q", got, want)
			}
		}
	})
}

func TestQueueWithholdsKeyInWorkAndReturnsItWhenDirty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue()
		q.Add("a")
		next(t, q)
		q.Add("a")
		q.Add("a")
		if got := next(t, q); got != "" {
			t.Fatalf("%q handed out twice", got)
		}
		q.Done("a")
		if got := next(t, q); got != "a" {
			t.Fatalf("add during work lost: Next = %q", got)
		}
		q.Done("a")
		if got := next(t, q); got != "" {
			t.Fatalf("two adds during work gave two calls: %q", got)
		}
	})
}

func TestQueueForgetsIdleKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue()
		for i := range 1000 {
			q.Add(fmt.Sprint(i))
			key := next(t, q)
			q.Succeed(key)
			q.Done(key)
		}
		if q.Len() != 0 {
			t.Fatalf("%d idle keys kept", q.Len())
		}
	})
}

func TestAddAfterDelaysAndTheEarlierWins(t *testing.T) {
	for name, tt := range map[string]struct {
		schedule func(q *Queue)
		want     time.Duration
	}{
		"alone":         {func(q *Queue) { q.AddAfter("a", time.Hour) }, time.Hour},
		"earlier later": {func(q *Queue) { q.AddAfter("a", time.Hour); q.AddAfter("a", time.Minute) }, time.Minute},
		"later later":   {func(q *Queue) { q.AddAfter("a", time.Minute); q.AddAfter("a", time.Hour) }, time.Minute},
		"add":           {func(q *Queue) { q.AddAfter("a", time.Hour); q.Add("a") }, 0},
		"after add":     {func(q *Queue) { q.Add("a"); q.AddAfter("a", time.Hour) }, 0},
		"not positive":  {func(q *Queue) { q.AddAfter("a", -time.Hour) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newTestQueue()
				tt.schedule(q)
				if took := nextWithin(t, q, "a", 2*time.Hour); took != tt.want {
					t.Fatalf("due after %s, want %s", took, tt.want)
				}
				q.Done("a")
				if q.Len() != 0 {
					t.Fatal("key is still scheduled: the earlier add should be the only one")
				}
			})
		})
	}
}

func TestDelayEndingDuringWorkMakesKeyDirty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue()
		q.Add("a")
		next(t, q)
		q.AddAfter("a", time.Second)
		time.Sleep(2 * time.Second)
		if got := next(t, q); got != "" {
			t.Fatalf("%q handed out twice", got)
		}
		q.Done("a")
		if got := next(t, q); got != "a" {
			t.Fatalf("delayed add lost: Next = %q", got)
		}
	})
}

func TestSleepingWorkerNoticesAnEarlierDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue()
		q.AddAfter("late", time.Hour)
		got := make(chan time.Duration)
		start := time.Now()
		go func() {
			q.Next(t.Context())
			got <- time.Since(start)
		}()
		synctest.Wait()
		q.AddAfter("early", time.Minute)
		if took := <-got; took != time.Minute {
			t.Fatalf("woke after %s, want a minute", took)
		}
	})
}

func TestRetryDelaysGrowToTheCapAndResetOnSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue()
		q.Add("a")
		next(t, q)
		var delays []time.Duration
		for range 9 {
			q.Retry("a")
			q.Done("a")
			delays = append(delays, nextWithin(t, q, "a", time.Hour).Round(time.Millisecond))
		}
		want := []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(delays, want) {
			t.Fatalf("delays %v, want %v", delays, want)
		}
		q.Succeed("a")
		q.Done("a")
		q.Add("a")
		next(t, q)
		if n := q.Retry("a"); n != 1 {
			t.Fatalf("%d failures after a success, want 1", n)
		}
	})
}

func TestAddBringsFailingKeyForwardButNotToAHotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue()
		q.Add("a")
		next(t, q)
		for range 8 {
			q.Retry("a")
			q.Done("a")
			q.Add("a") // the failure itself is a change of the record
			if took := nextWithin(t, q, "a", time.Hour); took != 100*time.Millisecond {
				t.Fatalf("came back after %s, want the shortest delay", took)
			}
		}
	})
}

func TestNextReturnsWhenContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue()
		q.AddAfter("a", time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		time.AfterFunc(time.Second, cancel)
		if key, ok := q.Next(ctx); ok || time.Since(start) != time.Second {
			t.Fatalf("Next = %q, %v after %s", key, ok, time.Since(start))
		}
		q.Add("b")
		if key, ok := q.Next(ctx); ok {
			t.Fatalf("%q handed out after the end", key)
		}
	})
}

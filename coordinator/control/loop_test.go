package control

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stix-run/stix/internal/backoff"
	"github.com/stix-run/stix/internal/testlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a reconciler that keeps what it saw and does as it is told.
type recorder struct {
	do func(ctx context.Context, key string) (Result, error)

	mu      sync.Mutex
	inside  map[string]bool
	overlap []string
	calls   map[string]int
	times   map[string][]time.Time
}

func newRecorder(do func(ctx context.Context, key string) (Result, error)) *recorder {
	return &recorder{
		do:     do,
		inside: make(map[string]bool),
		calls:  make(map[string]int),
		times:  make(map[string][]time.Time),
	}
}

func (r *recorder) Reconcile(ctx context.Context, key string) (Result, error) {
	r.mu.Lock()
	if r.inside[key] {
		r.overlap = append(r.overlap, key)
	}
	r.inside[key] = true
	r.calls[key]++
	r.times[key] = append(r.times[key], time.Now())
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.inside[key] = false
	}()
	if r.do == nil {
		return Result{}, nil
	}
	return r.do(ctx, key)
}

func (r *recorder) count(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[key]
}

// feed is a source that lists keys and then passes on what is sent to it.
type feed struct {
	keys    []string
	changes chan string
}

func (f feed) source(ctx context.Context, add func(string)) error {
	for _, key := range f.keys {
		add(key)
	}
	for {
		select {
		case key := <-f.changes:
			if key == "" {
				return errors.New("feed broke")
			}
			add(key)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func newLoop(t *testing.T, r Reconciler, source Source, workers int) *Loop {
	t.Helper()
	l, err := New(Config{
		Name:       "things",
		Reconciler: r,
		Source:     source,
		Workers:    workers,
		Retry:      backoff.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second},
		Random:     longest{},
		Logger:     testlog.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// start runs a loop; the returned function ends it and says how long that took.
func start(t *testing.T, l *Loop) (stop func() time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return func() time.Duration {
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		return time.Since(began)
	}
}

func TestLoopNeverWorksOnAKeyTwiceAtOnceAndLosesNoAdd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, adds = 7, 2000
		rnd := rand.New(rand.NewPCG(1, 2))
		added, seen := make([]int, keys), make([]int, keys)
		var mu sync.Mutex
		r := newRecorder(func(_ context.Context, key string) (Result, error) {
			var i int
			fmt.Sscan(key, &i)
			mu.Lock()
			seen[i] = added[i] // the level at the beginning of the call
			d := time.Duration(rnd.IntN(20)) * time.Millisecond
			fail := rnd.IntN(5) == 0
			mu.Unlock()
			time.Sleep(d)
			if fail {
				return Result{}, errors.New("told to fail")
			}
			return Result{}, nil
		})
		f := feed{changes: make(chan string)}
		stop := start(t, newLoop(t, r, f.source, 4))
		for range adds {
			mu.Lock()
			i, d := rnd.IntN(keys), time.Duration(rnd.IntN(3))*time.Millisecond
			added[i]++
			mu.Unlock()
			f.changes <- fmt.Sprint(i)
			time.Sleep(d)
		}
		time.Sleep(time.Minute)
		stop()
		if len(r.overlap) > 0 {
			t.Errorf("worked on at once: %v", r.overlap)
		}
		for i := range keys {
			if seen[i] != added[i] {
				t.Errorf("key %d: saw %d of %d adds", i, seen[i], added[i])
			}
		}
	})
}

func TestLoopRequeuesAfterTheResultsDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(func(context.Context, string) (Result, error) {
			return Result{RequeueAfter: time.Minute}, nil
		})
		f := feed{keys: []string{"a"}, changes: make(chan string)}
		stop := start(t, newLoop(t, r, f.source, 2))
		time.Sleep(10*time.Minute + time.Second)
		if got := r.count("a"); got != 11 {
			t.Errorf("%d calls in ten minutes, want 11", got)
		}
		f.changes <- "a"
		synctest.Wait()
		if got := r.count("a"); got != 12 {
			t.Errorf("%d calls after a change, want 12 at once", got)
		}
		stop()
	})
}

func TestLoopBacksOffWhileAKeyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failing sync.Map
		failing.Store("bad", true)
		r := newRecorder(func(_ context.Context, key string) (Result, error) {
			if _, ok := failing.Load(key); ok {
				return Result{}, errors.New("told to fail")
			}
			return Result{}, nil
		})
		f := feed{keys: []string{"bad", "good"}, changes: make(chan string)}
		stop := start(t, newLoop(t, r, f.source, 1))
		defer stop()
		time.Sleep(time.Minute)
		if r.count("good") != 1 {
			t.Errorf("good key called %d times", r.count("good"))
		}
		r.mu.Lock()
		times := r.times["bad"]
		r.mu.Unlock()
		for i := 2; i < len(times); i++ {
			before, after := times[i-1].Sub(times[i-2]), times[i].Sub(times[i-1])
			if after < before || after > 10*time.Second {
				t.Fatalf("delays %s, %s: want growth up to the cap", before, after)
			}
		}
		if n := len(times); n < 8 || n > 14 {
			t.Errorf("%d calls in a minute of failures", n)
		}
		failing.Delete("bad")
		time.Sleep(11 * time.Second)
		n := r.count("bad")
		time.Sleep(time.Hour)
		if r.count("bad") != n {
			t.Error("key called on after it succeeded")
		}
	})
}

func TestLoopTreatsAPanicAsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(func(context.Context, string) (Result, error) {
			var none []Result
			return none[0], nil
		})
		f := feed{keys: []string{"a"}, changes: make(chan string)}
		stop := start(t, newLoop(t, r, f.source, 1))
		time.Sleep(time.Second)
		stop()
		if n := r.count("a"); n < 3 || n > 5 {
			t.Errorf("%d calls in a second, want retries with back-off", n)
		}
	})
}

func TestLoopIsFairAmongKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feed{keys: []string{"busy", "a", "b", "c"}, changes: make(chan string)}
		r := newRecorder(nil)
		r.do = func(_ context.Context, key string) (Result, error) {
			time.Sleep(10 * time.Millisecond)
			return Result{}, nil
		}
		stop := start(t, newLoop(t, r, f.source, 1))
		for i := range 4000 {
			time.Sleep(time.Millisecond)
			f.changes <- "busy"
			f.changes <- f.keys[1+i%3]
		}
		stop()
		for _, key := range f.keys {
			if n := r.count(key); n < 95 || n > 105 {
				t.Errorf("key %s had %d of 400 turns, want a quarter", key, n)
			}
		}
	})
}

func TestLoopUsesAllItsWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(func(context.Context, string) (Result, error) {
			time.Sleep(time.Hour)
			return Result{RequeueAfter: time.Minute}, nil
		})
		f := feed{keys: []string{"a", "b", "c"}, changes: make(chan string)}
		stop := start(t, newLoop(t, r, f.source, 3))
		for round := range 3 {
			time.Sleep(time.Minute)
			for _, key := range f.keys {
				if n := r.count(key); n != round+1 {
					t.Errorf("round %d: %d calls for %s", round, n, key)
				}
			}
			time.Sleep(time.Hour)
		}
		stop()
	})
}

func TestLoopEndsPromptlyAndWaitsForItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		returned := 0
		r := newRecorder(func(ctx context.Context, _ string) (Result, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // undoing takes a moment
			returned++
			return Result{}, ctx.Err()
		})
		f := feed{keys: []string{"a", "b", "c"}, changes: make(chan string)}
		stop := start(t, newLoop(t, r, f.source, 1))
		time.Sleep(time.Hour)
		if took := stop(); took != time.Second {
			t.Errorf("Run returned after %s, want a second", took)
		}
		if returned != 1 || r.count("b") != 0 {
			t.Errorf("%d calls returned, %d begun after the end", returned, r.count("b"))
		}
	})
}

func TestLoopListsEverythingAgainWhenItsSourceBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feed{keys: []string{"a"}, changes: make(chan string)}
		r := newRecorder(nil)
		stop := start(t, newLoop(t, r, f.source, 1))
		synctest.Wait()
		f.changes <- ""
		time.Sleep(time.Second)
		if n := r.count("a"); n != 2 {
			t.Errorf("%d calls, want one for each listing", n)
		}
		stop()
	})
}

func TestLoopBacksOffWhileItsSourceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		source := func(context.Context, func(string)) error {
			calls++
			if calls%2 == 0 {
				panic("source is broken")
			}
			return errors.New("told to fail")
		}
		stop := start(t, newLoop(t, newRecorder(nil), source, 1))
		time.Sleep(time.Minute)
		stop()
		if calls < 8 || calls > 14 {
			t.Errorf("source called %d times in a minute of failures", calls)
		}
	})
}

func TestLoopBeginsAnewInTheNextTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := true
		r := newRecorder(func(context.Context, string) (Result, error) {
			if fail {
				return Result{}, errors.New("told to fail")
			}
			return Result{}, nil
		})
		f := feed{keys: []string{"a"}, changes: make(chan string)}
		l := newLoop(t, r, f.source, 1)
		stop := start(t, l)
		time.Sleep(time.Hour)
		stop()
		fail = false
		n := r.count("a")
		stop = start(t, l)
		synctest.Wait()
		if r.count("a") != n+1 {
			t.Error("back-off of the term before delays the next")
		}
		stop()
	})
}

func TestNewRefusesIncompleteConfig(t *testing.T) {
	good := Config{Name: "x", Reconciler: newRecorder(nil), Source: feed{}.source}
	for name, spoil := range map[string]func(*Config){
		"name":       func(c *Config) { c.Name = "" },
		"reconciler": func(c *Config) { c.Reconciler = nil },
		"source":     func(c *Config) { c.Source = nil },
		"workers":    func(c *Config) { c.Workers = -1 },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("config without a good %s was accepted", name)
		}
	}
}

type runner func(ctx context.Context) error

func (r runner) Run(ctx context.Context) error { return r(ctx) }

func TestRunTermReturnsAfterEveryRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := runner(func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Minute)
			return nil
		})
		early := runner(func(context.Context) error { return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		if err := RunTerm(ctx, 3, slow, early, slow); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != time.Hour+time.Minute {
			t.Errorf("returned after %s", took)
		}
	})
}

func TestRunTermEndsWithTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		waits := runner(func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		fails := runner(func(context.Context) error {
			time.Sleep(time.Second)
			return broken
		})
		if err := RunTerm(t.Context(), 3, waits, fails); !errors.Is(err, broken) {
			t.Fatalf("RunTerm = %v, want the first error", err)
		}
	})
}

package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const delay = 10 * time.Millisecond

// slow leads with a log that takes its time, in a bubble.
func slow(t *testing.T, change func(*Config)) (*Store, *fakeLog, func()) {
	return lead(t, func(c *Config, l *fakeLog) {
		l.delay = delay
		if change != nil {
			change(c)
		}
	})
}

// answer is how one Update ended, and when.
type answer struct {
	err error
	at  time.Duration
}

// calls are updates that run at the same time, begun in a known order.
type calls struct {
	t     *testing.T
	s     *Store
	began time.Time
	wg    sync.WaitGroup
	mu    sync.Mutex
	ended map[string]answer
	runs  map[string]int
}

func newCalls(t *testing.T, s *Store) *calls {
	return &calls{t: t, s: s, began: time.Now(), ended: map[string]answer{}, runs: map[string]int{}}
}

func (c *calls) start(ctx context.Context, name string, fn func(tx *Tx) error) {
	c.wg.Go(func() {
		err := c.s.Update(ctx, by(name), func(tx *Tx) error {
			c.mu.Lock()
			c.runs[name]++
			c.mu.Unlock()
			return fn(tx)
		})
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ended[name] = answer{err, time.Since(c.began)}
	})
	synctest.Wait()
}

func (c *calls) put(name string) {
	c.start(c.t.Context(), name, func(tx *Tx) error {
		tx.Clusters.Put(cluster(name, name))
		return nil
	})
}

// unlessThere is the usual look before a write: it errs when the name is taken.
func (c *calls) unlessThere(uid, name string) {
	c.start(c.t.Context(), uid, func(tx *Tx) error {
		if _, ok := tx.ClusterByName(name); ok {
			return errExists
		}
		tx.Clusters.Put(cluster(uid, name))
		return nil
	})
}

var errExists = errors.New("already exists")

func (c *calls) want(name string, err error, at time.Duration) {
	c.t.Helper()
	got := c.ended[name]
	if !errors.Is(got.err, err) || got.at != at {
		c.t.Errorf("%s ended with %v at %s, want %v at %s", name, got.err, got.at, err, at)
	}
}

func (c *calls) wantRuns(name string, n int) {
	c.t.Helper()
	if c.runs[name] != n {
		c.t.Errorf("%s ran %d times, want %d", name, c.runs[name], n)
	}
}

func names(v *View) string {
	var all []string
	for c := range v.Clusters.All() {
		all = append(all, c.Meta.Name)
	}
	return strings.Join(all, " ")
}

func TestUpdatesDuringACommitFormOneEntryInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := slow(t, nil)
		c := newCalls(t, s)
		for i := range 100 {
			c.start(t.Context(), fmt.Sprint(i), func(tx *Tx) error {
				n := int64(tx.Jobs.Len()) + 1
				tx.Jobs.Put(job(fmt.Sprint("j", i), "c", n))
				return nil
			})
		}
		c.wg.Wait()
		stop()
		if len(l.entries) != 2 {
			t.Errorf("%d entries, want 2", len(l.entries))
		}
		c.want("0", nil, delay)
		c.want("99", nil, 2*delay)
		for i := range 100 {
			if j, ok := s.Read().JobByNumber("c", int64(i)+1); !ok || j.Meta.Uid != fmt.Sprint("j", i) {
				t.Errorf("job number %d is %v", i+1, j)
			}
		}
		sameEverywhere(t, s, l)
	})
}

func TestAnEntryIsBoundedByUpdatesAndBytes(t *testing.T) {
	for name, limit := range map[string]func(*Config){
		"updates": func(c *Config) { c.MaxBatch = 3 },
		"bytes":   func(c *Config) { c.MaxBatchBytes = 3 * 1000 },
	} {
		synctest.Test(t, func(t *testing.T) {
			s, l, stop := slow(t, limit)
			c := newCalls(t, s)
			for i := range 10 {
				c.start(t.Context(), fmt.Sprint(i), func(tx *Tx) error {
					m := cluster(fmt.Sprint(i), fmt.Sprint(i))
					m.Reason = strings.Repeat("x", 1000)
					tx.Clusters.Put(m)
					return nil
				})
			}
			c.wg.Wait()
			stop()
			if len(l.entries) != 4 { // 1, then 3 each
				t.Errorf("%s: %d entries, want 4", name, len(l.entries))
			}
		})
	}
}

func TestAnswerFromUncommittedDataWaitsForItsCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := slow(t, nil)
		c := newCalls(t, s)
		c.unlessThere("first", "demo")
		c.unlessThere("second", "demo")
		var seen string
		c.start(t.Context(), "reader", func(tx *Tx) error {
			m, _ := tx.ClusterByName("demo")
			seen = m.GetMeta().GetUid()
			return nil
		})
		if names(s.Read()) != "" {
			t.Error("uncommitted data can be read")
		}
		c.wg.Wait()
		c.want("first", nil, delay)
		c.want("second", errExists, delay)
		c.want("reader", nil, delay)
		if seen != "first" {
			t.Errorf("the reader saw %q", seen)
		}
		c.unlessThere("third", "demo")
		c.want("third", errExists, delay) // committed by now: at once
		if len(l.entries) != 1 {
			t.Errorf("%d entries, want 1", len(l.entries))
		}
		stop()
	})
}

func TestRejectedEntryIsBuiltAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := slow(t, func(c *Config) {
			c.Pause = func(_ context.Context, attempt int) { time.Sleep(time.Duration(attempt) * time.Second) }
		})
		l.fail(fault{err: errRefused}, fault{err: errRefused})
		c := newCalls(t, s)
		c.put("a")
		c.put("b")
		c.unlessThere("late", "a")
		c.wg.Wait()
		c.want("a", nil, 3*delay+3*time.Second)
		c.want("b", nil, 3*delay+3*time.Second)
		c.want("late", errExists, 3*delay+3*time.Second)
		c.wantRuns("a", 3)
		c.wantRuns("b", 3)
		if names(s.Read()) != "a b" || len(l.entries) != 1 {
			t.Errorf("clusters %s in %d entries", names(s.Read()), len(l.entries))
		}
		stop()
		sameEverywhere(t, s, l)
	})
}

func TestUpdatesFailWhenEveryEntryIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := slow(t, func(c *Config) { c.MaxRejections = 2 })
		l.fail(fault{err: errRefused}, fault{err: errRefused}, fault{err: errRefused})
		c := newCalls(t, s)
		c.put("a")
		c.wg.Wait()
		c.want("a", ErrNotLeader, 3*delay)
		c.put("b")
		c.wg.Wait()
		c.want("b", nil, 4*delay)
		stop()
	})
}

func TestUnknownOutcomeHoldsTheNextEntryUntilItIsKnown(t *testing.T) {
	for name, applied := range map[string]bool{"applied late": true, "never applied": false} {
		synctest.Test(t, func(t *testing.T) {
			known := make(chan struct{})
			s, l, stop := slow(t, func(c *Config) {
				c.Barrier = func(ctx context.Context) error {
					select {
					case <-known:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			})
			var lost []byte
			l.fail(fault{before: func() { lost = s.inflight.Load().data }, err: errLost})
			c := newCalls(t, s)
			c.put("a")
			c.unlessThere("second", "a")
			c.put("b")
			time.Sleep(time.Minute)
			synctest.Wait()
			c.want("a", ErrUnknownOutcome, delay)
			if len(c.ended) != 1 || l.started.Load() != 1 {
				t.Errorf("%s: %d updates have ended after %d proposals", name, len(c.ended), l.started.Load())
			}
			second, at := error(nil), time.Minute+delay
			if applied {
				l.commit(lost)
				second, at = errExists, time.Minute // what it found is committed by then
			}
			close(known)
			c.wg.Wait()
			c.want("b", nil, time.Minute+delay)
			c.want("second", second, at)
			want := map[bool]string{true: "a b", false: "b a"}[applied]
			if names(s.Read()) != want {
				t.Errorf("%s: clusters %q, want %q", name, names(s.Read()), want)
			}
			stop()
			sameEverywhere(t, s, l)
		})
	}
}

func TestAnErrorAfterApplyIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := slow(t, nil)
		l.fail(fault{apply: true, err: errLost})
		c := newCalls(t, s)
		c.put("a")
		c.wg.Wait()
		c.want("a", nil, delay)
		stop()
	})
}

func TestEndOfTermFailsWhatIsNotProposed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := slow(t, nil)
		l.fail(fault{before: s.EndTerm, err: errLost})
		c := newCalls(t, s)
		c.put("a")
		c.put("b")
		c.wg.Wait()
		c.want("a", ErrUnknownOutcome, delay)
		c.want("b", ErrNotLeader, delay)
		if err := s.Update(t.Context(), by("x"), func(*Tx) error { return nil }); !errors.Is(err, ErrNotLeader) {
			t.Errorf("update outside of a term: %v", err)
		}
		l.term = 2
		s.StartTerm(2)
		c.put("c")
		c.wg.Wait()
		c.want("c", nil, 2*delay)
		if names(s.Read()) != "c" || s.Read().Revision != 1 {
			t.Errorf("clusters %q at revision %d", names(s.Read()), s.Read().Revision)
		}
		stop()
		sameEverywhere(t, s, l)
	})
}

// A proposal can reach the log after leadership was lost and won again: what it was decided on is gone by then.
func TestProposalOfAnEarlierTermIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := slow(t, nil)
		l.fail(fault{apply: true, before: func() {
			s.EndTerm()
			l.term = 3
			s.StartTerm(3)
		}})
		c := newCalls(t, s)
		c.put("a")
		c.wg.Wait()
		c.want("a", ErrNotLeader, delay)
		c.put("b")
		c.wg.Wait()
		c.want("b", nil, 2*delay)
		if names(s.Read()) != "b" {
			t.Errorf("clusters %q", names(s.Read()))
		}
		stop()
		sameEverywhere(t, s, l)
	})
}

// The leader's work can be begun again within a term of the log, while an entry is on its way.
func TestTermBegunAgainWhileAnEntryIsInFlight(t *testing.T) {
	for name, f := range map[string]fault{"commits": {apply: true}, "is rejected": {err: errRefused}, "is lost": {err: errLost}} {
		synctest.Test(t, func(t *testing.T) {
			s, l, stop := slow(t, func(c *Config) { c.Barrier = func(context.Context) error { return nil } })
			l.fail(f)
			c := newCalls(t, s)
			c.put("a")
			c.put("b")
			s.EndTerm()
			s.StartTerm(1)
			c.put("c")
			c.wg.Wait()
			c.want("a", map[string]error{"is rejected": ErrNotLeader, "is lost": ErrUnknownOutcome}[name], delay)
			c.want("b", ErrNotLeader, 0)
			c.want("c", nil, 2*delay)
			if want := map[bool]string{true: "a c", false: "c"}[f.apply]; names(s.Read()) != want {
				t.Errorf("%s: clusters %q, want %q", name, names(s.Read()), want)
			}
			stop()
			sameEverywhere(t, s, l)
		})
	}
}

func TestCancelledUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := slow(t, nil)
		c := newCalls(t, s)
		ctx := map[string]func(){}
		for _, name := range []string{"inflight", "open", "kept", "reader"} {
			one, cancel := context.WithCancel(t.Context())
			ctx[name] = cancel
			c.start(one, name, func(tx *Tx) error {
				if name != "reader" {
					tx.Clusters.Put(cluster(name, name))
				}
				return nil
			})
		}
		for _, name := range []string{"inflight", "open", "reader"} {
			ctx[name]()
		}
		c.wg.Wait()
		ctx["kept"]()
		c.want("inflight", ErrUnknownOutcome, 0)
		c.want("inflight", context.Canceled, 0)
		c.want("open", context.Canceled, 0)
		c.want("reader", context.Canceled, 0)
		if errors.Is(c.ended["open"].err, ErrUnknownOutcome) {
			t.Error("the outcome of an update that was not proposed is said to be unknown")
		}
		c.want("kept", nil, 2*delay)
		if names(s.Read()) != "inflight kept" {
			t.Errorf("clusters %q", names(s.Read()))
		}
		c.wantRuns("open", 1)
		stop()
		sameEverywhere(t, s, l)
	})
}

func TestCancelWithoutACommitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, Config{})
		s.StartTerm(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ran := false
		err := s.Update(ctx, by("x"), func(*Tx) error { ran = true; return nil })
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnknownOutcome) || ran {
			t.Errorf("%v, ran %v", err, ran)
		}
	})
}

func TestEndOfRunAnswersEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := slow(t, nil)
		l.fail(fault{err: errLost})
		c := newCalls(t, s)
		c.put("inflight")
		c.unlessThere("reader", "inflight")
		c.put("open")
		stop()
		c.wg.Wait()
		c.want("reader", ErrNotLeader, delay)
		c.want("inflight", ErrUnknownOutcome, delay)
		c.want("open", ErrNotLeader, delay)
		if err := s.Update(t.Context(), by("x"), func(*Tx) error { return nil }); !errors.Is(err, ErrNotLeader) {
			t.Errorf("update after the end: %v", err)
		}
	})
}

func TestUpdateThatIsTooLarge(t *testing.T) {
	s, _, stop := lead(t, func(c *Config, _ *fakeLog) { c.MaxUpdateBytes = 1000 })
	defer stop()
	err := s.Update(t.Context(), by("x"), func(tx *Tx) error {
		m := cluster("c", "c")
		m.Reason = strings.Repeat("x", 1000)
		tx.Clusters.Put(m)
		return nil
	})
	if !errors.Is(err, ErrTooLarge) || s.Read().Clusters.Len() != 0 {
		t.Errorf("%v, %d clusters", err, s.Read().Clusters.Len())
	}
}

// Many callers, cancellations, rejections and unknown outcomes together: whatever Update promised holds.
func TestUpdateUnderFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := slow(t, func(c *Config) {
			c.MaxBatch = 7
			c.MaxRejections = 100
			c.Barrier = func(context.Context) error { return nil }
		})
		for i := range 40 {
			l.fail(fault{apply: true}, fault{err: errRefused}, fault{err: errLost, apply: i%2 == 0})
		}
		var mu sync.Mutex
		sure, maybe := map[string]bool{}, map[string]bool{}
		var wg sync.WaitGroup
		for w := range 20 {
			wg.Go(func() {
				for i := range 20 {
					name := fmt.Sprintf("%d-%d", w, i)
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(w*i)*time.Millisecond+time.Millisecond)
					err := s.Update(ctx, by(name), func(tx *Tx) error { tx.Jobs.Put(job(name, "c", 0)); return nil })
					cancel()
					mu.Lock()
					sure[name] = err == nil
					maybe[name] = err == nil || errors.Is(err, ErrUnknownOutcome)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		stop()
		there := map[string]bool{}
		for j := range s.Read().Jobs.All() {
			there[j.Meta.Uid] = true
			if !maybe[j.Meta.Uid] {
				t.Errorf("%s is there although its update failed for sure", j.Meta.Uid)
			}
		}
		n := 0
		for name, ok := range sure {
			if ok {
				n++
			}
			if ok && !there[name] {
				t.Errorf("%s is lost", name)
			}
		}
		if n < 50 || n > 390 {
			t.Errorf("%d of 400 updates succeeded: the test tests nothing", n)
		}
		sameEverywhere(t, s, l)
	})
}

func TestIterationSeesWritesOfItsOwnLoop(t *testing.T) {
	s, _, stop := lead(t, nil)
	defer stop()
	must(t, s, func(tx *Tx) {
		for i := range int64(1000) {
			tx.Jobs.Put(job(fmt.Sprintf("j%04d", i), "c", i+1))
		}
	})
	var seen []int64
	must(t, s, func(tx *Tx) {
		for j := range tx.ActiveJobs("c") {
			seen = append(seen, j.Number)
			tx.Jobs.Edit(j.Meta.Uid, func(j *stixv1.Job) { j.State = stixv1.JobState_JOB_STATE_CANCELLED })
			if j.Number%3 == 1 {
				tx.Jobs.Delete(fmt.Sprintf("j%04d", j.Number)) // the next one
			}
		}
	})
	if len(seen) != 667 || !slices.IsSorted(seen) {
		t.Errorf("saw %d jobs", len(seen))
	}
	if n := len(slices.Collect(s.Read().ActiveJobs("c"))); n != 0 {
		t.Errorf("%d jobs are active", n)
	}
}

package logs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/coordinator/logs"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// run runs the store until the end of the test.
func (s *store) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	}
}

func (w *wants) want(t *testing.T, calls ...string) {
	t.Helper()
	synctest.Wait()
	if got := w.take(); !slices.Equal(got, calls) {
		t.Fatalf("calls %q, want %q", got, calls)
	}
}

func TestReadersWaitForBytesAndTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		k := key("a")
		r := s.Reader(k, 0)
		defer r.Close()
		got := make(chan string)
		go func() {
			defer close(got)
			for {
				data, complete, err := r.Next(t.Context(), 4)
				if err != nil {
					t.Error(err)
				}
				got <- fmt.Sprintf("%s %v", data, complete)
				if complete || err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		s.add(t, k, 0, "123456")
		for _, want := range []string{"1234 false", "56 false"} {
			if data := <-got; data != want {
				t.Fatalf("%q, want %q", data, want)
			}
		}
		synctest.Wait()
		must(t, s.Complete(t.Context(), k, 6))
		if data := <-got; data != " true" {
			t.Fatalf("%q", data)
		}
		<-got
	})
}

func TestThousandsOfReadersAreWokenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wants{}
		s := newStore(t, func(c *logs.Config) { c.Wants = w })
		defer s.run(t)()
		k := key("a")
		var wg sync.WaitGroup
		for range 5000 {
			wg.Go(func() {
				r := s.Reader(k, 0)
				defer r.Close()
				if got, err := drain(t.Context(), r, 100); err != nil || got != "onetwo" {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		w.want(t, "follow assignment-a")
		start := time.Now()
		s.add(t, k, 0, "one")
		synctest.Wait()
		s.add(t, k, 3, "two")
		must(t, s.Complete(t.Context(), k, 6))
		wg.Wait()
		if time.Since(start) != 0 {
			t.Errorf("it took %v of virtual time: somebody polls", time.Since(start))
		}
	})
}

func TestAgentsPushWhatIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wants{}
		s := newStore(t, func(c *logs.Config) { c.Wants, c.Linger = w, 3*time.Second })
		stop := s.run(t)
		a, b := key("a"), key("b")
		s.add(t, a, 0, "12345")
		first := s.Reader(a, 0)
		w.want(t, "follow assignment-a")
		if from, ok := s.Followed("assignment-a"); w.from["assignment-a"] != 5 || from != 5 || !ok {
			t.Errorf("followed from %d, %d, %v", w.from["assignment-a"], from, ok)
		}
		second, other := s.Reader(a, 2), s.Reader(b, 0)
		w.want(t, "follow assignment-b")
		first.Close()
		first.Close()
		time.Sleep(time.Minute)
		w.want(t)
		// Readers come and go; only after the linger it is over.
		second.Close()
		time.Sleep(2 * time.Second)
		third := s.Reader(a, 0)
		time.Sleep(time.Minute)
		w.want(t)
		third.Close()
		other.Close()
		time.Sleep(2999 * time.Millisecond)
		w.want(t)
		time.Sleep(time.Millisecond)
		w.want(t, "unfollow assignment-a", "unfollow assignment-b")
		if _, ok := s.Followed("assignment-a"); ok {
			t.Error("followed still")
		}
		// A complete log needs no agent.
		must(t, s.Complete(t.Context(), a, 5))
		last := s.Reader(a, 0)
		w.want(t)
		last.Close()
		time.Sleep(time.Minute)
		w.want(t)
		stop()
	})
}

func TestANewRunAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wants{}
		s := newStore(t, func(c *logs.Config) { c.Wants = w })
		r, quitter := s.Reader(key("a"), 0), s.Reader(key("b"), 0)
		w.want(t)
		stop := s.run(t)
		w.want(t, "follow assignment-a", "follow assignment-b")
		stop()
		quitter.Close()
		stop = s.run(t)
		w.want(t, "follow assignment-a")
		r.Close()
		time.Sleep(time.Minute)
		w.want(t, "unfollow assignment-a")
		stop()
	})
}

// One log that is opened and left all the time must not keep another followed.
func TestRestlessReaderDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wants{}
		s := newStore(t, func(c *logs.Config) { c.Wants, c.Linger = w, 3*time.Second })
		defer s.run(t)()
		s.Reader(key("restless"), 0).Close()
		s.Reader(key("b"), 0).Close()
		synctest.Wait()
		w.take()
		for range 20 {
			time.Sleep(time.Second)
			s.Reader(key("restless"), 0).Close()
		}
		synctest.Wait()
		if calls := w.take(); slices.Contains(calls, "unfollow assignment-restless") {
			t.Errorf("calls %q", calls)
		}
		if _, ok := s.Followed("assignment-b"); ok {
			t.Error("the other is followed still")
		}
	})
}

func TestPushStoresALog(t *testing.T) {
	s := newStore(t)
	push := func(err error, all ...*stixv1.PushLogRequest) (*stixv1.PushLogResponse, error) {
		return s.Push(t.Context(), pushes(err, all...), jobOf)
	}
	a := "assignment-a"
	got, err := push(nil, &stixv1.PushLogRequest{AssignmentUid: a})
	must(t, err)
	if got.Size != 0 {
		t.Errorf("size %d of a new log", got.Size)
	}
	got, err = push(nil, &stixv1.PushLogRequest{AssignmentUid: a, Data: []byte("123")}, &stixv1.PushLogRequest{Offset: 3, Data: []byte("45")})
	must(t, err)
	if got.Size != 5 {
		t.Errorf("size %d", got.Size)
	}
	// A question does not change anything, wherever it points.
	got, err = push(nil, &stixv1.PushLogRequest{AssignmentUid: a, Offset: 99})
	must(t, err)
	if got.Size != 5 {
		t.Errorf("size %d", got.Size)
	}
	_, err = push(nil, &stixv1.PushLogRequest{AssignmentUid: a, Offset: 6, Data: []byte("7")})
	wantKind(t, err, logs.ErrGap)
	_, err = push(nil, &stixv1.PushLogRequest{AssignmentUid: "nobody", Data: []byte("7")})
	wantKind(t, err, logs.ErrUnknown)
	_, err = push(nil)
	wantKind(t, err, logs.ErrInvalid)
	_, err = push(nil, &stixv1.PushLogRequest{AssignmentUid: a, Offset: 5, Data: []byte("6")}, &stixv1.PushLogRequest{AssignmentUid: "assignment-b"})
	wantKind(t, err, logs.ErrInvalid)
	gone := errors.New("connection reset")
	_, err = push(gone, &stixv1.PushLogRequest{AssignmentUid: a, Offset: 6, Data: []byte("7")})
	wantKind(t, err, gone)
	s.wantSize(t, key("a"), 7, false)
	got, err = push(nil, &stixv1.PushLogRequest{AssignmentUid: a, Offset: 5, Data: []byte("678")}, &stixv1.PushLogRequest{Offset: 8, Complete: true})
	must(t, err)
	if got.Size != 8 || s.all(t, key("a"), 0) != "12345678" {
		t.Errorf("size %d, %q", got.Size, s.all(t, key("a"), 0))
	}
	_, err = push(nil, &stixv1.PushLogRequest{AssignmentUid: a, Offset: 0, Data: []byte("12345678"), Complete: true})
	must(t, err)
}

func TestCatchUpWaitsForWhatTheAgentHasNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		r := s.Reader(key("a"), 0)
		defer r.Close()
		caught := make(chan error, 1)
		go func() { caught <- r.CatchUp(t.Context()) }()
		next := make(chan *stixv1.PushLogRequest)
		pushed := make(chan error, 1)
		go func() {
			_, err := s.Push(t.Context(), func() (*stixv1.PushLogRequest, error) {
				if m, ok := <-next; ok {
					return m, nil
				}
				return nil, errors.New("connection reset")
			}, jobOf)
			pushed <- err
		}()
		waiting := func(want bool) {
			t.Helper()
			synctest.Wait()
			if (len(caught) == 0) != want {
				t.Fatalf("waiting %v, want %v", len(caught) == 0, want)
			}
		}
		next <- &stixv1.PushLogRequest{AssignmentUid: "assignment-a"}
		waiting(true)
		next <- &stixv1.PushLogRequest{Data: []byte("12345")}
		waiting(true)
		next <- &stixv1.PushLogRequest{Offset: 5}
		waiting(false)
		must(t, <-caught)
		// While the push goes on the copy stays current; when it broke it is not.
		next <- &stixv1.PushLogRequest{Offset: 5, Data: []byte("6")}
		must(t, r.CatchUp(t.Context()))
		close(next)
		<-pushed
		go func() { caught <- r.CatchUp(t.Context()) }()
		waiting(true)
		must(t, s.Complete(t.Context(), key("a"), 6))
		waiting(false)
		<-caught
	})
}

func BenchmarkAppendFollow(b *testing.B) {
	s := newStore(b)
	chunk := bytes.Repeat([]byte("a line of a log, of a usual length, more or less\n"), 6000)[:256<<10]
	k := key("a")
	total := int64(0)
	r := s.Reader(k, 0)
	defer r.Close()
	var wg sync.WaitGroup
	read := int64(0)
	wg.Go(func() {
		for {
			data, complete, err := r.Next(b.Context(), 256<<10)
			read += int64(len(data))
			if err != nil || complete {
				return
			}
		}
	})
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		size, err := s.Append(b.Context(), k, total, chunk)
		must(b, err)
		total = size
	}
	b.StopTimer()
	must(b, s.Complete(b.Context(), k, total))
	wg.Wait()
	if read != total {
		b.Fatalf("read %d of %d", read, total)
	}
}

func BenchmarkTail(b *testing.B) {
	s := newStore(b)
	s.add(b, key("a"), 0, strings.Repeat("a line of a log\n", 1<<20))
	for b.Loop() {
		_, err := s.Tail(key("a"), 1000)
		must(b, err)
	}
}

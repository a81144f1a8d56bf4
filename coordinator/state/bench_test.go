package state

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	logv1 "github.com/stix-run/stix/proto/stix/log/v1"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// instant is a log that commits at once.
type instant struct{ store *Store }

func (l *instant) Propose(_ context.Context, data []byte) (uint64, error) {
	return 0, l.store.Apply(0, 1, data)
}

func uuid(n int) string { return fmt.Sprintf("0197a1b2-c3d4-7e5f-8a9b-%012x", n) }

// bigJob is a finished job as they are kept by the million.
func bigJob(n int) *stixv1.Job {
	c := n / 10_000
	return &stixv1.Job{
		Meta:       &stixv1.Meta{Uid: uuid(n), Name: "train", Workspace: "default", Owner: "user-12345678"},
		ClusterUid: uuid(1e9 + c), Number: int64(n%10_000) + 1, SpecUid: uuid(2e9 + n/100), NumNodes: 1,
		ArrayIndex: int64(n % 100), ArraySize: 100, RunTimestamp: "sky-2026-01-02-03-04-05-678901",
		State: stixv1.JobState_JOB_STATE_SUCCEEDED, NodeUids: []string{uuid(3e9 + c)}, ExitCodes: []int32{0},
		StartedAt: 1767322000e9, EndedAt: 1767322001e9, AllottedAt: 1767322000e9,
	}
}

func benchStore(b *testing.B) (*Store, func()) {
	l := &instant{}
	var ids atomic.Int64
	s := newStore(b, Config{
		Proposer: l, Now: func() int64 { return time.Now().UnixNano() },
		NewID: func() string { return uuid(int(ids.Add(1))) },
	})
	l.store = s
	s.StartTerm(1)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	return s, func() { cancel(); wg.Wait() }
}

// cpu is the processor time that the process has used: the machine may be busy with other things.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU begins to measure; the result ends it for n things.
func reportCPU(b *testing.B) func(n int, unit string) {
	before := cpu()
	b.ResetTimer()
	return func(n int, unit string) {
		b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(n), "cpu-ns/"+unit)
	}
}

// BenchmarkUpdate is small state changes from many callers, each a record put.
func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			s, stop := benchStore(b)
			defer stop()
			var n atomic.Int64
			b.ReportAllocs()
			used := reportCPU(b)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						err := s.Update(context.Background(), Actor{Subject: "bench", Verb: "put"}, func(tx *Tx) error {
							tx.Requests.Put(&stixv1.Request{Meta: &stixv1.Meta{Uid: uuid(int(i % 100_000))}, Verb: "exec"})
							return nil
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			used(b.N, "update")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
			b.ReportMetric(float64(b.N)/float64(s.Read().Revision), "updates/entry")
		})
	}
}

// BenchmarkEdit is a read, a change and a write of a job, from many callers.
func BenchmarkEdit(b *testing.B) {
	s, stop := benchStore(b)
	defer stop()
	must(b, s, func(tx *Tx) {
		for i := range 10_000 {
			tx.Jobs.Put(bigJob(i))
		}
	})
	var n atomic.Int64
	b.ReportAllocs()
	used := reportCPU(b)
	var wg sync.WaitGroup
	for range 256 {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				_ = s.Update(context.Background(), Actor{}, func(tx *Tx) error {
					tx.Jobs.Edit(uuid(int(i%10_000)), func(j *stixv1.Job) { j.Deadline = i })
					return nil
				})
			}
		})
	}
	wg.Wait()
	used(b.N, "update")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}

// BenchmarkArray is one update that puts 10,000 jobs.
func BenchmarkArray(b *testing.B) {
	s, stop := benchStore(b)
	defer stop()
	used := reportCPU(b)
	n := 0
	for ; b.Loop(); n++ {
		must(b, s, func(tx *Tx) {
			for i := range 10_000 {
				tx.Jobs.Put(bigJob(n*10_000 + i))
			}
		})
	}
	used(n*10_000, "job")
}

// BenchmarkApply is what a follower does with an entry of 512 updates of one new job each.
func BenchmarkApply(b *testing.B) {
	s := newStore(b, Config{})
	const per = 512
	entries := make([][]byte, b.N/per+1)
	for e := range entries {
		entry := &logv1.Entry{BaseRevision: uint64(e), Term: 1}
		for i := range per {
			j := bigJob(e*per + i)
			entry.Updates = append(entry.Updates, putting(b, TableJobs, j.Meta.Uid, j))
		}
		entries[e] = entryOf(b, entry)
	}
	b.ReportAllocs()
	used := reportCPU(b)
	for i, e := range entries {
		if err := s.Apply(uint64(i), 1, e); err != nil {
			b.Fatal(err)
		}
	}
	used(len(entries)*per, "change")
}

const million = 1_000_000

// millionJobs is a store with a million finished jobs.
func millionJobs(b *testing.B) *Store {
	s := newStore(b, Config{RingSize: 1})
	const per = 1000
	for e := range million / per {
		entry := &logv1.Entry{BaseRevision: uint64(e), Term: 1}
		for i := range per {
			j := bigJob(e*per + i)
			entry.Updates = append(entry.Updates, putting(b, TableJobs, j.Meta.Uid, j))
		}
		if err := s.Apply(uint64(e), 1, entryOf(b, entry)); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkMillionJobs tells the memory of a million finished jobs, the pause and the time of their snapshot, and the
// time and memory of restoring it.
func BenchmarkMillionJobs(b *testing.B) {
	if testing.Short() {
		b.Skip("needs two gigabytes")
	}
	before := heap()
	s := millionJobs(b)
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			b.ReportMetric((heap()-before)/million, "B/job")
		}
	})
	b.Run("pause", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = s.Snapshot()
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		used := reportCPU(b)
		defer func() { used(b.N, "op") }()
		for b.Loop() {
			snap, _ := s.Snapshot()
			n, err := snap.WriteTo(io.Discard)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(n)
		}
	})
	b.Run("restore", func(b *testing.B) {
		data := save(b, s)
		before := heap()
		var restored *Store
		used := reportCPU(b)
		defer func() { used(b.N, "op") }()
		for b.Loop() {
			restored = newStore(b, Config{})
			if err := restored.Restore(bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((heap()-before)/million, "B/job")
		runtime.KeepAlive(restored)
		runtime.KeepAlive(data)
	})
	runtime.KeepAlive(s)
}

// BenchmarkWatchers is a change that 10,000 watchers are told.
func BenchmarkWatchers(b *testing.B) {
	s := newStore(b, Config{})
	const watchers = 10_000
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	told := make(chan struct{}, watchers)
	for range watchers {
		w := s.Watch(0, Filter{})
		all.Go(func() {
			for {
				if _, err := w.Next(ctx); err != nil {
					return
				}
				told <- struct{}{}
			}
		})
	}
	rev := uint64(0)
	for b.Loop() {
		e := entryOf(b, &logv1.Entry{BaseRevision: rev, Term: 1, Updates: []*logv1.Update{putting(b, TableJobs, "j", job("j", "c", int64(rev)))}})
		if err := s.Apply(0, 1, e); err != nil {
			b.Fatal(err)
		}
		rev++
		for range watchers {
			<-told
		}
	}
	cancel()
	all.Wait()
}

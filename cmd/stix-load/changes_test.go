package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stix-run/stix/coordinator/consensus"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/ids"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// voter is one coordinator's records over its log on disk, leading.
type voter struct {
	store *state.Store
	stop  func()
}

// machine makes the store the state machine of the consensus.
type machine struct{ *state.Store }

func (m *machine) Snapshot() (consensus.Snapshot, error) { return m.Store.Snapshot() }

func newVoter(t testing.TB) voter {
	t.Helper()
	m := &machine{}
	node, err := consensus.New(consensus.Config{ID: "a", Dir: t.TempDir(), FSM: m})
	if err != nil {
		t.Fatal(err)
	}
	store, err := state.New(state.Config{
		Proposer: node, Now: func() int64 { return time.Now().UnixNano() }, NewID: ids.New, Barrier: node.Barrier,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Store = store
	ctx, cancel := context.WithCancel(context.Background())
	leads := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = node.Run(ctx) })
	wg.Go(func() { _ = store.Run(ctx) })
	wg.Go(func() {
		_ = node.Lead(ctx, func(ctx context.Context, term uint64) error {
			store.StartTerm(term)
			defer store.EndTerm()
			close(leads)
			<-ctx.Done()
			return nil
		})
	})
	select {
	case <-leads:
	case <-time.After(time.Minute):
		t.Fatal("it does not lead")
	}
	return voter{store: store, stop: func() { cancel(); wg.Wait() }}
}

// benchJob is a job as it waits in a queue.
func benchJob() *stixv1.Job {
	return &stixv1.Job{
		Meta:       &stixv1.Meta{Uid: ids.New(), Name: "train", Workspace: "default", Owner: "12345678"},
		ClusterUid: ids.New(), Number: 1, SpecUid: ids.New(), NumNodes: 1,
		RunTimestamp: "sky-2026-01-02-03-04-05-678901", State: stixv1.JobState_JOB_STATE_PENDING,
	}
}

// fill puts jobs into the records and returns their uids.
func (v voter) fill(t testing.TB, n int) []string {
	t.Helper()
	var uids []string
	err := v.store.Update(t.Context(), state.Actor{Subject: "bench", Verb: "fill"}, func(tx *state.Tx) error {
		uids = uids[:0]
		for range n {
			j := benchJob()
			tx.Jobs.Put(j)
			uids = append(uids, j.Meta.Uid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return uids
}

// change moves one job to a state: read, changed, written, in the log on disk, and seen.
func (v voter) change(ctx context.Context, uid string, st stixv1.JobState) error {
	return v.store.Update(ctx, state.Actor{Subject: "bench", Verb: "change", Object: uid}, func(tx *state.Tx) error {
		tx.Jobs.Edit(uid, func(j *stixv1.Job) {
			j.State = st
			j.StartedAt = tx.Now()
		})
		return nil
	})
}

// BenchmarkStateChanges is the state of 10,000 jobs changed by many callers, with the log in bolt.
func BenchmarkStateChanges(b *testing.B) {
	for _, callers := range []int{1, 64, 512, 4096} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			v := newVoter(b)
			defer v.stop()
			uids := v.fill(b, 10_000)
			b.ResetTimer()
			latency := v.changeAll(b, callers, uids)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
			b.ReportMetric(latency.at(0.5), "p50-ms")
			b.ReportMetric(latency.at(0.99), "p99-ms")
		})
	}
}

func (v voter) changeAll(b *testing.B, callers int, uids []string) series {
	var (
		next    atomic.Int64
		latency = make([]series, callers)
		wg      sync.WaitGroup
	)
	for c := range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				st := stixv1.JobState_JOB_STATE_PENDING + stixv1.JobState(i%2)
				start := time.Now()
				if err := v.change(b.Context(), uids[rand.IntN(len(uids))], st); err != nil {
					b.Error(err)
					return
				}
				latency[c].add(time.Since(start))
			}
		})
	}
	wg.Wait()
	var all series
	for _, l := range latency {
		all = append(all, l...)
	}
	return all
}

func TestChangesAreInTheRecords(t *testing.T) {
	v := newVoter(t)
	defer v.stop()
	uids := v.fill(t, 3)
	if err := v.change(t.Context(), uids[1], stixv1.JobState_JOB_STATE_RUNNING); err != nil {
		t.Fatal(err)
	}
	view := v.store.Read()
	for i, uid := range uids {
		job, ok := view.Jobs.Get(uid)
		if running := job.GetState() == stixv1.JobState_JOB_STATE_RUNNING; !ok || running != (i == 1) {
			t.Errorf("job %d is %v", i, job)
		}
	}
}

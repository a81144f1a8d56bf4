package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/stix-run/stix/client"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const (
	arraySize  = 10_000
	submitters = 64
)

// blocked is a cluster whose machine is full of jobs that sleep, with one more waiting: what comes after is put into the
// queue, and nothing of it is started meanwhile.
func (b *bench) blocked(ctx context.Context) (*site, error) {
	s, err := b.site(ctx, "queue")
	if err != nil || s.clusters["bench"] {
		return s, err
	}
	if err := s.cluster(ctx, "bench"); err != nil {
		return nil, err
	}
	full := jobsAtOnce(runtime.NumCPU())
	if _, err := s.submit(ctx, "bench", "sleep 3600", int64(full+1)); err != nil {
		return nil, err
	}
	return s, s.running(ctx, "bench", full)
}

func array(ctx context.Context, b *bench) ([]figure, error) {
	s, err := b.blocked(ctx)
	if err != nil {
		return nil, err
	}
	f := figure{
		what: "an array of 10,000 jobs committed, one call", how: "client: Submit with num_jobs 10,000", unit: ms, floor: atMost(300),
	}
	var jobs series
	server := clock{pid: s.pid()}
	if err := server.start(); err != nil {
		return nil, err
	}
	n := b.times(10)
	for range n {
		start := time.Now()
		if _, err := s.submit(ctx, "bench", "true", arraySize); err != nil {
			return nil, err
		}
		took := time.Since(start)
		f.runs.add(took)
		jobs = append(jobs, arraySize/took.Seconds())
	}
	used, err := server.used()
	if err != nil {
		return nil, err
	}
	f.note = fmt.Sprintf("`stixd` used %s of processor time for each", quantity(millis(used)/float64(n), ms))
	size, err := s.holds(ctx)
	if err != nil {
		return nil, err
	}
	perSecond := figure{row: "4", what: "jobs per second by arrays of 10,000, one client", how: f.how, unit: rate, runs: jobs, aim: atLeast(200_000)}
	return append([]figure{f, perSecond}, size...), nil
}

// holds is the memory of the server with the jobs that it holds now; nothing where that cannot be told.
func (s *site) holds(ctx context.Context) ([]figure, error) {
	info, err := s.client.Info(ctx)
	if err != nil {
		return nil, err
	}
	m, err := memoryOf(s.pid())
	if errors.Is(err, errNoProcFS) {
		return nil, nil
	}
	const jobs = 100_000
	f := figure{
		row: "37", what: "`stixd` with " + number(float64(info.GetJobs())) + " jobs, just submitted: resident memory", how: smaps, unit: mb,
		runs: series{m.rss},
	}
	if info.GetJobs() >= jobs {
		f.aim = atMost(1 << 30 / 1e6).with("100,000 jobs and 10,000 agents")
	}
	return []figure{f}, err
}

// clock counts the processor time of a process.
type clock struct {
	pid  int
	from time.Duration
}

func (c *clock) start() (err error) {
	c.from, err = cpuTime(c.pid)
	if errors.Is(err, errNoProcFS) {
		err = nil
	}
	return err
}

func (c *clock) used() (time.Duration, error) {
	now, err := cpuTime(c.pid)
	if errors.Is(err, errNoProcFS) {
		return 0, nil
	}
	return now - c.from, err
}

func submit(ctx context.Context, b *bench) ([]figure, error) {
	s, err := b.blocked(ctx)
	if err != nil {
		return nil, err
	}
	window := 3 * time.Second
	if b.quick {
		window = time.Second
	}
	perSecond := figure{
		row: "3", what: "single submissions per second from 64 clients, each with its connection", how: "client: Submit, 64 at once",
		unit: rate, aim: atLeast(10_000),
	}
	var latency series
	for range 3 {
		r, err := s.flood(ctx, window)
		if err != nil {
			return nil, err
		}
		perSecond.runs = append(perSecond.runs, float64(len(r.latency))/r.elapsed.Seconds())
		latency = append(latency, r.latency...)
		perSecond.note = r.note()
	}
	p50 := figure{row: "3", what: "one of these submissions", how: perSecond.how, unit: ms, runs: latency}
	p99 := p50
	p99.share = 0.99
	cancelled, err := s.cancelAll(ctx)
	return append([]figure{perSecond, p50, p99}, cancelled...), err
}

// flood is what came of many clients that submitted at once.
type flood struct {
	latency series
	elapsed time.Duration
	// server and clients are the processor time of each.
	server, clients time.Duration
}

func (f flood) note() string {
	n := float64(len(f.latency))
	return fmt.Sprintf("processor time for each in the last run: `stixd` %s, the clients %s",
		quantity(millis(f.server)/n, ms), quantity(millis(f.clients)/n, ms))
}

func (s *site) flood(ctx context.Context, window time.Duration) (flood, error) {
	server := clock{pid: s.pid()}
	if err := server.start(); err != nil {
		return flood{}, err
	}
	clients := usage()
	var (
		out  flood
		mu   sync.Mutex
		errs []error
		wg   sync.WaitGroup
	)
	start := time.Now()
	for range submitters {
		wg.Go(func() {
			times, err := submitFor(ctx, s.home, window)
			mu.Lock()
			defer mu.Unlock()
			out.latency = append(out.latency, times...)
			errs = append(errs, err)
		})
	}
	wg.Wait()
	out.elapsed, out.clients = time.Since(start), usage()-clients
	var err error
	out.server, err = server.used()
	return out, errors.Join(append(errs, err)...)
}

// submitFor is one client.
func submitFor(ctx context.Context, home string, window time.Duration) (series, error) {
	c, err := dial(home)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	t, err := command("true")
	if err != nil {
		return nil, err
	}
	req := &stixv1.SubmitRequest{ClusterName: "bench", Task: t}
	var times series
	for end := time.Now().Add(window); time.Now().Before(end); {
		start := time.Now()
		if _, err := c.Submit(ctx, req); err != nil {
			return times, fmt.Errorf("submit: %w", err)
		}
		times.add(time.Since(start))
	}
	return times, nil
}

// cancelAll cancels what is in the queue, and waits until the last job is over.
func (s *site) cancelAll(ctx context.Context) ([]figure, error) {
	start := time.Now()
	res, err := s.client.Cancel(ctx, &stixv1.CancelRequest{ClusterName: "bench", All: true, AllUsers: true})
	if err != nil {
		return nil, fmt.Errorf("cancel: %w", err)
	}
	asked := time.Since(start)
	if err := until(ctx, 100*time.Millisecond, func() (bool, error) { return s.over(ctx) }); err != nil {
		return nil, fmt.Errorf("wait for the end of %d cancelled jobs: %w", len(res.GetNumbers()), err)
	}
	what := fmt.Sprintf("%s queued jobs cancelled by one call", number(float64(len(res.GetNumbers()))))
	const how = "client: Cancel all"
	return []figure{
		{what: what + ", until it returns", how: how, unit: ms, runs: series{millis(asked)}},
		{what: what + ", until all are over", how: how, unit: ms, runs: series{millis(time.Since(start))}},
	}, nil
}

// over reports whether no job of the cluster waits or runs any more.
func (s *site) over(ctx context.Context) (bool, error) {
	res, err := s.client.ListJobs(ctx, &stixv1.ListJobsRequest{ClusterName: "bench", States: active(), Limit: 1})
	return err == nil && res.GetTotal() == 0, err
}

func active() []stixv1.JobState {
	var all []stixv1.JobState
	for n := range stixv1.JobState_name {
		if st := stixv1.JobState(n); n != 0 && !client.JobFinal(st) {
			all = append(all, st)
		}
	}
	return all
}

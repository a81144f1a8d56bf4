package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stix-run/stix/internal/backoff"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// jobsAtOnce is how many jobs a machine of stix runs beside one another: each takes half a processor.
func jobsAtOnce(cores int) int { return 2 * cores }

// idle measures everything that waits in one window of time: a server without clusters, an agent without jobs, and jobs
// that sleep.
func idle(ctx context.Context, b *bench) ([]figure, error) {
	all, err := b.arrangeIdle(ctx)
	if err != nil {
		return nil, err
	}
	window := 20 * time.Second
	if b.quick {
		window = 3 * time.Second
	}
	if err := backoff.Sleep(ctx, window/4); err != nil { // what started must come to rest
		return nil, err
	}
	before, err := all.cpu()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if b.pause, err = busyShare(ctx, window); err != nil {
		return nil, err
	}
	after, err := all.cpu()
	if err != nil {
		return nil, err
	}
	return all.figures(shares(before, after, time.Since(start)))
}

// waiting are the processes that are looked at.
type waiting struct{ server, agent, supervisor, shims []int }

func (b *bench) arrangeIdle(ctx context.Context) (waiting, error) {
	empty, err := b.site(ctx, "empty")
	if err != nil {
		return waiting{}, err
	}
	used, err := b.site(ctx, "main")
	if err != nil {
		return waiting{}, err
	}
	busy, err := b.site(ctx, "busy")
	if err != nil {
		return waiting{}, err
	}
	if err := used.cluster(ctx, "bench"); err != nil {
		return waiting{}, err
	}
	for range 100 { // an agent that has done nothing yet is smaller
		if _, err := used.firstByte(ctx); err != nil {
			return waiting{}, err
		}
	}
	if err := busy.cluster(ctx, "bench"); err != nil {
		return waiting{}, err
	}
	if _, err := busy.submit(ctx, "bench", "sleep 3600", int64(jobsAtOnce(1))); err != nil {
		return waiting{}, err
	}
	if err := busy.running(ctx, "bench", jobsAtOnce(1)); err != nil {
		return waiting{}, err
	}
	return settled(ctx, empty, used, busy)
}

// settled waits until every process is there: a job counts as running when it is on its way to its node.
func settled(ctx context.Context, empty, used, busy *site) (w waiting, err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tried := until(ctx, 20*time.Millisecond, func() (bool, error) {
		w, err = waitingOf(empty, used, busy)
		return err == nil, nil
	})
	if err != nil {
		return w, err // says what is missing
	}
	return w, tried
}

// running waits until so many jobs of a cluster run.
func (s *site) running(ctx context.Context, cluster string, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("%d jobs do not run after %v", n, startLimit))
	defer cancel()
	return until(ctx, 20*time.Millisecond, func() (bool, error) {
		count, err := s.states(ctx, cluster)
		return count[stixv1.JobState_JOB_STATE_RUNNING] == n, err
	})
}

func waitingOf(empty, used, busy *site) (waiting, error) {
	w := waiting{server: []int{empty.pid()}}
	var err error
	find := func(s *site, command string) (pids []int) {
		all, e := processesOf(s.home)
		err = errors.Join(err, e)
		for _, p := range all {
			if p.is("stix-agent", command) {
				pids = append(pids, p.pid)
			}
		}
		return pids
	}
	w.agent, w.supervisor, w.shims = find(used, "run"), find(used, "supervise"), find(busy, "shim")
	if err == nil && (len(w.agent) != 1 || len(w.supervisor) != 1 || len(w.shims) != jobsAtOnce(1)) {
		err = fmt.Errorf("there are %d agents, %d supervisors and %d shims: %w", len(w.agent), len(w.supervisor), len(w.shims), errNoProcFS)
	}
	return w, err
}

func (w waiting) all() []int {
	var pids []int
	for _, group := range [][]int{w.server, w.agent, w.supervisor, w.shims} {
		pids = append(pids, group...)
	}
	return pids
}

func (w waiting) cpu() (map[int]time.Duration, error) {
	times := map[int]time.Duration{}
	for _, pid := range w.all() {
		t, err := cpuTime(pid)
		if err != nil {
			return nil, err
		}
		times[pid] = t
	}
	return times, nil
}

// shares are the parts of one processor that were used, in percent.
func shares(before, after map[int]time.Duration, elapsed time.Duration) map[int]float64 {
	out := map[int]float64{}
	for pid, t := range after {
		out[pid] = 100 * float64(t-before[pid]) / float64(elapsed)
	}
	return out
}

// Where the kernel tells of memory and of processor time.
const (
	smaps     = "/proc/PID/smaps_rollup"
	schedstat = "/proc/PID/task/*/schedstat"
)

// group is the memory and the processor time of processes of one kind.
type group struct{ rss, pss, private, cpu series }

func groupOf(pids []int, cpu map[int]float64) (group, error) {
	var g group
	for _, pid := range pids {
		m, err := memoryOf(pid)
		if err != nil {
			return g, err
		}
		g.rss, g.pss, g.private = append(g.rss, m.rss), append(g.pss, m.pss), append(g.private, m.private)
		g.cpu = append(g.cpu, cpu[pid])
	}
	return g, nil
}

func (w waiting) figures(cpu map[int]float64) ([]figure, error) {
	server, err1 := groupOf(w.server, cpu)
	agent, err2 := groupOf(w.agent, cpu)
	supervisor, err3 := groupOf(w.supervisor, cpu)
	shims, err4 := groupOf(w.shims, cpu)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	return []figure{
		{row: "21", what: "`stix-agent`, idle after its jobs: resident memory", how: smaps, unit: mb, runs: agent.rss,
			floor: atMost(15), aim: atMost(15), note: own(agent)},
		{row: "21", what: "`stix-agent`, idle: share of a processor", how: schedstat, unit: percent, runs: agent.cpu,
			floor: atMost(0.1), aim: atMost(0.1)},
		{what: "the supervisor of a `local` machine, idle: resident memory", how: smaps, unit: mb, runs: supervisor.rss, note: own(supervisor)},
		{what: "the supervisor of a `local` machine, idle: share of a processor", how: schedstat, unit: percent, runs: supervisor.cpu},
		{row: "22", what: "the shim of a job that sleeps: private memory", how: smaps, unit: mb, runs: shims.private, aim: atMost(1),
			note: "resident " + quantity(shims.rss.median(), mb)},
		{row: "22", what: "the shim of a job that sleeps: share of a processor", how: schedstat, unit: percent, runs: shims.cpu, aim: atMost(0.05)},
		{row: "37", what: "`stixd` with nothing running: resident memory", how: smaps, unit: mb, runs: server.rss, floor: atMost(60),
			aim: atMost(40), note: own(server)},
		{what: "`stixd` with nothing running: share of a processor", how: schedstat, unit: percent, runs: server.cpu},
	}, nil
}

func own(g group) string {
	return fmt.Sprintf("private %s, proportional %s", quantity(g.private.median(), mb), quantity(g.pss.median(), mb))
}

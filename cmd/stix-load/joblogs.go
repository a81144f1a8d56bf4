package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/stix-run/stix/internal/loglayout"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/task"
)

// emitLine is what emit writes, 100 bytes with its end.
const emitLine = "2026-01-02T03:04:05.678901Z INFO step 000123 loss 2.3456 lr 0.000300 tokens/s 123456 gpu 0 mem 71.2\n"

// emitCommand writes lines as fast as they are taken: it is what the jobs that measure logs run.
func emitCommand(args []string, stdout, stderr io.Writer) int {
	n := int64(-1)
	if len(args) == 1 {
		if v, err := strconv.ParseInt(args[0], 10, 64); err == nil {
			n = v
		}
	}
	if n < 0 {
		fmt.Fprintln(stderr, "usage: stix-load emit BYTES")
		return exitUsage
	}
	if err := emit(stdout, n); err != nil {
		fmt.Fprintln(stderr, "stix-load:", err)
		return exitFailed
	}
	return exitOK
}

// emit writes n bytes of lines; the last one may be cut.
func emit(w io.Writer, n int64) error {
	block := make([]byte, 0, 64<<10)
	for len(block)+len(emitLine) <= cap(block) {
		block = append(block, emitLine...)
	}
	for n > 0 {
		part := block[:min(n, int64(len(block)))]
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

// logSite is a cluster that does nothing but write logs.
func (b *bench) logSite(ctx context.Context) (*site, error) {
	s, err := b.site(ctx, "logs")
	if err != nil {
		return nil, err
	}
	return s, s.cluster(ctx, "bench")
}

// emitJob starts a job that writes n bytes and then waits for some seconds.
func (s *site) emitJob(ctx context.Context, n int64, wait int) (*stixv1.SubmitResponse, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return s.submit(ctx, "bench", fmt.Sprintf("'%s' emit %d; sleep %d", self, n, wait), 0)
}

// capture measures a job's output on its way to the disk of the node. Nobody follows it meanwhile.
func capture(ctx context.Context, b *bench) ([]figure, error) {
	s, err := b.logSite(ctx)
	if err != nil {
		return nil, err
	}
	const how = "stix-load emit BYTES, as a job"
	wall := figure{row: "25", what: "a job's output to the log on its node, beside the job that writes it", how: how, unit: mbRate}
	core := figure{row: "25", what: "the same for a second of processor time of the shim", how: how, unit: mbRate, aim: atLeast(500)}
	relay := figure{row: "26", what: "a log that is on its node already, through the server to one client", how: "client: Logs", unit: mbRate}
	size := int64(b.times(512)) * 1e6
	for range b.times(3) {
		c, err := s.captureOnce(ctx, size)
		if err != nil {
			return nil, err
		}
		wall.runs = append(wall.runs, perSecond(size, c.wall))
		if c.shim > 0 {
			core.runs = append(core.runs, perSecond(size, c.shim))
		}
		relay.runs = append(relay.runs, perSecond(size, c.read))
	}
	wall.note = quantity(float64(size)/1e6, mb) + " a run"
	relay.note = wall.note
	return []figure{wall, core, relay}, nil
}

func perSecond(size int64, d time.Duration) float64 { return float64(size) / 1e6 / d.Seconds() }

// captured is how long a job's output took to its node's disk, how much processor time the shim used for that, and how long
// the log took from there to a client.
type captured struct{ wall, shim, read time.Duration }

func (s *site) captureOnce(ctx context.Context, size int64) (captured, error) {
	home, err := s.machineHome()
	if err != nil {
		return captured{}, err
	}
	res, err := s.emitJob(ctx, size, 1)
	if err != nil {
		return captured{}, err
	}
	path := filepath.Join(home, "sky_logs", loglayout.Dir(res.GetJobNumber(), task.CommandName, res.GetJobUid()), loglayout.RunFile(0, 0, 1))
	var c captured
	if c.wall, err = s.grow(ctx, path, size); err != nil {
		return captured{}, err
	}
	if c.shim, err = s.shimTime(); err != nil {
		return captured{}, err
	}
	start := time.Now()
	var last time.Duration
	_, err = s.readLog(ctx, res.GetJobUid(), func([]byte) error {
		last = time.Since(start)
		return nil
	})
	c.read = last
	return c, err
}

// grow waits until a file has its size, and tells how long that took from its first byte on.
func (s *site) grow(ctx context.Context, path string, size int64) (time.Duration, error) {
	var first time.Time
	err := until(ctx, time.Millisecond, func() (bool, error) {
		info, err := os.Stat(path)
		if err != nil || info.Size() == 0 {
			return false, nil // not yet
		}
		if first.IsZero() {
			first = time.Now()
		}
		return info.Size() >= size, nil
	})
	if err != nil {
		return 0, fmt.Errorf("wait for the log: %w", err)
	}
	return time.Since(first), nil
}

// shimTime is the processor time of the only shim; zero where that cannot be told.
func (s *site) shimTime() (time.Duration, error) {
	all, err := processesOf(s.home)
	for _, p := range all {
		if p.is("stix-agent", "shim") {
			return cpuTime(p.pid)
		}
	}
	return 0, err
}

// follow measures a job's output on its way to a client that follows it, while it is written.
func follow(ctx context.Context, b *bench) ([]figure, error) {
	s, err := b.logSite(ctx)
	if err != nil {
		return nil, err
	}
	f := figure{
		row: "26", what: "a job's output to one client that follows it while it is written", how: "client: Logs with follow", unit: mbRate,
		aim: atLeast(200),
	}
	size := int64(b.times(256)) * 1e6
	for range b.times(3) {
		r, err := s.followOnce(ctx, size)
		if err != nil {
			return nil, err
		}
		f.runs = append(f.runs, perSecond(size, r.wall))
		f.note = quantity(float64(size)/1e6, mb) + " a run; " + r.note(size)
	}
	return []figure{f}, nil
}

// followed is how long a log took to a client, and the processor time of those on its way.
type followed struct{ wall, agent, server, client time.Duration }

func (f followed) note(size int64) string {
	each := func(d time.Duration) string { return quantity(millis(d)*1e6/float64(size), ms) }
	return fmt.Sprintf("processor time for each MB in the last run: agent %s, `stixd` %s, client %s", each(f.agent), each(f.server), each(f.client))
}

func (s *site) followOnce(ctx context.Context, size int64) (followed, error) {
	agent := clock{}
	all, err := processesOf(s.home)
	if err != nil {
		return followed{}, err
	}
	for _, p := range all {
		if p.is("stix-agent", "run") {
			agent.pid = p.pid
		}
	}
	server := clock{pid: s.pid()}
	for _, c := range []*clock{&agent, &server} {
		if err := c.start(); err != nil {
			return followed{}, err
		}
	}
	own := usage()
	res, err := s.emitJob(ctx, size, 0)
	if err != nil {
		return followed{}, err
	}
	var out followed
	var first time.Time
	got, err := s.readLog(ctx, res.GetJobUid(), func([]byte) error {
		if first.IsZero() {
			first = time.Now()
		}
		out.wall = time.Since(first)
		return nil
	})
	if err == nil && got != size {
		err = fmt.Errorf("%d of %d bytes came", got, size)
	}
	if err != nil {
		return followed{}, err
	}
	out.client = usage() - own
	if out.agent, err = agent.used(); err != nil {
		return followed{}, err
	}
	out.server, err = server.used()
	return out, err
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// A job writes mark, which is not in its text: commands repeat that to the user before anything runs.
const (
	markText = "echo mark-$((40+2))"
	mark     = "mark-42"
)

// warmUps are runs before those that count: files get into the page cache.
const warmUps = 3

func sizes(_ context.Context, b *bench) ([]figure, error) {
	limits := map[string][2]limit{"stix": {atMost(25)}, "stix-agent": {atMost(15), atMost(12)}}
	rows := map[string]string{"stix-agent": "21"}
	var out []figure
	for _, name := range programs() {
		info, err := os.Stat(filepath.Join(b.bin, name))
		if err != nil {
			return out, err
		}
		out = append(out, figure{
			row: rows[name], what: "`" + name + "`, stripped, on disk", how: "make build", unit: mb, only: true,
			runs: series{float64(info.Size()) / 1e6}, floor: limits[name][0], aim: limits[name][1],
		})
	}
	return out, nil
}

func status(ctx context.Context, b *bench) ([]figure, error) {
	s, err := b.site(ctx, "main")
	if err != nil {
		return nil, err
	}
	if err := s.cluster(ctx, "bench"); err != nil {
		return nil, err
	}
	f := figure{
		what: "`stix status` against a running server with a cluster, whole process", how: "stix status", unit: ms, floor: atMost(30),
	}
	for i := range warmUps + b.times(50) {
		start := time.Now()
		if err := s.run(ctx, "status"); err != nil {
			return nil, err
		}
		if i >= warmUps {
			f.runs.add(time.Since(start))
		}
	}
	return []figure{f}, nil
}

// firstLine runs a program until it ends and tells when it wrote a line with the mark, counted from before it was started.
func firstLine(cmd *exec.Cmd) (time.Duration, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var at time.Duration
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if at == 0 && strings.Contains(lines.Text(), mark) {
			at = time.Since(start)
		}
	}
	if err := cmd.Wait(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, stderr.Bytes())
	}
	if at == 0 {
		return 0, fmt.Errorf("%s: no line with %q", strings.Join(cmd.Args, " "), mark)
	}
	return at, nil
}

func execFirstLine(ctx context.Context, b *bench) ([]figure, error) {
	s, err := b.site(ctx, "main")
	if err != nil {
		return nil, err
	}
	if err := s.cluster(ctx, "bench"); err != nil {
		return nil, err
	}
	f := figure{
		row: "11", what: "`stix exec` to its first line of output at the client, from before the process starts",
		how: "stix exec CLUSTER 'echo …'", unit: ms, floor: atMost(40), aim: atMost(40),
	}
	for i := range warmUps + b.times(50) {
		at, err := firstLine(b.command(ctx, s.home, "stix", "exec", "bench", markText))
		if err != nil {
			return nil, err
		}
		if i >= warmUps {
			f.runs.add(at)
		}
	}
	return []figure{f}, nil
}

func firstByte(ctx context.Context, b *bench) ([]figure, error) {
	s, err := b.site(ctx, "main")
	if err != nil {
		return nil, err
	}
	if err := s.cluster(ctx, "bench"); err != nil {
		return nil, err
	}
	var runs series
	for i := range warmUps + b.times(200) {
		at, err := s.firstByte(ctx)
		if err != nil {
			return nil, err
		}
		if i >= warmUps {
			runs.add(at)
		}
	}
	f := figure{
		row: "11", what: "a job from its submission to the first byte of its log, from within a process that is connected",
		how: "client: Submit, then Logs", unit: ms, runs: runs, aim: atMost(10),
	}
	p99 := f
	p99.share, p99.aim = 0.99, atMost(50)
	return []figure{f, p99}, nil
}

// firstByte submits a job and waits for the first byte of its log, then for its end.
func (s *site) firstByte(ctx context.Context) (time.Duration, error) {
	var at time.Duration
	start := time.Now()
	res, err := s.submit(ctx, "bench", markText, 0)
	if err != nil {
		return 0, err
	}
	_, err = s.readLog(ctx, res.GetJobUid(), func([]byte) error {
		if at == 0 {
			at = time.Since(start)
		}
		return nil
	})
	if err == nil && at == 0 {
		err = errors.New("the job wrote nothing")
	}
	return at, err
}

func launch(ctx context.Context, b *bench) ([]figure, error) {
	f := figure{
		what: "`stix launch` on `local` from nothing running (the server is started) to its first line of output",
		how:  "stix launch -y -c CLUSTER --infra local 'echo …'", unit: ms, floor: atMost(1500),
	}
	for i := range 1 + b.times(10) {
		at, err := b.launchOnce(ctx)
		if err != nil {
			return nil, err
		}
		if i >= 1 {
			f.runs.add(at)
		}
	}
	return []figure{f}, nil
}

// launchOnce launches in a home of its own, and takes everything down.
func (b *bench) launchOnce(ctx context.Context) (time.Duration, error) {
	home, err := b.newHome("launch")
	if err != nil {
		return 0, err
	}
	at, err := firstLine(b.command(ctx, home, "stix", "launch", "-y", "-c", "bench", "--infra", "local", markText))
	if err != nil {
		return 0, err
	}
	if err := b.stix(ctx, home, "down", "-y", "bench"); err != nil {
		return 0, err
	}
	if err := b.stix(ctx, home, "api", "stop"); err != nil {
		return 0, err
	}
	return at, os.RemoveAll(home)
}

// states counts the jobs of a cluster by state, of those that are not over.
func (s *site) states(ctx context.Context, cluster string) (map[stixv1.JobState]int, error) {
	res, err := s.client.ListJobs(ctx, &stixv1.ListJobsRequest{ClusterName: cluster})
	if err != nil {
		return nil, err
	}
	count := map[stixv1.JobState]int{}
	for _, j := range res.GetJobs() {
		count[j.GetJob().GetState()]++
	}
	return count, nil
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stix-run/stix/agent/session/sessiontest"
	"github.com/stix-run/stix/internal/bootstrap"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// built is the program as it is shipped.
func built(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "stix-agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// node is the program with a directory and a coordinator.
type node struct {
	testing.TB
	program, dir string
	coordinator  *sessiontest.Coordinator
	cmd          *exec.Cmd
}

// started runs the program against a coordinator on a unix socket.
func started(tb testing.TB, program string) *node {
	tb.Helper()
	dir, err := os.MkdirTemp("", "stix") // sockets have short names
	if err != nil {
		tb.Fatal(err)
	}
	c, err := sessiontest.New("token")
	if err != nil {
		tb.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	stop, err := c.Serve(l)
	if err != nil {
		tb.Fatal(err)
	}
	data, err := bootstrap.Encode(bootstrap.Bootstrap{
		NodeUID: "n", ClusterID: sessiontest.Cluster, CAPin: c.Pin(), JoinToken: "token",
		Coordinators: []string{"unix://" + socket}, Home: filepath.Join(dir, "home"),
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, bootstrap.FileName), data, 0o600); err != nil {
		tb.Fatal(err)
	}
	n := &node{TB: tb, program: program, dir: dir, coordinator: c}
	n.start()
	tb.Cleanup(func() {
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		if err := n.cmd.Wait(); err != nil {
			tb.Errorf("agent: %v", err)
		}
		stop()
		os.RemoveAll(dir)
	})
	return n
}

func (n *node) start() {
	n.Helper()
	n.cmd = exec.Command(n.program, "run", "--dir", n.dir, "--log-level", "error")
	n.cmd.Stderr = os.Stderr
	if err := n.cmd.Start(); err != nil {
		n.Fatal(err)
	}
}

func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

func (n *node) pid() int { return n.cmd.Process.Pid }

func until(tb testing.TB, c *sessiontest.Coordinator, done func(sessiontest.Snapshot) bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.Until(ctx, done); err != nil {
		tb.Fatal(err)
	}
}

// TestProgramRunsAJob is the program as it is shipped, from bootstrap file to exit
// code.
func TestProgramRunsAJob(t *testing.T) {
	c := started(t, built(t)).coordinator
	c.Order(&stixv1.Order{AssignmentUid: "a", LogDir: "1-x", LogFile: "run.log", Script: "echo $USER; exit 3", Phase: stixv1.Phase_PHASE_RUN})
	until(t, c, func(s sessiontest.Snapshot) bool {
		return s.Assignments["a"].Complete && s.Assignments["a"].Status.GetExitCode() == 3
	})
	if log := string(c.State().Assignments["a"].Log); strings.TrimSpace(log) == "" {
		t.Errorf("job has no USER: %q", log)
	}
}

func TestProgramMayBeKilledAtAnyTime(t *testing.T) {
	n := started(t, built(t))
	c := n.coordinator
	c.Order(&stixv1.Order{
		AssignmentUid: "a", LogDir: "1-x", LogFile: "run.log", Phase: stixv1.Phase_PHASE_RUN,
		Script: "for i in $(seq 1 100); do echo line $i; sleep 0.02; done; exit 9",
	})
	for i := 1; i <= 4; i++ {
		c.Follow("a", false)
		seen := fmt.Sprintf("line %d\n", 15*i)
		until(t, c, func(s sessiontest.Snapshot) bool { return bytes.Contains(s.Assignments["a"].Log, []byte(seen)) })
		n.kill()
		n.start()
		until(t, c, func(s sessiontest.Snapshot) bool { return len(s.Hellos) == i+1 })
	}
	until(t, c, func(s sessiontest.Snapshot) bool { return s.Assignments["a"].Status.GetExitCode() == 9 })
	until(t, c, func(s sessiontest.Snapshot) bool { return s.Assignments["a"].Complete })
	var want strings.Builder
	for i := 1; i <= 100; i++ {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if log := string(c.State().Assignments["a"].Log); log != want.String() {
		t.Errorf("log %q", log)
	}
}

func TestUsageAndExitCodes(t *testing.T) {
	program := built(t)
	for args, want := range map[string]int{"": 2, "nonsense": 2, "run": 2, "run --bad": 2, "supervise": 2, "version": 0, "run --dir /nonexistent": 1, "run --help": 0} {
		cmd := exec.Command(program, strings.Fields(args)...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%q: exit %d, want %d: %s", args, got, want, out)
		}
	}
}

// BenchmarkIdle is the size of the program, of an agent that does nothing, and of a
// shim whose job does nothing.
func BenchmarkIdle(b *testing.B) {
	program := built(b)
	info, err := os.Stat(program)
	if err != nil {
		b.Fatal(err)
	}
	n := started(b, program)
	pid, c := n.pid(), n.coordinator
	until(b, c, func(s sessiontest.Snapshot) bool { return s.Heartbeats >= 2 })
	before := cpu(b, pid)
	const idle = 15 * time.Second
	timer := time.NewTimer(idle)
	<-timer.C
	b.ReportMetric(float64(info.Size())/1e6, "disk-MB")
	b.ReportMetric(float64(rollup(b, pid)["Rss"])/1e3, "rss-MB")
	b.ReportMetric(100*float64(cpu(b, pid)-before)/float64(idle), "cpu-%")

	c.Order(&stixv1.Order{AssignmentUid: "a", LogDir: "1-x", LogFile: "run.log", Script: "sleep 30", Phase: stixv1.Phase_PHASE_RUN})
	until(b, c, func(s sessiontest.Snapshot) bool { return s.Assignments["a"].Status.GetPid() != 0 })
	shell := int(c.State().Assignments["a"].Status.GetPid())
	shim := parent(b, shell)
	<-time.NewTimer(3 * time.Second).C
	r := rollup(b, shim)
	b.ReportMetric(float64(r["Private_Dirty"])/1e3, "shim-private-MB")
	b.ReportMetric(float64(r["Rss"])/1e3, "shim-rss-MB")
	c.Order(&stixv1.Order{AssignmentUid: "a", Goal: stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL})
	until(b, c, func(s sessiontest.Snapshot) bool { return s.Assignments["a"].Status.GetExitCode() == 137 })
}

// rollup returns the lines of smaps_rollup in kB.
func rollup(tb testing.TB, pid int) map[string]int {
	tb.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		tb.Fatal(err)
	}
	sizes := map[string]int{}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[2] == "kB" {
			sizes[strings.TrimSuffix(f[0], ":")], _ = strconv.Atoi(f[1])
		}
	}
	return sizes
}

func stat(tb testing.TB, pid int) []string {
	tb.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return strings.Fields(rest)
}

func parent(tb testing.TB, pid int) int {
	n, _ := strconv.Atoi(stat(tb, pid)[1])
	return n
}

// cpu returns the time that the threads of a process have used.
func cpu(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	var sum time.Duration
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // the thread ended
		}
		used, _ := strconv.ParseInt(strings.Fields(string(data))[0], 10, 64)
		sum += time.Duration(used)
	}
	return sum
}

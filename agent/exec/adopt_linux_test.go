package exec

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// childAgent is an agent in a process of its own: it starts one job, says so and
// waits to be killed.
func childAgent(home, dir, uid string) int {
	self, _ := os.Executable()
	p, err := NewProcesses(ProcessConfig{
		Dir: dir, Shim: []string{self, "shim"}, BootID: "boot", Env: []string{"GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH")},
		LogSize: func(string) (int64, error) { return 0, nil }, Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 1
	}
	proc, err := p.Start(context.Background(), Job{Home: home, Order: &stixv1.Order{
		AssignmentUid: uid, LogDir: "1-x", LogFile: "tasks/" + uid + ".log", Script: string(text), Phase: stixv1.Phase_PHASE_RUN,
	}})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started", proc.Started().PID)
	select {}
}

// killedAgent starts a job in another agent and kills that with SIGKILL.
func (n *node) killedAgent(text string) {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(self, "agent", n.home, n.dir, n.uid)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "started") {
		n.t.Fatalf("agent said %q, %v", line, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestKilledAgentsJobIsAdoptedWithEveryLineOnce(t *testing.T) {
	n := newNode(t)
	n.killedAgent("for i in $(seq 1 40); do echo line $i; sleep 0.01; done; exit 7")
	j := n.job(n.uid, "")
	p, ok, err := n.exec.Adopt(t.Context(), j)
	if err != nil || !ok {
		t.Fatalf("adopt: %v, %v", ok, err)
	}
	if p.Started().PID == 0 {
		t.Error("adopted without a pid")
	}
	if r := wait(t, p); r.ExitCode != 7 || r.Outcome != stixv1.Outcome_OUTCOME_EXITED {
		t.Fatalf("result %+v", r)
	}
	var want strings.Builder
	for i := 1; i <= 40; i++ {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if log := n.log(j); log != want.String() {
		t.Fatalf("log %q", log)
	}
}

func TestAdoptedJobCanBeKilled(t *testing.T) {
	n := newNode(t)
	n.killedAgent(stubborn)
	j := n.job(n.uid, "")
	log := n.followed(j, "deep")
	p, ok, err := n.exec.Adopt(t.Context(), j)
	if err != nil || !ok {
		t.Fatalf("adopt: %v, %v", ok, err)
	}
	p.Kill(10 * time.Millisecond)
	if r := wait(t, p); r.Outcome != stixv1.Outcome_OUTCOME_KILLED {
		t.Fatalf("result %+v", r)
	}
	for _, pid := range pids(t, log) {
		gone(t, pid)
	}
}

func TestJobThatEndedWithoutAnAgentIsAdopted(t *testing.T) {
	n := newNode(t)
	j := n.job(n.uid, "echo done; exit 4")
	wait(t, n.start(j))
	p, ok, err := n.exec.Adopt(t.Context(), j)
	if err != nil || !ok {
		t.Fatalf("adopt: %v, %v", ok, err)
	}
	if r := wait(t, p); r.ExitCode != 4 || r.LogBytes != 5 || p.Started().PID == 0 {
		t.Fatalf("result %+v, started %+v", r, p.Started())
	}
}

func TestShimKilledWhileNoAgentRanIsLost(t *testing.T) {
	n := newNode(t)
	n.killedAgent("sleep 1000 & echo child $!; echo ready; wait")
	j := n.job(n.uid, "")
	log := n.followed(j, "ready")
	s, err := readStart(filepath.Join(n.dir, n.uid))
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(s.ShimPID, syscall.SIGKILL)
	gone(t, s.ShimPID)
	p, ok, err := n.exec.Adopt(t.Context(), j)
	if err != nil || !ok {
		t.Fatalf("adopt: %v, %v", ok, err)
	}
	if r := wait(t, p); r.Outcome != stixv1.Outcome_OUTCOME_LOST {
		t.Fatalf("result %+v", r)
	}
	gone(t, pids(t, log)["child"])
}

func TestSweepEndsWhatIsNotOnRecord(t *testing.T) {
	n := newNode(t)
	n.killedAgent("sleep 1000 & echo child $!; echo ready; wait")
	log := n.followed(n.job(n.uid, ""), "ready")
	if err := n.exec.Sweep(t.Context(), func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	gone(t, pids(t, log)["child"])
	if entries, err := os.ReadDir(n.dir); err != nil || len(entries) != 0 {
		t.Fatalf("left %v, %v", entries, err)
	}
}

func TestAfterARebootTheJobIsLost(t *testing.T) {
	n := newNode(t)
	dir := filepath.Join(n.dir, n.uid)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, fileAlive), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(dir, fileStart, startFile{headerOf(fileStart), 1, "earlier", 1}); err != nil {
		t.Fatal(err)
	}
	p, ok, err := n.exec.Adopt(t.Context(), n.job(n.uid, ""))
	if err != nil || !ok {
		t.Fatalf("adopt: %v, %v", ok, err)
	}
	if r := wait(t, p); r.Outcome != stixv1.Outcome_OUTCOME_LOST || r.Message != "machine was restarted" {
		t.Fatalf("result %+v", r)
	}
}

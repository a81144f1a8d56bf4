//go:build integration && linux

package binaries

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestJobAndFollowerSurviveTheDeathOfEveryProcess kills what is between a job and its reader while lines flow.
func TestJobAndFollowerSurviveTheDeathOfEveryProcess(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	m := h.machines()[0]
	const total = 70
	f := h.start("exec", "demo", fmt.Sprintf(`for i in $(seq 1 %d); do echo line $i of $$; sleep 0.1; done`, total))

	f.until("line 5 of")
	h.kill(h.server())
	h.serverAgain()
	f.until("line 15 of")
	h.kill(h.server())
	h.serverAgain()
	f.until("line 25 of")
	h.kill(h.agent(m))
	f.until("line 35 of")
	eventually(t, settleLimit, "another agent", func() bool { return h.agent(m) != 0 })
	h.kill(h.supervisor(m))
	f.until("line 45 of")
	h.kill(h.agent(m)) // nobody restarts it until the driver's sweep has found that there is no supervisor
	r := f.wait()
	if r.code != 0 {
		t.Fatalf("the follower failed: %v", r)
	}
	checkLines(t, r.stdout, total)

	again := h.ok("logs", "demo", "1", "--tail", "0")
	if jobLines(again.stdout) != jobLines(r.stdout) {
		t.Errorf("read again, the log is another:\n%s\nand was\n%s", again.stdout, r.stdout)
	}
	if j := h.job("demo", 1); j.Status != "SUCCEEDED" {
		t.Errorf("the job is %+v", j)
	}
	h.ok("exec", "demo", "true") // the machine is as good as before
	h.end()
	if after := h.ok("logs", "demo", "1", "--tail", "0"); after.stdout != again.stdout {
		t.Errorf("after down the log is another:\n%s\nand was\n%s", after.stdout, again.stdout)
	}
	h.end()
}

// TestJobSurvivesAllProcessesAtOnce kills all of stix but the shim in one moment, with nobody watching.
func TestJobSurvivesAllProcessesAtOnce(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	m := h.machines()[0]
	const total = 40
	h.ok("exec", "demo", "-d", fmt.Sprintf(`for i in $(seq 1 %d); do echo line $i of $$; echo $i >>%s/ran; sleep 0.1; done; exit 3`, total, h.work))
	eventually(t, settleLimit, "the job runs", func() bool { return len(h.read("ran")) > 3 })
	for _, pid := range []int{h.server(), h.supervisor(m), h.agent(m)} {
		h.kill(pid)
	}
	eventually(t, settleLimit, "the job runs to its end by itself", func() bool { return len(h.read("ran")) == total })
	r := h.code(100, "logs", "demo", "1", "--tail", "0")
	checkLines(t, r.stdout, total)
	if j := h.job("demo", 1); j.Status != "FAILED" || len(j.ExitCodes) != 1 || j.ExitCodes[0] != 3 {
		t.Errorf("the job is %+v", j)
	}
	h.end()
}

var jobLine = regexp.MustCompile(`^\(sky-cmd, pid=(\d+)\) line (\d+) of (\d+)$`)

// checkLines checks that each line of a job is there once, in order, and that one process wrote them.
func checkLines(t *testing.T, text string, total int) {
	t.Helper()
	pids, next := map[string]bool{}, 1
	for _, line := range lines(jobLines(text)) {
		m := jobLine.FindStringSubmatch(line)
		if m == nil || m[2] != fmt.Sprint(next) {
			t.Fatalf("line %d wanted, not %q, in\n%s", next, line, text)
		}
		pids[m[1]+"/"+m[3]] = true
		next++
	}
	if next != total+1 || len(pids) != 1 {
		t.Fatalf("%d lines, not %d, of %d processes, not 1, in\n%s", next-1, total, len(pids), text)
	}
}

// jobLines are the lines of the job itself.
func jobLines(text string) string {
	var all strings.Builder
	for _, line := range lines(text) {
		if strings.HasPrefix(line, "(") {
			all.WriteString(line + "\n")
		}
	}
	return all.String()
}

//go:build integration && linux

package binaries

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newMark returns a time to sleep that no other process of this computer sleeps. What still sleeps it when the test ends
// is killed.
func (h *home) newMark() string {
	mark := fmt.Sprintf("300.%09d", rand.IntN(1e9))
	h.t.Cleanup(func() {
		for _, p := range sleepers(mark) {
			syscall.Kill(p.pid, syscall.SIGKILL)
		}
	})
	return mark
}

// stubborn is a job that ignores what can be ignored, and leaves its session, its parents and its environment.
func stubborn(mark string) string {
	return strings.ReplaceAll(`
trap "" TERM INT HUP
sleep MARK &
setsid sh -c 'trap "" TERM; sleep MARK & wait; sleep MARK' & disown
( ( setsid nohup env -i /bin/sh -c 'trap "" TERM; cd /; sleep MARK; :' </dev/null >/dev/null 2>&1 & ) & )
( cd /; exec setsid bash -c 'trap "" TERM; ( sleep MARK & ) ; exec sleep MARK' </dev/null >/dev/null 2>&1 & )
echo ready
sleep MARK; sleep MARK
`, "MARK", mark)
}

// startStubborn runs such a job and returns when all of it is there.
func (h *home) startStubborn(cluster string) (*follower, string) {
	h.t.Helper()
	mark := h.newMark()
	f := h.start("exec", cluster, stubborn(mark))
	f.until("ready")
	eventually(h.t, settleLimit, "all processes of the job", func() bool { return len(sleepers(mark)) == 8 })
	return f, mark
}

// sleepers are the processes that sleep for the time of the mark, and their shells; not stix's own command.
func sleepers(mark string) []process {
	return slices.DeleteFunc(marked(mark), func(p process) bool { return strings.HasPrefix(p.args, os.Getenv("STIX_TEST_BIN")) })
}

func TestCancelEndsAllThatAJobStarted(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	f, mark := h.startStubborn("demo")
	h.ok("cancel", "demo", "1", "-y")
	if r := f.wait(); r.code != 103 {
		t.Errorf("the follower of a cancelled job: %v", r)
	}
	h.noSleepers(mark)
	h.code(103, "logs", "demo", "1", "--status")
	h.ok("exec", "demo", "echo the machine is as before")
	h.end()
}

func TestDownEndsAllThatAJobStarted(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	f, mark := h.startStubborn("demo")
	h.ok("down", "-y", "demo")
	if left := sleepers(mark); len(left) > 0 {
		t.Errorf("left when down had ended: %v", left)
	}
	if r := f.wait(); r.code != 103 {
		t.Errorf("the follower of a job whose cluster went: %v", r)
	}
	h.code(103, "logs", "demo", "1", "--status")
	h.end()
}

// A job that ends by itself takes its daemons with it, and one whose agent died is still ended by its machine.
func TestNoDaemonOutlivesItsJob(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	mark := h.newMark()
	r := h.ok("exec", "demo", strings.ReplaceAll(`
( ( setsid nohup env -i /bin/sh -c 'trap "" TERM; sleep MARK; :' </dev/null >/dev/null 2>&1 & ) & )
while ! pgrep -f 'sleep MARK$' >/dev/null; do sleep 0.05; done
echo bye`, "MARK", mark))
	matches(t, r.stdout, `(?m)^\(sky-cmd, pid=\d+\) bye$`)
	h.noSleepers(mark)

	f, mark := h.startStubborn("demo")
	m := h.machines()[0]
	h.kill(h.server())
	h.kill(h.supervisor(m))
	h.kill(h.agent(m))
	h.ok("down", "-y", "demo")
	if left := sleepers(mark); len(left) > 0 {
		t.Errorf("left when down had ended: %v", left)
	}
	if r := f.wait(); r.code != 103 {
		t.Errorf("the follower of a job whose cluster went: %v", r)
	}
	h.end()
}

// The shim is all that stands between a job and nothing: without it the job is lost, and must not run on unseen.
func TestJobWithoutItsShimIsEnded(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	f, mark := h.startStubborn("demo")
	shims := running(func(proc string) bool {
		data, err := os.ReadFile(proc + "/cmdline")
		return err == nil && strings.Contains(string(data), "stix-agent\x00shim\x00"+h.dir+"/")
	})
	if len(shims) != 1 {
		t.Fatalf("the shims are %v", shims)
	}
	h.kill(shims[0].pid)
	if r := f.wait(); r.code != 100 || !strings.Contains(r.stdout, "FAILED_DRIVER") {
		t.Errorf("the follower of a lost job: %v", r)
	}
	// Without its shim a job is known by the mark in its environment. The two processes that cleared theirs and left
	// their parents cannot be told from what a setup left running; they go with the machine.
	eventually(t, settleLimit, "the marked processes of the lost job are gone", func() bool { return len(sleepers(mark)) <= 2 })
	h.ok("exec", "demo", "echo the machine is as before")
	h.end()
	if left := sleepers(mark); len(left) > 0 {
		t.Errorf("left when the machine was gone: %v", left)
	}
}

func TestFirstFailureOfAGangEndsTheOthers(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("gang", "--num-nodes", "4")
	mark := h.newMark()
	run := `if [ $SKYPILOT_NODE_RANK = 2 ]; then WAIT; exit 3; fi; echo up >>` + h.work + `/up; sleep ` + mark
	for i, wait := range []string{
		// The others surely run, and perhaps not yet.
		`while [ $(wc -l <` + h.work + `/up) != 3 ] 2>/dev/null; do sleep 0.05; done`, `:`,
	} {
		r := h.code(100, "exec", "gang", "--num-nodes", "4", strings.ReplaceAll(run, "WAIT", wait))
		matches(t, r.stdout, fmt.Sprintf(`(?m)^ERROR: Job %d failed with return code list: \[137, 137, 3, 137\]`, i+1),
			`(?m)^✓ Job finished \(status: FAILED\)\.$`)
		if j := h.job("gang", int64(i+1)); j.Status != "FAILED" || !slices.Equal(j.ExitCodes, []int32{137, 137, 3, 137}) {
			t.Errorf("the job is %+v", j)
		}
		h.noSleepers(mark)
	}
	h.end()
}

func (h *home) noSleepers(mark string) {
	h.t.Helper()
	if !poll(15*time.Second, func() bool { return len(sleepers(mark)) == 0 }) {
		h.t.Errorf("processes of a job that ended: %v", sleepers(mark))
	}
}

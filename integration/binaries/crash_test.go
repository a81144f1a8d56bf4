//go:build integration && linux

package binaries

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// crashRounds is how many launches are crashed; their seeds begin where crashSeed says.
const crashRounds = 15

// TestServerKilledInTheMiddleOfEachStep kills the server once in launch, in exec and in down, each at a random moment.
func TestServerKilledInTheMiddleOfEachStep(t *testing.T) {
	t.Parallel()
	base := uint64(time.Now().Unix()) * 100
	for i := range uint64(crashRounds) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			crashRound(t, base+i)
		})
	}
}

func crashRound(t *testing.T, seed uint64) {
	h := newHome(t)
	h.crashed = true
	random := seeded(t, seed)
	h.ok("api", "start")
	run := "echo $SKYPILOT_INTERNAL_JOB_ID-$SKYPILOT_NODE_RANK >>" + h.work + "/ran; echo hello; sleep 0.1; echo bye"
	crash := func(args ...string) result {
		t.Helper()
		pid := h.server()
		f := h.start(args...)
		delay := time.Duration(random.Int64N(int64(300 * time.Millisecond)))
		t.Logf("kill the server %v after stix %q", delay, args)
		<-time.After(delay)
		h.kill(pid)
		h.serverAgain()
		r := f.wait()
		if r.code != 0 {
			t.Fatalf("killed after %v: %v", delay, r)
		}
		return r
	}
	streamed := func(r result) {
		t.Helper()
		matches(t, r.stdout, `(?s)rank=0,[^\n]* hello\n.*rank=0,[^\n]* bye\n`, `(?s)rank=1,[^\n]* hello\n.*rank=1,[^\n]* bye\n`)
		if n := len(lines(jobLines(r.stdout))); n != 4 {
			t.Errorf("%d lines, not 4: %v", n, r)
		}
	}
	streamed(crash("launch", "-y", "-c", "demo", "--infra", "local", "--num-nodes", "2", run))
	h.machinesAreRecorded(2)
	streamed(crash("exec", "demo", "--num-nodes", "2", run))
	h.machinesAreRecorded(2)
	if ran := sorted(h.read("ran")); !slices.Equal(ran, []string{"1-0", "1-1", "2-0", "2-1"}) {
		t.Errorf("what ran is %q", ran)
	}
	jobs := h.jobs("demo")
	for _, j := range jobs {
		if j.Status != "SUCCEEDED" || !slices.Equal(j.ExitCodes, []int32{0, 0}) {
			t.Errorf("a job is %+v", j)
		}
	}
	if clusters := h.clusters(); len(jobs) != 2 || len(clusters) != 1 || clusters[0].Status != "UP" {
		t.Errorf("%d jobs, not 2, and clusters %+v", len(jobs), clusters)
	}
	crash("down", "-y", "demo")
	if clusters := h.clusters(); len(clusters) != 0 {
		t.Errorf("clusters left: %+v", clusters)
	}
	h.machinesAreRecorded(0)
	h.end()
	streamed(h.ok("logs", "demo", "2"))
	h.end()
}

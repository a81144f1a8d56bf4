package integration

import (
	"fmt"
	"slices"
	"testing"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// life is what a user does with a cluster: launch, exec, an array, down. What it reads has to be complete and said
// once, whatever happens to the coordinator meanwhile.
func life(w *world) {
	w.t.Helper()
	c := w.user()
	first := w.launch(c, "demo", task(2, "print hello from $SKYPILOT_NODE_RANK; sleep 2s; print bye"))
	lines, end := w.read(c, first.JobUid)
	if want := []string{"bye", "bye", "hello from 0", "hello from 1"}; !slices.Equal(lines, want) {
		w.t.Errorf("the job printed %q, want %q", lines, want)
	}
	w.wantEnd(end, stixv1.JobState_JOB_STATE_SUCCEEDED, 0, 0)

	failed, err := c.Submit(w.t.Context(), &stixv1.SubmitRequest{ClusterName: "demo", Task: task(1, "print oops; exit 3")})
	if err != nil {
		w.t.Fatalf("exec: %v", err)
	}
	lines, end = w.read(c, failed.JobUid)
	if !slices.Equal(lines, []string{"oops"}) {
		w.t.Errorf("the job printed %q", lines)
	}
	w.wantEnd(end, stixv1.JobState_JOB_STATE_FAILED, 3)

	array, err := c.Submit(w.t.Context(), &stixv1.SubmitRequest{
		ClusterName: "demo", Task: task(1, "print job $STIX_JOB_INDEX; sleep 1s"), NumJobs: 6,
	})
	if err != nil {
		w.t.Fatalf("array: %v", err)
	}
	if array.LastJobNumber-array.JobNumber != 5 {
		w.t.Errorf("array is %d to %d", array.JobNumber, array.LastJobNumber)
	}
	w.readArray(c, "demo", array.JobNumber, array.LastJobNumber)
	w.down(c, "demo")
	if live := w.cloud.Live(); len(live) > 0 {
		w.t.Errorf("down left %d machines", len(live))
	}
	if jobs, _ := c.ListJobs(w.t.Context(), &stixv1.ListJobsRequest{ClusterName: "demo", History: true}); jobs.GetTotal() != 8 {
		w.t.Errorf("%d jobs on record, want 8", jobs.GetTotal())
	}
}

func (w *world) wantEnd(end *stixv1.LogState, want stixv1.JobState, codes ...int32) {
	w.t.Helper()
	if end.GetState() != want || !slices.Equal(end.GetExitCodes(), codes) {
		w.t.Errorf("the job ended %s %v (%s), want %s %v", end.GetState(), end.GetExitCodes(), end.GetReason(), want, codes)
	}
}

// TestLifeOfACluster is the scenario without faults.
func TestLifeOfACluster(t *testing.T) {
	if n := inWorld(t, 0, life); n < 20 {
		t.Errorf("only %d steps were counted: the crash table would be short", n)
	}
}

// TestCrashAtEveryStep kills the coordinator once in each run: before and after every entry of the log and every call
// to the cloud, one after the other. Each run has to end as if nothing had happened.
func TestCrashAtEveryStep(t *testing.T) {
	crashed := true
	for n := 1; crashed; n++ {
		t.Run(fmt.Sprintf("step %d", n), func(t *testing.T) {
			crashed = crashAt(t, n, inWorld, life)
		})
		if n > 2000 {
			t.Fatal("the scenario does not end")
		}
		if t.Failed() {
			return
		}
	}
}

// opener is inWorld or inWorldOfThree.
type opener = func(t *testing.T, crashAt int, scenario func(*world)) int

// crashAt runs a scenario with a crash at step n; false when there were fewer steps.
func crashAt(t *testing.T, n int, in opener, scenario func(*world)) bool {
	t.Helper()
	reached := false
	in(t, n, func(w *world) {
		done := make(chan struct{})
		killer := make(chan struct{})
		go func() {
			defer close(killer)
			select {
			case host := <-w.steps.reached:
				reached = true
				t.Logf("crash of %s %s", host, w.steps.name(n))
				w.crash(host)
				w.start(host)
			case <-done:
			}
		}()
		scenario(w)
		close(done)
		<-killer
	})
	return reached
}

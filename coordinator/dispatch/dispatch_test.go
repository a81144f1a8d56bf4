package dispatch

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/coordinator/statetest"
	"github.com/stix-run/stix/internal/testlog"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const cluster = "c1"

// world is a cluster under test: real store, agents played by the test.
type world struct {
	t     *testing.T
	store *state.Store
	r     *Reconciler
}

func newWorld(t *testing.T, nodes int32) *world {
	t.Helper()
	s := statetest.Store(t)
	r, err := New(Config{Store: s, Logger: testlog.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: s, r: r}
	w.do(func(tx *state.Tx) {
		tx.Clusters.Put(&stixv1.Cluster{
			Meta: &stixv1.Meta{Uid: cluster, Name: "demo"}, State: stixv1.ClusterState_CLUSTER_STATE_UP,
			Goal: stixv1.ClusterGoal_CLUSTER_GOAL_UP, NumNodes: nodes, Vcpus: 2,
		})
		for i := range nodes {
			tx.Nodes.Put(&stixv1.Node{
				Meta: &stixv1.Meta{Uid: fmt.Sprintf("n%d", i)}, ClusterUid: cluster, Index: i,
				State: stixv1.NodeState_NODE_STATE_LAUNCHED,
				Agent: &stixv1.Agent{State: stixv1.AgentState_AGENT_STATE_READY, ChangedAt: tx.Now()},
			})
		}
	})
	return w
}

func (w *world) do(fn func(tx *state.Tx)) {
	w.t.Helper()
	statetest.Do(w.t, w.store, fn)
}

// submit queues a job with these texts.
func (w *world) submit(number int64, nodes int32, setup, run string) {
	w.t.Helper()
	w.do(func(tx *state.Tx) {
		spec := fmt.Sprintf("s%d", number)
		tx.Specs.Put(&stixv1.Spec{Meta: &stixv1.Meta{Uid: spec}, Task: &stixv1.Task{Setup: setup, Run: run, NumNodes: nodes}})
		tx.Jobs.Put(&stixv1.Job{
			Meta: &stixv1.Meta{Uid: fmt.Sprintf("j%d", number)}, ClusterUid: cluster, Number: number, SpecUid: spec,
			NumNodes: nodes, RunSetup: true, State: stixv1.JobState_JOB_STATE_PENDING,
		})
	})
}

func (w *world) pass() time.Duration {
	w.t.Helper()
	res, err := w.r.Reconcile(w.t.Context(), cluster)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.RequeueAfter
}

func (w *world) job(number int64) *stixv1.Job {
	w.t.Helper()
	j, ok := w.store.Read().JobByNumber(cluster, number)
	if !ok {
		w.t.Fatalf("no job %d", number)
	}
	return j
}

func (w *world) wantState(number int64, want stixv1.JobState) {
	w.t.Helper()
	if got := w.job(number).State; got != want {
		w.t.Fatalf("job %d is %s, want %s", number, StateName(got), StateName(want))
	}
}

func (w *world) assignments(number int64, phase stixv1.Phase) []*stixv1.Assignment {
	as := slices.Collect(w.store.Read().AssignmentsOfJob(w.job(number).Meta.Uid))
	return slices.DeleteFunc(as, func(a *stixv1.Assignment) bool { return a.Phase != phase })
}

// exit reports the end of one rank.
func (w *world) exit(number int64, phase stixv1.Phase, rank int, code int32) {
	w.t.Helper()
	outcome := stixv1.Outcome_OUTCOME_EXITED
	if code == 137 {
		outcome = stixv1.Outcome_OUTCOME_KILLED
	}
	w.report(w.assignments(number, phase)[rank], code, outcome)
}

func (w *world) report(a *stixv1.Assignment, code int32, o stixv1.Outcome) {
	w.t.Helper()
	w.do(func(tx *state.Tx) {
		tx.Assignments.Edit(a.Meta.Uid, func(a *stixv1.Assignment) {
			a.Status.State = stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED
			a.Status.ExitCode, a.Status.Outcome, a.Status.EndedAt = code, o, tx.Now()
		})
	})
}

const (
	setup = stixv1.Phase_PHASE_SETUP
	run   = stixv1.Phase_PHASE_RUN
)

func TestJobWithoutSetupRunsAtOnceAndSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.submit(1, 1, "", "true")
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_RUNNING)
		if j := w.job(1); j.StartedAt == 0 || len(j.NodeUids) != 1 {
			t.Errorf("a running job has a start and a node: %v", j)
		}
		w.exit(1, run, 0, 0)
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_SUCCEEDED)
	})
}

func TestSetupRunsOnAllNodesBeforeTheJobRunsOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		w.submit(1, 2, "install", "work")
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_SETTING_UP)
		if n := len(w.assignments(1, setup)); n != 3 {
			t.Fatalf("setup on %d nodes, want all 3", n)
		}
		w.exit(1, setup, 0, 0)
		w.exit(1, setup, 1, 0)
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_SETTING_UP)
		w.exit(1, setup, 2, 0)
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_RUNNING)
		if n := len(w.assignments(1, run)); n != 2 {
			t.Fatalf("run on %d nodes, want 2", n)
		}
	})
}

func TestFailedSetupKillsTheOthersAndNeverRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.submit(1, 2, "install", "work")
		w.pass()
		w.exit(1, setup, 1, 7)
		w.pass()
		if g := w.assignments(1, setup)[0].Goal; g != stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL {
			t.Fatalf("the other setup has the goal %s", g)
		}
		w.wantState(1, stixv1.JobState_JOB_STATE_SETTING_UP)
		w.exit(1, setup, 0, 137)
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_FAILED_SETUP)
		if got := w.job(1).ExitCodes; !slices.Equal(got, []int32{137, 7}) {
			t.Errorf("exit codes %v", got)
		}
		if len(w.assignments(1, run)) > 0 {
			t.Error("run started although setup failed")
		}
	})
}

func TestFirstFailureKillsTheRestOfTheGang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 4)
		w.submit(1, 4, "", "work")
		w.pass()
		w.exit(1, run, 2, 3)
		w.pass()
		for i, a := range w.assignments(1, run) {
			if kill := a.Goal == stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL; kill != (i != 2) {
				t.Errorf("rank %d: kill = %v", i, kill)
			}
		}
		for _, i := range []int{0, 1, 3} {
			w.exit(1, run, i, 137)
		}
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_FAILED)
		if got := w.job(1).ExitCodes; !slices.Equal(got, []int32{137, 137, 3, 137}) {
			t.Errorf("exit codes %v", got)
		}
	})
}

func TestQueueIsStrictlyFirstInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		for n := int64(1); n <= 4; n++ { // 2 vCPUs: four jobs of one node fill the first node
			w.submit(n, 1, "", "work")
		}
		w.submit(5, 2, "", "gang") // does not fit beside them
		w.submit(6, 1, "", "small")
		w.pass()
		for n := int64(1); n <= 4; n++ {
			w.wantState(n, stixv1.JobState_JOB_STATE_RUNNING)
		}
		w.wantState(5, stixv1.JobState_JOB_STATE_PENDING)
		w.wantState(6, stixv1.JobState_JOB_STATE_PENDING)
		w.exit(2, run, 0, 0)
		w.pass()
		w.wantState(5, stixv1.JobState_JOB_STATE_RUNNING)
		w.wantState(6, stixv1.JobState_JOB_STATE_RUNNING)
	})
}

func TestPassIsIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.submit(1, 2, "", "work")
		w.pass()
		before := w.store.Read()
		for range 3 {
			w.pass()
		}
		if after := w.store.Read(); after.Revision != before.Revision {
			t.Errorf("a pass with nothing to do wrote: revision %d, then %d", before.Revision, after.Revision)
		}
	})
}

func TestCancelOfAQueuedJobIsAtOnceOfARunningOneAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		for n := int64(1); n <= 5; n++ {
			w.submit(n, 1, "", "work")
		}
		w.pass()
		for _, n := range []int64{1, 5} {
			w.do(func(tx *state.Tx) {
				tx.Jobs.Edit(w.job(n).Meta.Uid, func(j *stixv1.Job) { j.CancelRequestedAt = tx.Now() })
			})
		}
		w.pass()
		w.wantState(5, stixv1.JobState_JOB_STATE_CANCELLED)
		w.wantState(1, stixv1.JobState_JOB_STATE_RUNNING)
		if g := w.assignments(1, run)[0].Goal; g != stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL {
			t.Fatalf("goal %s", g)
		}
		w.exit(1, run, 0, 137)
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_CANCELLED)
	})
}

func TestCancelDoesNotWaitForeverForASilentNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.submit(1, 1, "", "work")
		w.pass()
		w.do(func(tx *state.Tx) {
			tx.Jobs.Edit("j1", func(j *stixv1.Job) { j.CancelRequestedAt = tx.Now() })
		})
		if next := w.pass(); next != CancelLimit {
			t.Fatalf("looks again after %s, want %s", next, CancelLimit)
		}
		time.Sleep(CancelLimit)
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_CANCELLED)
	})
}

func (w *world) agent(node string, to stixv1.AgentState) {
	w.do(func(tx *state.Tx) {
		tx.Nodes.Edit(node, func(n *stixv1.Node) { n.Agent.State, n.Agent.ChangedAt = to, tx.Now() })
	})
}

func TestJobOnAnUnreachableNodeIsLeftRunningThenGivenUpAndALateResultWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.submit(1, 1, "", "work")
		w.pass()
		w.agent("n0", stixv1.AgentState_AGENT_STATE_UNREACHABLE)
		if next := w.pass(); next != UnreachableLimit {
			t.Fatalf("looks again after %s, want %s", next, UnreachableLimit)
		}
		time.Sleep(UnreachableLimit - time.Second)
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_RUNNING)
		time.Sleep(time.Second)
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_FAILED_DRIVER)

		w.agent("n0", stixv1.AgentState_AGENT_STATE_READY)
		w.exit(1, run, 0, 0)
		if _, err := w.r.Reconcile(t.Context(), latePrefix+"j1"); err != nil {
			t.Fatal(err)
		}
		w.wantState(1, stixv1.JobState_JOB_STATE_SUCCEEDED)
	})
}

func TestLostMachineMakesTheJobFailedDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2)
		w.submit(1, 2, "", "work")
		w.pass()
		as := w.assignments(1, run)
		w.report(as[1], 137, stixv1.Outcome_OUTCOME_LOST)
		w.pass()
		w.report(as[0], 137, stixv1.Outcome_OUTCOME_KILLED)
		w.pass()
		w.wantState(1, stixv1.JobState_JOB_STATE_FAILED_DRIVER)
	})
}

func TestJobWithOnlySetupTakesNoRoomAndEndsAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		for n := int64(1); n <= 4; n++ {
			w.submit(n, 1, "", "fill")
		}
		w.submit(5, 1, "install", "")
		w.pass()
		w.wantState(5, stixv1.JobState_JOB_STATE_SETTING_UP)
		w.exit(5, setup, 0, 0)
		w.pass()
		w.wantState(5, stixv1.JobState_JOB_STATE_SUCCEEDED)
	})
}

func TestClusterGoingDownCancelsItsJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		for n := int64(1); n <= 5; n++ {
			w.submit(n, 1, "", "work")
		}
		w.pass()
		w.do(func(tx *state.Tx) {
			tx.Clusters.Edit(cluster, func(c *stixv1.Cluster) { c.Goal = stixv1.ClusterGoal_CLUSTER_GOAL_TERMINATED })
		})
		w.pass()
		w.wantState(5, stixv1.JobState_JOB_STATE_CANCELLED)
		for n := int64(1); n <= 4; n++ {
			w.exit(n, run, 0, 137)
		}
		w.pass()
		for n := int64(1); n <= 4; n++ {
			w.wantState(n, stixv1.JobState_JOB_STATE_CANCELLED)
		}
	})
}

func TestArrayIsStartedInBoundedPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.do(func(tx *state.Tx) {
			tx.Specs.Put(&stixv1.Spec{Meta: &stixv1.Meta{Uid: "s"}, Task: &stixv1.Task{Run: "x", NumNodes: 1}})
			for i := range int64(2500) {
				tx.Jobs.Put(&stixv1.Job{
					Meta: &stixv1.Meta{Uid: fmt.Sprintf("a%04d", i)}, ClusterUid: cluster, Number: i + 1, SpecUid: "s",
					NumNodes: 1, ArraySize: 2500, ArrayIndex: i, State: stixv1.JobState_JOB_STATE_PENDING,
				})
			}
			tx.Clusters.Edit(cluster, func(c *stixv1.Cluster) { c.Goal = stixv1.ClusterGoal_CLUSTER_GOAL_TERMINATED })
		})
		passes := 0
		for next := w.pass(); next > 0; next = w.pass() {
			passes++
		}
		if passes != 2 {
			t.Errorf("%d further passes, want 2", passes)
		}
		w.wantState(2500, stixv1.JobState_JOB_STATE_CANCELLED)
	})
}

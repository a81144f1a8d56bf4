package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// TestChaos lives the life of a cluster while a seeded hand crashes the coordinator, restarts agents and cuts hosts
// off. STIX_SEEDS says how many seeds, STIX_SEED the only one.
func TestChaos(t *testing.T) {
	for _, seed := range seeds(t, 40) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			inWorld(t, 0, func(w *world) {
				rnd := rand.New(rand.NewPCG(seed, 0))
				done, ended := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(ended)
					w.trouble(rnd, done)
				}()
				life(w)
				close(done)
				<-ended
				w.net.Heal()
			})
		})
	}
}

func seeds(t *testing.T, n uint64) []uint64 {
	t.Helper()
	if one := number(t, "STIX_SEED", 0); one > 0 {
		return []uint64{one}
	}
	var out []uint64
	for seed := uint64(1); seed <= number(t, "STIX_SEEDS", n); seed++ {
		out = append(out, seed)
	}
	return out
}

// number is what the environment says, for longer runs than the usual.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// trouble makes faults at random moments until done, a few seconds apart so that the user gets somewhere.
//
//stix:bubble
func (w *world) trouble(rnd *rand.Rand, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-time.After(time.Duration(rnd.IntN(3000)) * time.Millisecond):
		}
		switch rnd.IntN(3) {
		case 0:
			host := w.hosts[rnd.IntN(len(w.hosts))]
			w.t.Logf("chaos: coordinator %s crashes", host)
			w.crash(host)
			w.start(host)
		case 1:
			if id := w.anyMachine(rnd); id != "" {
				w.t.Logf("chaos: the agent of %s restarts", id)
				w.restartAgent(id)
			}
		case 2:
			if id := w.anyMachine(rnd); id != "" {
				// Below the limit at which a node counts as unreachable, so that exec finds the cluster up.
				d := time.Duration(rnd.IntN(6000)) * time.Millisecond
				w.t.Logf("chaos: %s is cut off for %s", id, d)
				w.net.Isolate("host-" + id)
				time.Sleep(d)
				w.net.Rejoin("host-" + id)
			}
		}
	}
}

func (w *world) anyMachine(rnd *rand.Rand) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	for id := range w.machines {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return ""
	}
	slices.Sort(ids)
	return ids[rnd.IntN(len(ids))]
}

// TestNodeCutOffForLong is the rule of docs/deadlines.md: unreachable after ten seconds, jobs left alone, and what they
// did meanwhile is all there afterwards.
func TestNodeCutOffForLong(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		c := w.user()
		res := w.launch(c, "demo", task(1, "print one; sleep 60s; print two"))
		time.Sleep(time.Second)
		host := "host-" + w.cloud.Live()[0].ID
		w.net.Isolate(host)
		time.Sleep(20 * time.Second)
		list, err := c.ListClusters(w.t.Context(), &stixv1.ListClustersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		v := list.Clusters[0]
		if v.Cluster.State != stixv1.ClusterState_CLUSTER_STATE_INIT || v.Nodes[0].Agent.State != stixv1.AgentState_AGENT_STATE_UNREACHABLE {
			t.Errorf("cluster %s, agent %s", v.Cluster.State, v.Nodes[0].Agent.State)
		}
		time.Sleep(2 * time.Minute) // the job ends behind the cut
		w.net.Rejoin(host)
		lines, end := w.read(c, res.JobUid)
		if !slices.Equal(lines, []string{"one", "two"}) {
			t.Errorf("the job printed %q", lines)
		}
		w.wantEnd(end, stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
		w.down(c, "demo")
	})
}

// TestMachineTakenAway is a machine that vanishes under a running gang.
func TestMachineTakenAway(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		c := w.user()
		res := w.launch(c, "demo", task(2, "print up; sleep 1h"))
		time.Sleep(time.Minute)
		w.cloud.Kill(w.cloud.Live()[1].ID)
		_, end := w.read(c, res.JobUid)
		w.wantEnd(end, stixv1.JobState_JOB_STATE_FAILED_DRIVER, 137, 137)
		w.down(c, "demo")
	})
}

// TestCoordinatorAwayForLong is the promise that jobs do not need a coordinator: it is gone for ten minutes while they
// run and end.
func TestCoordinatorAwayForLong(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		c := w.user()
		res := w.launch(c, "demo", task(2, "print begin; sleep 5m; print end"))
		time.Sleep(2 * time.Second)
		w.crash("c1")
		time.Sleep(10 * time.Minute)
		w.start("c1")
		lines, end := w.read(c, res.JobUid)
		if !slices.Equal(lines, []string{"begin", "begin", "end", "end"}) {
			t.Errorf("the job printed %q", lines)
		}
		w.wantEnd(end, stixv1.JobState_JOB_STATE_SUCCEEDED, 0, 0)
		w.down(c, "demo")
	})
}

// TestSameRequestTwiceTakesEffectOnce sends each mutating call again, as a client does whose answer got lost.
func TestSameRequestTwiceTakesEffectOnce(t *testing.T) {
	inWorld(t, 0, func(w *world) {
		c := w.user()
		launch := &stixv1.LaunchRequest{RequestId: w.requestID(), ClusterName: "demo", Task: task(1, "print x")}
		var first *stixv1.LaunchResponse
		for range 3 {
			res, err := c.Launch(w.t.Context(), launch)
			if err != nil {
				t.Fatal(err)
			}
			if first != nil && (res.JobUid != first.JobUid || res.ClusterUid != first.ClusterUid) {
				t.Errorf("another answer: %v, then %v", first, res)
			}
			first = res
		}
		w.await(c, first.RequestId)
		launch.ClusterName = "other"
		if _, err := c.Launch(w.t.Context(), launch); err == nil {
			t.Error("the id of a request was taken for another request")
		}
		submit := &stixv1.SubmitRequest{RequestId: w.requestID(), ClusterName: "demo", Task: task(1, "print y"), NumJobs: 3}
		for range 3 {
			if res, err := c.Submit(w.t.Context(), submit); err != nil || res.JobNumber != 2 || res.LastJobNumber != 4 {
				t.Fatalf("submit: %v, %v", res, err)
			}
		}
		down := &stixv1.DownRequest{RequestId: w.requestID(), ClusterName: "demo"}
		for range 2 {
			res, err := c.Down(w.t.Context(), down)
			if err != nil {
				t.Fatal(err)
			}
			w.await(c, res.RequestId)
		}
		if n := len(w.runs()); n > 4 {
			t.Errorf("%d starts for 4 jobs", n)
		}
	})
}

package clusters

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/coordinator/statetest"
	"github.com/stix-run/stix/internal/bootstrap"
	"github.com/stix-run/stix/internal/seal"
	"github.com/stix-run/stix/internal/testlog"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/provider/fake"
	"github.com/stix-run/stix/sched"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const cluster = "c1"

// world is a real store and a fake cloud; the test plays rpc, dispatch and the agents.
type world struct {
	t     *testing.T
	store *state.Store
	cloud *fake.Cloud
	r     *Reconciler
}

func newWorld(t *testing.T, cfg fake.Config) *world {
	t.Helper()
	cloud, err := fake.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	portable, err := provider.NewCloud(provider.Config{Name: fake.Name, Driver: cloud.Driver(), Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	tokens := 0
	w := &world{t: t, store: statetest.Store(t), cloud: cloud}
	w.r, err = New(Config{
		Store: w.store, Clouds: map[string]Cloud{fake.Name: portable}, Sealer: seal.NewBox(seal.NewKey()),
		Offers: func() []sched.Offer {
			return []sched.Offer{{Cloud: fake.Name, InstanceType: "fake-small", VCPUs: 4, MemoryGiB: 16}}
		},
		Join: func() (bootstrap.Bootstrap, error) {
			return bootstrap.Bootstrap{ClusterID: "id", CAPin: "sha256:00", Coordinators: []string{"unix:///agents"}}, nil
		},
		NewToken: func() string { tokens++; return "token-" + strconv.Itoa(tokens) },
		Now:      time.Now, Logger: testlog.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) do(fn func(tx *state.Tx)) {
	w.t.Helper()
	statetest.Do(w.t, w.store, fn)
}

// ask writes what rpc writes for a launch.
func (w *world) ask(nodes int32) {
	w.t.Helper()
	w.do(func(tx *state.Tx) {
		tx.Clusters.Put(&stixv1.Cluster{
			Meta: &stixv1.Meta{Uid: cluster, Name: "demo"}, State: stixv1.ClusterState_CLUSTER_STATE_INIT,
			Goal: stixv1.ClusterGoal_CLUSTER_GOAL_UP, NumNodes: nodes, Resources: []*stixv1.Resources{{}},
		})
		w.request(tx, "launch-1", VerbLaunch)
	})
}

func (w *world) request(tx *state.Tx, uid, verb string) {
	tx.Requests.Put(&stixv1.Request{
		Meta: &stixv1.Meta{Uid: uid}, Verb: verb, ClusterUid: cluster,
		State: stixv1.RequestState_REQUEST_STATE_RUNNING, Deadline: tx.Now() + int64(time.Hour),
	})
}

func (w *world) askDown(purge bool) {
	w.t.Helper()
	w.do(func(tx *state.Tx) {
		tx.Clusters.Edit(cluster, func(c *stixv1.Cluster) {
			c.Goal, c.Purge = stixv1.ClusterGoal_CLUSTER_GOAL_TERMINATED, purge
		})
		w.request(tx, "down-1", VerbDown)
	})
}

func (w *world) pass() error {
	_, err := w.r.Reconcile(w.t.Context(), cluster)
	return err
}

func (w *world) mustPass() {
	w.t.Helper()
	if err := w.pass(); err != nil {
		w.t.Fatal(err)
	}
}

// settle passes until nothing changes any more.
func (w *world) settle() {
	w.t.Helper()
	for range 20 {
		before := w.store.Read().Revision
		w.mustPass()
		if w.store.Read().Revision == before {
			return
		}
	}
	w.t.Fatal("does not settle")
}

// agents makes every launched node ready.
func (w *world) agents() {
	w.do(func(tx *state.Tx) {
		for n := range tx.NodesOfCluster(cluster) {
			if n.State == stixv1.NodeState_NODE_STATE_LAUNCHED {
				tx.Nodes.Edit(n.Meta.Uid, func(n *stixv1.Node) {
					n.Agent = &stixv1.Agent{State: stixv1.AgentState_AGENT_STATE_READY, ChangedAt: tx.Now()}
				})
			}
		}
	})
}

func (w *world) up(nodes int32) {
	w.t.Helper()
	w.ask(nodes)
	w.settle()
	w.agents()
	w.settle()
	w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_UP)
}

func (w *world) wantCluster(want stixv1.ClusterState) *stixv1.Cluster {
	w.t.Helper()
	c, _ := w.store.Read().Clusters.Get(cluster)
	if c.GetState() != want {
		w.t.Fatalf("cluster is %s (%s), want %s", c.GetState(), c.GetReason(), want)
	}
	return c
}

func (w *world) wantRequest(uid string, want stixv1.RequestState) *stixv1.Request {
	w.t.Helper()
	q, _ := w.store.Read().Requests.Get(uid)
	if q.GetState() != want {
		w.t.Fatalf("request %s is %s (%s), want %s", uid, q.GetState(), q.GetError(), want)
	}
	return q
}

func (w *world) wantMachines(want int) {
	w.t.Helper()
	if live := w.cloud.Live(); len(live) != want {
		w.t.Fatalf("%d machines live, want %d: %v", len(live), want, live)
	}
}

func (w *world) nodes() []*stixv1.Node { return slices.Collect(w.store.Read().NodesOfCluster(cluster)) }

func TestLaunchWritesIntentThenMachinesThenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.ask(3)
		w.mustPass()
		w.wantMachines(0)
		for _, n := range w.nodes() {
			if n.State != stixv1.NodeState_NODE_STATE_PLANNED || n.LaunchToken == "" || n.JoinTokenHash == "" {
				t.Fatalf("intent is incomplete: %v", n)
			}
		}
		w.mustPass()
		w.wantMachines(3)
		w.settle()
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_INIT)
		w.agents()
		w.settle()
		c := w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_UP)
		if !c.EverUp || c.Infra != fake.Name || c.Vcpus != 4 {
			t.Errorf("cluster %v", c)
		}
		w.wantRequest("launch-1", stixv1.RequestState_REQUEST_STATE_SUCCEEDED)
		for _, n := range w.nodes() {
			if n.SealedJoinToken != nil || n.Ip == "" || n.InstanceId == "" {
				t.Errorf("node %v", n)
			}
		}
	})
}

// crash stands for a coordinator that asked the cloud and died before it wrote what came of it.
func (w *world) crash() {
	w.t.Helper()
	s := look(w.store.Read(), cluster)
	for _, n := range s.with(stixv1.NodeState_NODE_STATE_PLANNED) {
		if res := w.r.launchNode(w.t.Context(), s, n); res.err != nil {
			w.t.Fatal(res.err)
		}
	}
}

func TestNextLeaderFindsTheMachinesOfACrashedLaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.ask(2)
		w.mustPass()
		w.crash()
		w.wantMachines(2)
		w.settle()
		w.wantMachines(2)
		w.agents()
		w.settle()
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_UP)
	})
}

func TestDownAfterACrashedLaunchLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.ask(2)
		w.mustPass()
		w.crash()
		w.askDown(false)
		w.settle()
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_TERMINATED)
		w.wantMachines(0)
		w.wantRequest("down-1", stixv1.RequestState_REQUEST_STATE_SUCCEEDED)
		w.wantRequest("launch-1", stixv1.RequestState_REQUEST_STATE_FAILED)
	})
}

func TestSoldOutCloudFailsTheLaunchAndFreesTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.cloud.Fail(provider.OpLaunch, provider.KindCapacity, 1)
		w.ask(2)
		w.settle()
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_TERMINATED)
		w.wantMachines(0)
		if q := w.wantRequest("launch-1", stixv1.RequestState_REQUEST_STATE_FAILED); q.ErrorKind != kindResources || q.Error == "" {
			t.Errorf("request %v", q)
		}
		if _, ok := w.store.Read().ClusterByName("demo"); ok {
			t.Error("the name is still taken")
		}
	})
}

func TestTransientErrorIsTriedAgainUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.cloud.FailAfter(provider.OpLaunch, provider.KindTransient, 1)
		w.ask(1)
		w.mustPass()
		if err := w.pass(); err == nil {
			t.Fatal("a transient error has to be told to the loop, which tries again")
		}
		w.wantRequest("launch-1", stixv1.RequestState_REQUEST_STATE_RUNNING)
		w.settle()
		w.wantMachines(1) // the answer was lost, not the machine: the same token finds it
		w.cloud.Fail(provider.OpLaunch, provider.KindTransient, 1000)
		w.do(func(tx *state.Tx) {
			for _, n := range w.nodes() {
				tx.Nodes.Edit(n.Meta.Uid, func(n *stixv1.Node) { n.State = stixv1.NodeState_NODE_STATE_PLANNED })
			}
		})
		time.Sleep(LaunchLimit + time.Second)
		for range 6 {
			if err := w.pass(); err != nil && provider.KindOf(err) != provider.KindTransient {
				t.Logf("pass: %v", err)
			}
		}
		w.wantRequest("launch-1", stixv1.RequestState_REQUEST_STATE_FAILED)
	})
}

func TestAgentThatNeverComesFailsTheLaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.ask(1)
		w.settle()
		res, err := w.r.Reconcile(t.Context(), cluster)
		if err != nil || res.RequeueAfter <= 0 || res.RequeueAfter > BootLimit {
			t.Fatalf("looks again after %s, %v", res.RequeueAfter, err)
		}
		time.Sleep(BootLimit)
		w.settle()
		w.wantRequest("launch-1", stixv1.RequestState_REQUEST_STATE_FAILED)
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_TERMINATED)
		w.wantMachines(0)
	})
}

func TestDownWaitsForJobsButNotForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.up(1)
		node := w.nodes()[0].Meta.Uid
		w.do(func(tx *state.Tx) {
			tx.Assignments.Put(&stixv1.Assignment{
				Meta: &stixv1.Meta{Uid: "a1"}, ClusterUid: cluster, NodeUid: node, JobUid: "j1",
				Status: &stixv1.AssignmentStatus{State: stixv1.AssignmentState_ASSIGNMENT_STATE_RUNNING},
			})
		})
		w.askDown(false)
		w.settle()
		w.wantMachines(1)
		time.Sleep(DrainLimit)
		w.settle()
		w.wantMachines(0)
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_TERMINATED)
	})
}

func TestFailedTerminationIsRememberedAndTriedAgainUnlessPurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.up(1)
		w.cloud.Fail(provider.OpTerminate, provider.KindTransient, 2)
		w.askDown(false)
		if err := w.pass(); err == nil {
			t.Fatal("a failed termination has to be told")
		}
		if n := w.nodes()[0]; n.State != stixv1.NodeState_NODE_STATE_TERMINATING || n.LastError == "" {
			t.Fatalf("node %v", n)
		}
		w.do(func(tx *state.Tx) { tx.Clusters.Edit(cluster, func(c *stixv1.Cluster) { c.Purge = true }) })
		w.settle()
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_TERMINATED)
		w.wantMachines(1) // purge forgets it; the sweep finds it
		if err := w.r.sweepCloud(t.Context(), fake.Name, w.r.cfg.Clouds[fake.Name]); err != nil {
			t.Fatal(err)
		}
		// The machine is tagged with the coordinators' identity, and its record is final.
		w.wantMachines(0)
	})
}

func TestSweepNoticesLostAndStoppedMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.up(2)
		time.Sleep(time.Minute)
		w.cloud.Kill(w.nodes()[1].InstanceId)
		sweep := func() {
			t.Helper()
			if err := w.r.sweepCloud(t.Context(), fake.Name, w.r.cfg.Clouds[fake.Name]); err != nil {
				t.Fatal(err)
			}
			w.settle()
		}
		sweep()
		if c := w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_INIT); c.Reason == "" {
			t.Error("no reason")
		}
		for range w.store.Read().OpenIntervals() {
			if n := w.nodes()[1]; n.State != stixv1.NodeState_NODE_STATE_TERMINATED {
				t.Errorf("node %v", n)
			}
		}
		if err := w.cloud.Driver().Stop(t.Context(), w.nodes()[0].InstanceId); err != nil {
			t.Fatal(err)
		}
		sweep()
		if n := w.nodes()[0]; n.State != stixv1.NodeState_NODE_STATE_STOPPED {
			t.Errorf("node %v", n)
		}
	})
}

func TestStoppedClusterIsStartedAgainByALaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.up(1)
		time.Sleep(time.Minute)
		id := w.nodes()[0].InstanceId
		if err := w.cloud.Driver().Stop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if err := w.r.sweepCloud(t.Context(), fake.Name, w.r.cfg.Clouds[fake.Name]); err != nil {
			t.Fatal(err)
		}
		w.settle()
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_STOPPED)
		w.do(func(tx *state.Tx) { w.request(tx, "launch-2", VerbLaunch) })
		w.settle()
		w.agents()
		w.settle()
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_UP)
		w.wantRequest("launch-2", stixv1.RequestState_REQUEST_STATE_SUCCEEDED)
		if got := w.nodes()[0].InstanceId; got != id {
			t.Errorf("another machine: %s, was %s", got, id)
		}
	})
}

func TestBilledTimeHasOneIntervalForEachStretch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.up(2)
		time.Sleep(time.Hour)
		w.askDown(false)
		w.settle()
		for _, n := range w.nodes() {
			all := slices.Collect(w.store.Read().IntervalsOfNode(n.Meta.Uid))
			if len(all) != 1 || all[0].To-all[0].From < int64(time.Hour) {
				t.Errorf("intervals of node %d: %v", n.Index, all)
			}
		}
	})
}

func TestCancelledLaunchIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.ask(2)
		w.settle()
		w.wantMachines(2)
		w.do(func(tx *state.Tx) {
			tx.Requests.Edit("launch-1", func(q *stixv1.Request) { q.State = stixv1.RequestState_REQUEST_STATE_CANCELLED })
		})
		w.settle()
		w.wantMachines(0)
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_TERMINATED)
	})
}

func TestUnplannableRequestFailsWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.ask(1)
		w.do(func(tx *state.Tx) {
			tx.Clusters.Edit(cluster, func(c *stixv1.Cluster) {
				c.Resources = []*stixv1.Resources{{Cpus: &stixv1.Quantity{Value: 64, AtLeast: true}}}
			})
		})
		w.settle()
		w.wantRequest("launch-1", stixv1.RequestState_REQUEST_STATE_FAILED)
		w.wantCluster(stixv1.ClusterState_CLUSTER_STATE_TERMINATED)
	})
}

func TestRequestThatTakesTooLongIsGivenUpWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.up(1)
		w.cloud.Fail(provider.OpTerminate, provider.KindAuth, 1000)
		w.askDown(false)
		for range 3 {
			if err := w.pass(); err == nil {
				t.Fatal("a termination that fails has to be told to the loop")
			}
		}
		if err := w.r.expireRequests(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantRequest("down-1", stixv1.RequestState_REQUEST_STATE_RUNNING)
		time.Sleep(2 * time.Hour)
		if err := w.r.expireRequests(t.Context()); err != nil {
			t.Fatal(err)
		}
		if q := w.wantRequest("down-1", stixv1.RequestState_REQUEST_STATE_FAILED); q.ErrorKind != kindTimedOut || !strings.Contains(q.Error, "auth") {
			t.Errorf("request %v", q)
		}
	})
}

func TestLaunchGivesAnUnreachableNodeItsTimeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fake.Config{})
		w.up(1)
		time.Sleep(time.Hour)
		w.do(func(tx *state.Tx) {
			tx.Nodes.Edit(w.nodes()[0].Meta.Uid, func(n *stixv1.Node) { n.Agent.State = stixv1.AgentState_AGENT_STATE_UNREACHABLE })
			w.request(tx, "launch-2", VerbLaunch)
		})
		w.settle()
		w.wantRequest("launch-2", stixv1.RequestState_REQUEST_STATE_RUNNING)
		time.Sleep(BootLimit + time.Second)
		w.settle()
		w.wantRequest("launch-2", stixv1.RequestState_REQUEST_STATE_FAILED)
		w.wantMachines(1) // it was up once: its machine is kept
	})
}

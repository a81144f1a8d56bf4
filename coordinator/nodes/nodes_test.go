package nodes

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/coordinator/statetest"
	"github.com/stix-run/stix/internal/seal"
	"github.com/stix-run/stix/internal/testlog"
	"github.com/stix-run/stix/internal/tlsconf"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// copies is a coordinator's log store of which only the ends matter.
type copies struct {
	mu        sync.Mutex
	abandoned []string
}

func (c *copies) Size(string, string) int64 { return 42 }

func (c *copies) Abandon(_ context.Context, _, uid string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abandoned = append(c.abandoned, uid)
	return nil
}

type signer struct{}

func (signer) Sign([]byte, string) (*stixv1.EnrolResponse, error) {
	return &stixv1.EnrolResponse{Certificate: []byte("certificate")}, nil
}

type world struct {
	t     *testing.T
	store *state.Store
	nodes *Nodes
	logs  *copies
	box   *seal.Box
}

const keyHash = "k1"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: statetest.Store(t), logs: &copies{}, box: seal.NewBox(seal.NewKey())}
	var err error
	w.nodes, err = New(Config{
		Store: w.store, Signer: signer{}, Opener: w.box, Logs: w.logs, Now: time.Now, Version: "test", Logger: testlog.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.do(func(tx *state.Tx) {
		tx.Clusters.Put(&stixv1.Cluster{
			Meta: &stixv1.Meta{Uid: "c1", Name: "demo"}, State: stixv1.ClusterState_CLUSTER_STATE_UP, NumNodes: 1, Infra: "local",
		})
		tx.Nodes.Put(&stixv1.Node{
			Meta: &stixv1.Meta{Uid: "n0"}, ClusterUid: "c1", State: stixv1.NodeState_NODE_STATE_LAUNCHED, Ip: "127.64.0.1",
			JoinTokenHash: auth.HashToken("token"), JoinTokenExpiresAt: tx.Now() + int64(time.Hour),
			Agent: &stixv1.Agent{State: stixv1.AgentState_AGENT_STATE_EXPECTED, PublicKeyHash: keyHash},
		})
		sealed, err := w.box.Seal(mustMarshal(t, &stixv1.Secrets{Values: map[string]string{"TOKEN": "s3cret"}}), []byte("spec/s1"))
		if err != nil {
			t.Fatal(err)
		}
		tx.Specs.Put(&stixv1.Spec{
			Meta: &stixv1.Meta{Uid: "s1"}, UserName: "ann", SealedSecrets: sealed,
			Task: &stixv1.Task{NumNodes: 1, Run: "echo", Envs: map[string]string{"A": "1", "SKYPILOT_NODE_RANK": "9", "SKYPILOT_NUM_NODES": "7"}},
		})
		tx.Jobs.Put(&stixv1.Job{
			Meta: &stixv1.Meta{Uid: "j1", Name: "hello"}, ClusterUid: "c1", Number: 3, SpecUid: "s1", NumNodes: 1,
			NodeUids: []string{"n0"}, RunTimestamp: "sky-2026-01-02-03-04-05-000006", State: stixv1.JobState_JOB_STATE_RUNNING, AllottedAt: 1,
		})
	})
	return w
}

func mustMarshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (w *world) do(fn func(tx *state.Tx)) { w.t.Helper(); statetest.Do(w.t, w.store, fn) }

func (w *world) assign(uid string) {
	w.do(func(tx *state.Tx) {
		tx.Assignments.Put(&stixv1.Assignment{
			Meta: &stixv1.Meta{Uid: uid}, JobUid: "j1", ClusterUid: "c1", NodeUid: "n0", Phase: stixv1.Phase_PHASE_RUN,
			Goal:   stixv1.AssignmentGoal_ASSIGNMENT_GOAL_RUN,
			Status: &stixv1.AssignmentStatus{Uid: uid, State: stixv1.AssignmentState_ASSIGNMENT_STATE_ASSIGNED},
		})
	})
}

// lead runs the leader's part until the bubble ends.
func (w *world) lead() {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.nodes.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

// agent is the other end of a session.
type agent struct {
	t    *testing.T
	up   chan *stixv1.AgentMessage
	down chan *stixv1.CoordinatorMessage
	done chan error
	stop context.CancelFunc
}

func (w *world) connect() *agent {
	ctx, cancel := context.WithCancel(w.t.Context())
	a := &agent{t: w.t, up: make(chan *stixv1.AgentMessage), down: make(chan *stixv1.CoordinatorMessage, 100), done: make(chan error, 1), stop: cancel}
	recv := func() (*stixv1.AgentMessage, error) {
		select {
		case m := <-a.up:
			return m, nil
		case <-ctx.Done():
			return nil, io.EOF
		}
	}
	send := func(m *stixv1.CoordinatorMessage) error {
		a.down <- m
		return ctx.Err()
	}
	go func() {
		a.done <- w.nodes.Session(ctx, auth.Peer{NodeUID: "n0", KeyHash: keyHash}, recv, send)
		cancel()
	}()
	w.t.Cleanup(cancel)
	a.up <- &stixv1.AgentMessage{Message: &stixv1.AgentMessage_Hello{Hello: &stixv1.Hello{BootId: "b", Version: "v", Capability: 1}}}
	return a
}

// next is the next message that is not a bare sign of life.
func (a *agent) next() *stixv1.CoordinatorMessage {
	a.t.Helper()
	for {
		select {
		case m := <-a.down:
			if ack := m.GetReportAck(); ack != nil && ack.Sequence == 0 {
				continue
			}
			return m
		case <-time.After(time.Minute):
			a.t.Fatal("nothing came for a minute")
		}
	}
}

func (a *agent) report(seq uint64, st *stixv1.AssignmentStatus) {
	a.up <- &stixv1.AgentMessage{Message: &stixv1.AgentMessage_Report{Report: &stixv1.Report{
		Sequence: seq, Statuses: []*stixv1.AssignmentStatus{st},
	}}}
}

func TestSessionTellsEverythingThenWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lead()
		w.assign("a1")
		a := w.connect()
		if m := a.next(); m.GetWelcome() == nil {
			t.Fatalf("first came %v", m)
		}
		full := a.next().GetOrders()
		if !full.GetFull() || len(full.Orders) != 1 || full.Orders[0].AssignmentUid != "a1" {
			t.Fatalf("full orders %v", full)
		}
		if n, _ := w.store.Read().Nodes.Get("n0"); n.Agent.State != stixv1.AgentState_AGENT_STATE_READY || n.Agent.BootId != "b" {
			t.Errorf("node %v", n)
		}
		w.assign("a2")
		if o := a.next().GetOrders(); o.GetFull() || len(o.GetOrders()) != 1 || o.Orders[0].AssignmentUid != "a2" {
			t.Fatalf("orders %v", o)
		}
		a.report(1, &stixv1.AssignmentStatus{Uid: "a1", State: stixv1.AssignmentState_ASSIGNMENT_STATE_RUNNING, Pid: 7})
		if ack := a.next().GetReportAck(); ack.GetSequence() != 1 {
			t.Fatalf("acknowledged %v", ack)
		}
		if got, _ := w.store.Read().Assignments.Get("a1"); got.Status.Pid != 7 {
			t.Errorf("acknowledged before it was written: %v", got)
		}
		w.do(func(tx *state.Tx) {
			tx.Assignments.Edit("a1", func(a *stixv1.Assignment) { a.Goal = stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL })
		})
		if o := a.next().GetOrders(); len(o.GetOrders()) != 1 || o.Orders[0].Goal != stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL {
			t.Fatalf("the status was answered with the order it had, or the kill did not come: %v", o)
		}
		a.report(2, &stixv1.AssignmentStatus{
			Uid: "a1", State: stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED, ExitCode: 137, Outcome: stixv1.Outcome_OUTCOME_KILLED,
		})
		a.next()
		if err := w.nodes.LogComplete(t.Context(), "a1"); err != nil {
			t.Fatal(err)
		}
		if f := a.next().GetForget(); f == nil || !slices.Equal(f.AssignmentUids, []string{"a1"}) {
			t.Fatalf("forget %v", f)
		}
	})
}

func TestStatusNeverGoesBackAndOnlyLostYields(t *testing.T) {
	exited := func(o stixv1.Outcome, code int32) *stixv1.AssignmentStatus {
		return &stixv1.AssignmentStatus{State: stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED, Outcome: o, ExitCode: code}
	}
	running := &stixv1.AssignmentStatus{State: stixv1.AssignmentState_ASSIGNMENT_STATE_RUNNING, Pid: 1}
	for _, c := range []struct {
		name      string
		have, got *stixv1.AssignmentStatus
		want      bool
	}{
		{"forward", running, exited(stixv1.Outcome_OUTCOME_EXITED, 0), true},
		{"back", exited(stixv1.Outcome_OUTCOME_EXITED, 0), running, false},
		{"the same again", running, running, false},
		{"another end", exited(stixv1.Outcome_OUTCOME_EXITED, 0), exited(stixv1.Outcome_OUTCOME_KILLED, 137), false},
		{"a late result", exited(stixv1.Outcome_OUTCOME_LOST, 137), exited(stixv1.Outcome_OUTCOME_EXITED, 0), true},
		{"lost twice", exited(stixv1.Outcome_OUTCOME_LOST, 137), exited(stixv1.Outcome_OUTCOME_LOST, 137), false},
	} {
		if got := advances(c.have, c.got); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestReportsOfForeignAssignmentsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.assign("a1")
		st := &stixv1.AssignmentStatus{Uid: "a1", State: stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED}
		if err := w.nodes.record(t.Context(), "n1", []*stixv1.AssignmentStatus{st}); err != nil {
			t.Fatal(err)
		}
		if a, _ := w.store.Read().Assignments.Get("a1"); a.Status.State != stixv1.AssignmentState_ASSIGNMENT_STATE_ASSIGNED {
			t.Error("a node wrote the status of another's assignment")
		}
	})
}

func TestSessionIsRefusedWithoutTheNodesKeyOrALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hello := func() (*stixv1.AgentMessage, error) {
			return &stixv1.AgentMessage{Message: &stixv1.AgentMessage_Hello{Hello: &stixv1.Hello{}}}, nil
		}
		drop := func(*stixv1.CoordinatorMessage) error { return nil }
		for _, c := range []struct {
			peer auth.Peer
			want error
		}{
			{auth.Peer{NodeUID: "n0", KeyHash: "other"}, auth.ErrUnknownNode},
			{auth.Peer{NodeUID: "n9", KeyHash: keyHash}, auth.ErrUnknownNode},
			{auth.Peer{NodeUID: "n0", KeyHash: keyHash}, state.ErrNotLeader},
		} {
			if err := w.nodes.Session(t.Context(), c.peer, hello, drop); !errors.Is(err, c.want) {
				t.Errorf("%v: %v, want %v", c.peer, err, c.want)
			}
		}
	})
}

func TestSilentNodeBecomesUnreachableAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lead()
		a := w.connect()
		a.next()
		agentState := func() stixv1.AgentState {
			n, _ := w.store.Read().Nodes.Get("n0")
			return n.Agent.State
		}
		beat := &stixv1.AgentMessage{Message: &stixv1.AgentMessage_Heartbeat{Heartbeat: &stixv1.Heartbeat{}}}
		for range 10 {
			time.Sleep(HeartbeatInterval)
			a.up <- beat
		}
		if s := agentState(); s != stixv1.AgentState_AGENT_STATE_READY {
			t.Fatalf("a node that sends heartbeats is %s", s)
		}
		time.Sleep(SilenceLimit + 2*sweepInterval)
		if s := agentState(); s != stixv1.AgentState_AGENT_STATE_UNREACHABLE {
			t.Fatalf("a silent node is %s", s)
		}
		<-a.done // the session that hung was closed
		b := w.connect()
		b.next()
		if s := agentState(); s != stixv1.AgentState_AGENT_STATE_READY {
			t.Fatalf("a node that came back is %s", s)
		}
	})
}

func TestLostMachineEndsItsAssignmentsAndTheirLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.lead()
		w.assign("a1")
		w.do(func(tx *state.Tx) {
			tx.Nodes.Edit("n0", func(n *stixv1.Node) { n.State = stixv1.NodeState_NODE_STATE_TERMINATED })
		})
		synctest.Wait()
		a, _ := w.store.Read().Assignments.Get("a1")
		if a.Status.Outcome != stixv1.Outcome_OUTCOME_LOST || !a.Status.LogArchived {
			t.Errorf("status %v", a.Status)
		}
		if !slices.Equal(w.logs.abandoned, []string{"a1"}) {
			t.Errorf("abandoned logs %v", w.logs.abandoned)
		}
	})
}

func TestEnrolmentTakesTheTokenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.do(func(tx *state.Tx) { tx.Nodes.Edit("n0", func(n *stixv1.Node) { n.Agent = nil }) })
		csr := func() []byte {
			key, err := tlsconf.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			req, err := tlsconf.NodeRequest(key)
			if err != nil {
				t.Fatal(err)
			}
			return req
		}
		mine, thief := csr(), csr()
		enrol := func(token string, csr []byte) error {
			_, err := w.nodes.Enrol(t.Context(), &stixv1.EnrolRequest{NodeUid: "n0", JoinToken: token, Csr: csr})
			return err
		}
		if err := enrol("guess", mine); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("a wrong token: %v", err)
		}
		if err := enrol("token", mine); err != nil {
			t.Fatal(err)
		}
		if err := enrol("token", mine); err != nil {
			t.Errorf("the answer was lost: %v", err)
		}
		if err := enrol("token", thief); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("a replay with another key: %v", err)
		}
		refusals := 0
		for e := range w.store.Read().EventsOf("c1") {
			if e.Type == "node.enrolment-refused" {
				refusals++
			}
		}
		if refusals != 2 {
			t.Errorf("%d events tell of refusals, want 2", refusals)
		}
		if _, err := w.nodes.Renew(t.Context(), &stixv1.RenewRequest{NodeUid: "n0", Csr: thief}); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("renewal with another key: %v", err)
		}
		if _, err := w.nodes.Renew(t.Context(), &stixv1.RenewRequest{NodeUid: "n0", Csr: mine}); err != nil {
			t.Errorf("renewal: %v", err)
		}
	})
}

func TestOrderHasTheVariablesInTheirLayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.assign("a1")
		view := w.store.Read()
		a, _ := view.Assignments.Get("a1")
		o := w.nodes.order(view, a)
		got := map[string]string{}
		for _, e := range o.Envs {
			got[e.Name] = e.Value
		}
		for name, want := range map[string]string{
			"SKYPILOT_NODE_IPS": "127.64.0.1", "SKYPILOT_NUM_NODES": "7", "SKYPILOT_NODE_RANK": "0", "A": "1", "TOKEN": "s3cret",
			"SKYPILOT_TASK_ID":      "sky-2026-01-02-03-04-05-000006_demo_3",
			"SKYPILOT_CLUSTER_INFO": `{"cluster_name":"demo","cloud":"local","region":"local","zone":null}`,
			"SKYPILOT_USER":         "ann", "SKYPILOT_INTERNAL_JOB_ID": "3", "SKYPILOT_NUM_GPUS_PER_NODE": "0", "CUDA_VISIBLE_DEVICES": "",
			"STIX_NODE_RANK": "0", "STIX_NUM_NODES": "7", "STIX_TASK_ID": "sky-2026-01-02-03-04-05-000006_demo_3",
		} {
			if got[name] != want {
				t.Errorf("%s is %q, want %q", name, got[name], want)
			}
		}
		if o.LogDir != "3-hello" || o.LogFile != "tasks/run.log" || o.Script != "echo" {
			t.Errorf("order %v", o)
		}
	})
}

package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stix-run/stix/agent"
	"github.com/stix-run/stix/agent/exec/fakeexec"
	"github.com/stix-run/stix/agent/logs"
	"github.com/stix-run/stix/agent/session/sessiontest"
	"github.com/stix-run/stix/internal/bootstrap"
	"github.com/stix-run/stix/internal/memnet"
	"github.com/stix-run/stix/internal/testlog"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const (
	accepted = stixv1.AssignmentState_ASSIGNMENT_STATE_ACCEPTED
	running  = stixv1.AssignmentState_ASSIGNMENT_STATE_RUNNING
	exited   = stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED
)

// world is one coordinator and one node in virtual time.
type world struct {
	t           *testing.T
	network     *memnet.Network
	coordinator *sessiontest.Coordinator
	machine     *fakeexec.Machine
	dir, home   string
	boot        string
	addresses   []string
	syncer      syncerFunc
	stops       map[string]func()
}

type syncerFunc func(context.Context, []*stixv1.Mount, string) error

func (f syncerFunc) Sync(ctx context.Context, m []*stixv1.Mount, home string) error {
	return f(ctx, m, home)
}

// inWorld runs a test in a bubble; all that it started is ended after it.
func inWorld(t *testing.T, test func(*world)) {
	t.Helper()
	dir, home := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c, err := sessiontest.New("token")
		if err != nil {
			t.Fatal(err)
		}
		w := &world{
			t: t, network: memnet.New(1), coordinator: c, machine: fakeexec.NewMachine(), dir: dir, home: home, boot: "boot-1",
			addresses: []string{"c1:1", "c2:1"}, stops: map[string]func(){},
			syncer: func(context.Context, []*stixv1.Mount, string) error { return nil },
		}
		defer func() {
			for name := range w.stops {
				w.stop(name)
			}
			w.machine.Reboot()
		}()
		w.serve("c1")
		w.agent()
		test(w)
	})
}

// serve starts a coordinator process on a host.
func (w *world) serve(host string) {
	w.t.Helper()
	l, err := w.network.Host(host).Listen("agents")
	if err != nil {
		w.t.Fatal(err)
	}
	stop, err := w.coordinator.Serve(l)
	if err != nil {
		w.t.Fatal(err)
	}
	w.stops[host] = stop
}

// agent starts the agent of the node.
func (w *world) agent() {
	w.t.Helper()
	host := w.network.Host("node")
	a, err := agent.New(agent.Config{
		Dir: w.dir, Home: w.home, BootID: w.boot, Version: "test", ReserveBytes: -1, Logger: testlog.New(w.t),
		Bootstrap: &bootstrap.Bootstrap{
			NodeUID: "node-1", ClusterID: sessiontest.Cluster, CAPin: w.coordinator.Pin(), JoinToken: "token",
			Coordinators: w.addresses,
		},
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			name, _, _ := strings.Cut(address, ":")
			return host.Dial(ctx, name+"/agents")
		},
		Executor: w.machine,
		Logs:     logs.SourceFunc(func(uid string) (logs.Log, error) { return w.machine.OpenLog(uid) }),
		Syncer:   w.syncer,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	w.stops["agent"] = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("agent: %v", err)
		}
	}
}

func (w *world) stop(name string) {
	w.stops[name]()
	delete(w.stops, name)
}

// until waits at most a virtual time for what the coordinator is to know.
func (w *world) until(limit time.Duration, what string, done func(sessiontest.Snapshot) bool) sessiontest.Snapshot {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), limit)
	defer cancel()
	if err := w.coordinator.Until(ctx, done); err != nil {
		w.t.Fatalf("not in %v: %s: %v", limit, what, err)
	}
	return w.coordinator.State()
}

func is(uid string, s stixv1.AssignmentState) func(sessiontest.Snapshot) bool {
	return func(k sessiontest.Snapshot) bool { return k.Assignments[uid].Status.GetState() == s }
}

func complete(uid string) func(sessiontest.Snapshot) bool {
	return func(k sessiontest.Snapshot) bool { return k.Assignments[uid].Complete }
}

func connected(k sessiontest.Snapshot) bool { return k.Sessions == 1 }

func order(uid, script string) *stixv1.Order {
	return &stixv1.Order{
		AssignmentUid: uid, JobUid: "j", LogDir: "1-x", LogFile: "tasks/run.log", Script: script,
		Phase: stixv1.Phase_PHASE_RUN, Goal: stixv1.AssignmentGoal_ASSIGNMENT_GOAL_RUN, KillGraceMs: 5000,
	}
}

func kill(o *stixv1.Order) *stixv1.Order {
	return &stixv1.Order{
		AssignmentUid: o.GetAssignmentUid(), LogDir: o.GetLogDir(), LogFile: o.GetLogFile(),
		Goal: stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL, KillGraceMs: o.GetKillGraceMs(),
	}
}

func (w *world) starts(uid string) int {
	n := 0
	for _, r := range w.machine.Runs() {
		if r.UID == uid {
			n++
		}
	}
	return n
}

func TestOrderIsCarriedOutAndItsLogArrives(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		o := order("a", "print rank $RANK; sleep 3s; print bye; exit 3")
		o.Envs = []*stixv1.Env{{Name: "RANK", Value: "7"}}
		w.coordinator.Order(o)
		w.until(10*time.Second, "exit", is("a", exited))
		k := w.until(10*time.Second, "log", complete("a"))
		a := k.Assignments["a"]
		if want := []stixv1.AssignmentState{accepted, running, exited}; !slices.Equal(a.States, want) {
			t.Errorf("states %v", a.States)
		}
		if st := a.Status; st.GetExitCode() != 3 || st.GetOutcome() != stixv1.Outcome_OUTCOME_EXITED || st.GetLogBytes() != 11 || st.GetPid() == 0 ||
			st.GetEndedAt()-st.GetStartedAt() != 3e9 {
			t.Errorf("status %v", st)
		}
		if string(a.Log) != "rank 7\nbye\n" {
			t.Errorf("log %q", a.Log)
		}
		if h := k.Hellos[0]; h.GetCapability() != 1 || h.GetBootId() != "boot-1" || h.GetFacts().GetVcpus() == 0 {
			t.Errorf("hello %v", h)
		}
		if !slices.Equal(k.Nodes, []string{"node-1"}) {
			t.Errorf("nodes %v", k.Nodes)
		}
	})
}

func TestFollowedLogArrivesAsItGrows(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		w.coordinator.Order(order("a", "print one; sleep 1h; print two; hang"))
		w.coordinator.Follow("a", false)
		w.until(2*time.Second, "first line", func(k sessiontest.Snapshot) bool { return string(k.Assignments["a"].Log) == "one\n" })
		w.until(time.Hour+time.Second, "second line", func(k sessiontest.Snapshot) bool { return string(k.Assignments["a"].Log) == "one\ntwo\n" })
		if got := w.coordinator.State().Assignments["a"].Received; got != 8 {
			t.Errorf("%d bytes were sent", got)
		}
		w.coordinator.Follow("a", true)
	})
}

func TestCoordinatorCrashLosesAndDoublesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		w.coordinator.Order(order("a", "print 1; sleep 30s; print 2; sleep 30s; print 3; exit 4"), order("b", "hang"))
		w.coordinator.Follow("a", false)
		w.until(2*time.Second, "start", is("a", running))
		for range 3 {
			w.stop("c1")
			w.network.Crash("c1")
			time.Sleep(14 * time.Second)
			w.serve("c1")
			w.until(6*time.Second, "session after a crash", connected)
			w.coordinator.Follow("a", false)
		}
		w.until(time.Minute, "exit", is("a", exited))
		k := w.until(time.Minute, "log", complete("a"))
		if a := k.Assignments["a"]; string(a.Log) != "1\n2\n3\n" || a.Status.GetExitCode() != 4 {
			t.Errorf("log %q, status %v", a.Log, a.Status)
		}
		if w.starts("a") != 1 || w.starts("b") != 1 {
			t.Errorf("starts: %d, %d", w.starts("a"), w.starts("b"))
		}
	})
}

func TestAgentGoesToAnotherCoordinator(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		w.coordinator.Order(order("a", "sleep 20s; print done"))
		w.until(2*time.Second, "start", is("a", running))
		w.serve("c2")
		w.network.Cut("node", "c1") // no reset: only silence tells
		w.until(20*time.Second, "session at c2", func(k sessiontest.Snapshot) bool { return len(k.Hellos) == 2 })
		k := w.until(30*time.Second, "log at c2", complete("a"))
		if log := string(k.Assignments["a"].Log); log != "done\n" {
			t.Errorf("log %q", log)
		}
	})
}

func TestReportsAreSentAgainUntilConfirmed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		w.coordinator.Mute(true)
		w.coordinator.Order(order("a", "exit 0"))
		w.until(2*time.Second, "exit", is("a", exited))
		first := w.coordinator.State().Reports
		w.stop("agent")
		w.agent()
		k := w.until(5*time.Second, "reports again", func(k sessiontest.Snapshot) bool { return len(k.Reports) >= 2*len(first) })
		if !slices.Equal(k.Reports, append(slices.Clone(first), first...)) || !slices.IsSorted(first) {
			t.Errorf("sequence numbers %v", k.Reports)
		}
		w.coordinator.Mute(false)
		w.coordinator.Drop()
		w.until(5*time.Second, "third time", func(k sessiontest.Snapshot) bool { return len(k.Reports) == 3*len(first) && k.Sessions == 1 })
		synctest.Wait()
		w.coordinator.Drop()
		w.until(5*time.Second, "session", connected)
		time.Sleep(10 * time.Second)
		if n := len(w.coordinator.State().Reports); n != 3*len(first) {
			t.Errorf("confirmed reports were sent again: %d", n)
		}
	})
}

func TestAgentThatRestartsAdoptsItsJobs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		w.coordinator.Order(order("a", "print 1; sleep 60s; print 2; exit 5"), order("b", "sleep 1s"), order("c", "hang"))
		w.until(2*time.Second, "start", is("a", running))
		w.stop("agent")
		time.Sleep(30 * time.Second)
		w.agent()
		w.until(5*time.Second, "result from while it was away", is("b", exited))
		w.coordinator.Order(kill(order("c", "")))
		w.until(time.Second, "kill of an adopted job", is("c", exited))
		w.until(time.Minute, "exit", is("a", exited))
		k := w.until(time.Minute, "log", complete("a"))
		if a := k.Assignments["a"]; a.Status.GetExitCode() != 5 || string(a.Log) != "1\n2\n" {
			t.Errorf("log %q, status %v", a.Log, a.Status)
		}
		if len(w.machine.Runs()) != 3 {
			t.Errorf("%d starts", len(w.machine.Runs()))
		}
	})
}

func TestRebootEndsWhatRan(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		w.coordinator.Order(order("a", "hang"), order("b", "exit 0"))
		w.until(2*time.Second, "start", is("a", running))
		w.until(2*time.Second, "end", is("b", exited))
		w.stop("agent")
		w.machine.Reboot()
		w.boot = "boot-2"
		w.agent()
		st := w.until(5*time.Second, "loss", is("a", exited)).Assignments["a"].Status
		if st.GetOutcome() != stixv1.Outcome_OUTCOME_LOST || st.GetMessage() != "machine was restarted" {
			t.Errorf("status %v", st)
		}
		w.coordinator.Order(order("c", "hang"))
		w.until(2*time.Second, "start after the reboot", is("c", running))
		w.stop("agent")
		w.agent()
		time.Sleep(time.Minute)
		if st := w.coordinator.State().Assignments["c"].Status; st.GetState() != running {
			t.Errorf("the reboot counted twice: %v", st)
		}
	})
}

func TestKill(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		unknown := kill(order("never", "print x"))
		w.coordinator.Order(order("a", "hang"), order("b", "stubborn; hang"), unknown)
		w.until(2*time.Second, "start", is("b", running))
		begin := time.Now()
		w.coordinator.Order(kill(order("a", "")), kill(order("b", "")))
		w.coordinator.Order(kill(order("a", "")))
		w.until(time.Second, "kill", is("a", exited))
		k := w.until(6*time.Second, "kill after grace", is("b", exited))
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("grace was %v", took)
		}
		for _, uid := range []string{"a", "b", "never"} {
			st := k.Assignments[uid].Status
			if st.GetOutcome() != stixv1.Outcome_OUTCOME_KILLED || st.GetExitCode() != 137 {
				t.Errorf("%s: %v", uid, st)
			}
		}
		if w.starts("never") != 0 {
			t.Error("killed before it began, and begun nevertheless")
		}
	})
}

func TestFullOrdersEndWhatIsNotInThem(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		w.coordinator.Order(order("a", "hang"), order("b", "hang"), order("c", "exit 0"))
		w.until(2*time.Second, "start", is("b", running))
		w.until(2*time.Second, "end", is("c", exited))
		w.coordinator.Disown("a", "c")
		w.coordinator.Drop()
		w.until(5*time.Second, "session", connected)
		time.Sleep(5 * time.Second)
		if alive := w.machine.Alive(); !slices.Equal(alive, []string{"b"}) {
			t.Errorf("alive: %v", alive)
		}
		// What is forgotten would be adopted or reported otherwise.
		before := len(w.coordinator.State().Reports)
		w.stop("agent")
		w.agent()
		w.until(5*time.Second, "session", connected)
		time.Sleep(5 * time.Second)
		if n := len(w.coordinator.State().Reports); n != before {
			t.Errorf("%d reports of what was forgotten", n-before)
		}
	})
}

func TestForgottenAssignmentIsGone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.coordinator.AutoForget = true
		w.until(5*time.Second, "session", connected)
		w.coordinator.Order(order("a", "print x"))
		w.until(5*time.Second, "log", complete("a"))
		time.Sleep(time.Second)
		if out := w.machine.Output("a"); out != "" {
			t.Errorf("machine still has %q", out)
		}
	})
}

func TestMountsAreSyncedBeforeTheScriptAndAKillEndsThat(t *testing.T) {
	var synced []string
	inWorld(t, func(w *world) {
		w.stop("agent")
		w.syncer = func(ctx context.Context, m []*stixv1.Mount, home string) error {
			synced = append(synced, m[0].GetRoot())
			switch m[0].GetRoot() {
			case "slow":
				<-ctx.Done()
				return ctx.Err()
			case "bad":
				return errors.New("blob is missing")
			}
			return nil
		}
		w.agent()
		w.until(5*time.Second, "session", connected)
		mounted := func(uid, root string) *stixv1.Order {
			o := order(uid, "print ran")
			o.Mounts = []*stixv1.Mount{{Root: root, Destination: "~/x"}}
			return o
		}
		w.coordinator.Order(mounted("good", "good"))
		w.until(time.Second, "exit", is("good", exited))
		w.coordinator.Order(mounted("bad", "bad"))
		w.until(time.Second, "failure", is("bad", exited))
		w.coordinator.Order(mounted("slow", "slow"))
		w.until(time.Second, "accepted", is("slow", accepted))
		w.coordinator.Order(kill(order("slow", "")))
		k := w.until(time.Second, "kill", is("slow", exited))
		if !slices.Equal(synced, []string{"good", "bad", "slow"}) {
			t.Errorf("synced %v", synced)
		}
		got := []string{}
		for _, uid := range []string{"good", "bad", "slow"} {
			st := k.Assignments[uid].Status
			got = append(got, fmt.Sprintf("%v %d %s", st.GetOutcome(), w.starts(uid), st.GetMessage()))
		}
		want := []string{"OUTCOME_EXITED 1 ", "OUTCOME_NOT_STARTED 0 blob is missing", "OUTCOME_KILLED 0 "}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLostShimAndRefusedStartAreReported(t *testing.T) {
	inWorld(t, func(w *world) {
		w.machine.Refuse("no", errors.New("no space left on device"))
		w.until(5*time.Second, "session", connected)
		w.coordinator.Order(order("a", "crash"), order("no", "exit 0"))
		w.until(2*time.Second, "loss", is("a", exited))
		k := w.until(2*time.Second, "refusal", is("no", exited))
		if st := k.Assignments["a"].Status; st.GetOutcome() != stixv1.Outcome_OUTCOME_LOST {
			t.Errorf("a: %v", st)
		}
		if st := k.Assignments["no"].Status; st.GetOutcome() != stixv1.Outcome_OUTCOME_NOT_STARTED || st.GetMessage() != "no space left on device" {
			t.Errorf("no: %v", st)
		}
	})
}

func TestSecondAgentInADirectoryIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		a, err := agent.New(agent.Config{
			Dir: w.dir, Home: w.home, BootID: "b", Logger: testlog.New(t), Program: "/nowhere",
			Bootstrap: &bootstrap.Bootstrap{NodeUID: "n", ClusterID: "c", CAPin: "p", Coordinators: w.addresses},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Run(t.Context()); err == nil {
			t.Fatal("two agents in one directory")
		}
	})
}

func TestManyLogsArePushedWhole(t *testing.T) {
	inWorld(t, func(w *world) {
		w.until(5*time.Second, "session", connected)
		var orders []*stixv1.Order
		for i := range 30 {
			orders = append(orders, order(fmt.Sprint("j", i), "fill 700000; sleep 1; print end"))
		}
		w.coordinator.Order(orders...)
		time.Sleep(500 * time.Millisecond)
		w.coordinator.Follow("j3", false)
		w.coordinator.Drop()
		for _, o := range orders {
			k := w.until(time.Minute, "log", complete(o.GetAssignmentUid()))
			if a := k.Assignments[o.GetAssignmentUid()]; len(a.Log) != 700004 || !strings.HasSuffix(string(a.Log), "xend\n") {
				t.Fatalf("log of %d bytes", len(a.Log))
			}
		}
	})
}

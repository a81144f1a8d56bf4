package consensus

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// runNode runs a single voter in memory with its own leadership function.
func runNode(t *testing.T, lead func(context.Context, uint64) error) (n *Node, stop func()) {
	t.Helper()
	n, err := New(Config{ID: "a", Stores: NewMemoryDisk(), FSM: &journal{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- n.Run(ctx) }()
	go func() { done <- n.Lead(ctx, lead) }()
	return n, func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}

func TestLeadBeginsAfterEverythingBeforeIsApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := NewMemoryDisk()
		m := startMember(t, Config{ID: "a", Stores: disk})
		waitLeads(m)
		m.put(t, "x")
		if err := m.stop(); err != nil {
			t.Fatal(err)
		}
		j := &journal{}
		n, err := New(Config{ID: "a", Stores: disk, FSM: j})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- n.Run(ctx) }()
		err = n.Lead(ctx, func(_ context.Context, term uint64) error {
			if !j.has("x") {
				t.Error("term began before the entry of the last was applied")
			}
			if term != n.Term() || term < 3 {
				t.Errorf("term %d, node is in %d", term, n.Term())
			}
			cancel()
			return nil
		})
		if err := errors.Join(err, <-ran); err != nil {
			t.Error(err)
		}
	})
}

func TestLeadCallsAgainAfterItsFunctionFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		_, stop := runNode(t, func(ctx context.Context, _ uint64) error {
			if calls.Add(1) < 4 {
				return errors.New("told to fail")
			}
			<-ctx.Done()
			return nil
		})
		time.Sleep(250 * time.Millisecond)
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls within the first pauses, want 2", n)
		}
		time.Sleep(time.Minute)
		if n := calls.Load(); n != 4 {
			t.Errorf("%d calls, want three failures and one that works", n)
		}
		stop()
	})
}

func TestLeadMovesLeadershipAwayFromANodeWhereItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		broken := c.leader()
		broken.fail.Store(true)
		if err := broken.TransferLeadership(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		next := c.leader(broken.id)
		if err := next.TransferLeadership(t.Context(), broken.id); err != nil {
			t.Fatal(err)
		}
		next = c.leader(broken.id)
		next.put(t, "x")
		time.Sleep(5 * time.Second)
		if c.leader() == broken {
			t.Error("the node whose work fails leads")
		}
		c.stop()
	})
}

func TestLeadEndsWithTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := NewMemoryDisk()
		n, err := New(Config{ID: "a", Stores: disk, FSM: &journal{poison: "poison"}})
		if err != nil {
			t.Fatal(err)
		}
		led := make(chan error)
		leads := make(chan struct{})
		go func() {
			led <- n.Lead(t.Context(), func(ctx context.Context, _ uint64) error {
				close(leads)
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		ran := make(chan error)
		go func() { ran <- n.Run(t.Context()) }()
		<-leads
		if err := n.Lead(t.Context(), nil); err == nil {
			t.Error("two Leads at once")
		}
		if _, err := n.Propose(t.Context(), []byte("poison")); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("Propose = %v", err)
		}
		if err := <-ran; err == nil {
			t.Error("Run returned without the fault")
		}
		if err := <-led; err == nil {
			t.Error("Lead returned without the fault")
		}
		if err := n.Lead(t.Context(), nil); err == nil {
			t.Error("Lead on a node that has ended")
		}
	})
}

func TestProposalsDuringATransferAreRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := runNode(t, func(ctx context.Context, _ uint64) error {
			<-ctx.Done()
			return nil
		})
		time.Sleep(time.Second)
		n.calls.pause()
		if _, err := n.Propose(t.Context(), []byte("x")); !errors.Is(err, ErrRejected) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("Propose = %v, want ErrRejected alone", err)
		}
		if err := n.VerifyLeader(t.Context()); err != nil {
			t.Errorf("reads go on, but VerifyLeader = %v", err)
		}
		n.calls.resume()
		if _, err := n.Propose(t.Context(), []byte("x")); err != nil {
			t.Errorf("Propose after the transfer = %v", err)
		}
		stop()
	})
}

func TestNodeBeforeAndAfterRunAnswersWithoutHanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := New(Config{ID: "a", Stores: NewMemoryDisk(), FSM: &journal{}})
		if err != nil {
			t.Fatal(err)
		}
		answers := func(when string) {
			if _, err := n.Propose(t.Context(), nil); !errors.Is(err, ErrNotLeader) {
				t.Errorf("%s: Propose = %v", when, err)
			}
			if err := n.LinearizableRead(t.Context()); !errors.Is(err, ErrNotLeader) {
				t.Errorf("%s: LinearizableRead = %v", when, err)
			}
			if err := n.TransferLeadership(t.Context(), ""); !errors.Is(err, ErrNotLeader) {
				t.Errorf("%s: TransferLeadership = %v", when, err)
			}
			n.Stats()
			n.Servers()
		}
		answers("before")
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- n.Run(ctx) }()
		<-n.Started()
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		answers("after")
		if err := n.WaitApplied(t.Context(), 99); !errors.Is(err, ErrStopped) {
			t.Errorf("WaitApplied = %v", err)
		}
		if err := n.Run(t.Context()); err == nil {
			t.Error("Run twice")
		}
	})
}

func TestSingleVoterLeadsAtOnceAndStaysLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		m := startMember(t, Config{ID: "a", Stores: NewMemoryDisk()})
		waitLeads(m)
		if took := time.Since(start); took > time.Millisecond {
			t.Errorf("led after %s", took)
		}
		time.Sleep(24 * time.Hour)
		if len(m.terms) != 1 || m.Stats().Last != 3 {
			t.Errorf("terms %v, last entry %d after an idle day", m.terms, m.Stats().Last)
		}
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{ID: "a", FSM: &journal{}, Stores: NewMemoryDisk()}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no id":             func(c *Config) { c.ID = "" },
		"no fsm":            func(c *Config) { c.FSM = nil },
		"no stores":         func(c *Config) { c.Stores = nil },
		"two stores":        func(c *Config) { c.Dir = "x" },
		"peer, no stream":   func(c *Config) { c.Bootstrap = []Server{{ID: "b"}} },
		"server twice":      func(c *Config) { c.Bootstrap = []Server{{ID: "a"}, {ID: "a"}} },
		"lease > heartbeat": func(c *Config) { c.Lease = time.Hour },
		"negative":          func(c *Config) { c.Heartbeat = -1 },
	} {
		c := good
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestLibraryIsQuietExceptForWhatOperatorsNeed(t *testing.T) {
	var lines levels
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off})
	l.RegisterSink(&lines)
	q := quiet(l).With("peer", "b").Named("x")
	q.Info("entering follower state")
	q.Error("failed to make requestVote RPC")
	q.Warn("heartbeat timeout reached, starting election")
	q.Warn("failed to contact")
	q.Error("failed to take snapshot")
	want := levels{hclog.Debug, hclog.Debug, hclog.Debug, hclog.Warn, hclog.Error}
	if len(lines) != len(want) {
		t.Fatalf("levels %v, want %v", lines, want)
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("levels %v, want %v", lines, want)
		}
	}
}

// levels collects the levels of what is logged.
type levels []hclog.Level

// Accept satisfies hclog.SinkAdapter.
func (l *levels) Accept(_ string, level hclog.Level, _ string, _ ...any) { *l = append(*l, level) }

func TestCloneIsIndependentOfItsDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := NewMemoryDisk()
		m := startMember(t, Config{ID: "a", Stores: disk})
		waitLeads(m)
		m.put(t, "both")
		clone := disk.Clone()
		m.put(t, "original")
		other := startMember(t, Config{ID: "a", Stores: clone})
		waitLeads(other)
		if other.journal.has("original") || !other.journal.has("both") {
			t.Errorf("clone holds %v", other.journal.list())
		}
		other.put(t, "clone")
		if m.journal.has("clone") {
			t.Error("write to the clone reached the original")
		}
		if err := errors.Join(m.stop(), other.stop()); err != nil {
			t.Error(err)
		}
	})
}

func TestLeadEndsWithItsContextWhileTheNodeGoesOnLeading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := New(Config{ID: "a", Stores: NewMemoryDisk(), FSM: &journal{}})
		if err != nil {
			t.Fatal(err)
		}
		run, stopRun := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- n.Run(run) }()
		work, stopWork := context.WithCancel(t.Context())
		calls := 0
		err = n.Lead(work, func(ctx context.Context, _ uint64) error {
			calls++
			stopWork()
			<-ctx.Done()
			return nil
		})
		if err != nil || calls != 1 {
			t.Errorf("Lead returned %v after %d calls", err, calls)
		}
		if _, err := n.Propose(t.Context(), []byte("x")); err != nil {
			t.Errorf("the node does not lead any more: %v", err)
		}
		stopRun()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestClusterElectsOneLeaderAndReplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		start := time.Now()
		leader := c.leader()
		if took := time.Since(start); took > time.Second {
			t.Errorf("first leader after %s", took)
		}
		leader.put(t, "x")
		c.agree("x")
		leading := 0
		for _, m := range c.members {
			if m.leads() {
				leading++
			}
			if id, addr := m.Leader(); id != leader.id || addr != leader.id+"/raft" {
				t.Errorf("%s takes %q at %q for the leader", m.id, id, addr)
			}
		}
		if leading != 1 {
			t.Errorf("%d leaders", leading)
		}
		c.stop()
	})
}

func TestClusterSurvivesLossOfItsLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		old := c.leader()
		old.put(t, "before")
		term := old.Term()
		start := time.Now()
		disk := c.crash(old)
		next := c.leader()
		next.put(t, "after")
		if took := time.Since(start); took > time.Second {
			t.Errorf("next commit %s after the crash", took)
		}
		if next.Term() <= term {
			t.Errorf("term %d follows %d", next.Term(), term)
		}
		c.start(old.id, disk)
		c.agree("before", "after")
		c.stop()
	})
}

func TestLeaderCutOffLosesItsTermBeforeTheNextBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		old := c.leader()
		c.net.Isolate(old.id)
		cut := time.Now()
		go func() {
			for old.leads() {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(cut); took > 200*time.Millisecond {
				t.Errorf("cut-off leader worked on for %s", took)
			}
		}()
		next := c.leader(old.id)
		if old.leads() {
			t.Error("two leaders work at once")
		}
		next.put(t, "elsewhere")
		if err := old.VerifyLeader(t.Context()); err == nil {
			t.Error("cut-off node verified its leadership")
		}
		if err := old.LinearizableRead(t.Context()); err == nil {
			t.Error("cut-off node served a linearizable read")
		}
		c.net.Rejoin(old.id)
		c.agree("elsewhere")
		if got := c.leader(); got != next {
			t.Errorf("%s rejoined and unseated %s: pre-vote is off", old.id, next.id)
		}
		c.stop()
	})
}

// A follower that was away with a raised term must not end the leader's: that is
// what pre-vote is for.
func TestReturningFollowerDoesNotUnseatTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		leader, follower := c.leader(), c.follower()
		term := leader.Term()
		c.net.Isolate(follower.id)
		time.Sleep(10 * time.Second)
		c.net.Rejoin(follower.id)
		time.Sleep(5 * time.Second)
		if !leader.leads() || leader.Term() != term || follower.Term() != term {
			t.Errorf("term %d became %d", term, leader.Term())
		}
		if len(leader.terms) != 1 {
			t.Errorf("leader began %d terms", len(leader.terms))
		}
		c.stop()
	})
}

func TestTransferMovesLeadershipQuicklyAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Of five, a target may have what a quorum is not yet known to have.
		c := newCluster(t, 5, nil)
		leader, target := c.leader(), c.follower()
		c.net.SetJitter(5 * time.Millisecond)
		proposals := make(chan error, 200)
		for i := range cap(proposals) {
			go func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				_, err := leader.Propose(t.Context(), fmt.Appendf(nil, "p%d", i))
				proposals <- err
			}()
		}
		time.Sleep(5 * time.Millisecond)
		start := time.Now()
		if err := leader.TransferLeadership(t.Context(), target.id); err != nil {
			t.Fatal(err)
		}
		if got := c.leader(); got != target {
			t.Fatalf("%s leads, want %s", got.id, target.id)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("transfer took %s", took)
		}
		for range cap(proposals) {
			err := <-proposals
			if err != nil && !errors.Is(err, ErrRejected) && !errors.Is(err, ErrNotLeader) {
				t.Errorf("planned transfer left an outcome open: %v", err)
			}
		}
		target.put(t, "after")
		c.agree("after")
		c.stop()
	})
}

func TestTransferWaitsForProposalsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5, nil)
		leader, target := c.leader(), c.follower()
		// The target can have the entry at once, a quorum only later.
		for id := range c.members {
			if id != leader.id && id != target.id {
				c.net.Cut(leader.id, id)
				c.net.Cut(target.id, id)
			}
		}
		time.AfterFunc(50*time.Millisecond, c.net.Heal)
		proposed := make(chan error)
		go func() {
			_, err := leader.Propose(t.Context(), []byte("x"))
			proposed <- err
		}()
		time.Sleep(10 * time.Millisecond)
		if err := leader.TransferLeadership(t.Context(), target.id); err != nil {
			t.Error(err)
		}
		if err := <-proposed; err != nil {
			t.Errorf("Propose = %v", err)
		}
		c.stop()
	})
}

func TestStoppingLeaderHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		leader := c.leader()
		leader.put(t, "x")
		start := time.Now()
		if err := leader.stop(); err != nil {
			t.Fatal(err)
		}
		delete(c.members, leader.id)
		c.leader().put(t, "y")
		if took := time.Since(start); took > 150*time.Millisecond {
			t.Errorf("next commit %s after a clean stop: no hand-over", took)
		}
		c.stop()
	})
}

func TestProposeOnFollowerChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		follower := c.follower()
		if _, err := follower.Propose(t.Context(), []byte("x")); !errors.Is(err, ErrNotLeader) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("Propose = %v, want ErrNotLeader alone", err)
		}
		for name, call := range map[string]func(context.Context) error{
			"Barrier":            follower.Barrier,
			"VerifyLeader":       follower.VerifyLeader,
			"LinearizableRead":   follower.LinearizableRead,
			"TransferLeadership": func(ctx context.Context) error { return follower.TransferLeadership(ctx, "") },
		} {
			if err := call(t.Context()); !errors.Is(err, ErrNotLeader) {
				t.Errorf("%s = %v, want ErrNotLeader", name, err)
			}
		}
		c.stop()
	})
}

func TestProposeWithoutQuorumHasUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		leader := c.leader()
		c.net.Isolate(leader.id)
		if _, err := leader.Propose(t.Context(), []byte("lost")); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("Propose = %v, want ErrUnknownOutcome", err)
		}
		c.net.Rejoin(leader.id)
		c.leader()

		leader = c.leader()
		c.net.Isolate(leader.id)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := leader.Propose(ctx, []byte("impatient"))
		if !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Propose = %v, want an unknown outcome by the deadline", err)
		}
		c.net.Heal()
		c.net.Rejoin(leader.id)
		c.leader()
		c.stop()
	})
}

func TestLinearizableReadSeesEveryAcknowledgedEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		for i := range 5 {
			leader := c.leader()
			entry := fmt.Sprint("e", i)
			leader.put(t, entry)
			if err := leader.TransferLeadership(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			// No waiting for the new leader's own barrier here: the read makes its own.
			for done := false; !done; time.Sleep(time.Millisecond) {
				for _, m := range c.members {
					if m.LinearizableRead(t.Context()) != nil {
						continue
					}
					done = true
					if !m.journal.has(entry) {
						t.Errorf("read on %s misses %s", m.id, entry)
					}
				}
			}
		}
		c.stop()
	})
}

func TestLinearizableReadWaitsUntilApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		leader := c.leader()
		release := leader.journal.block()
		go leader.Propose(t.Context(), []byte("x"))
		time.Sleep(100 * time.Millisecond) // committed, and stuck in the state machine
		time.AfterFunc(time.Second, release)
		if err := leader.LinearizableRead(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !leader.journal.has("x") {
			t.Error("read before a committed entry was applied")
		}
		c.stop()
	})
}

// A new leader has acknowledged entries in its log that it does not know to be
// committed until it commits one of its own.
func TestLinearizableReadOfANewLeaderSeesTheLastOnesEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		old := c.leader()
		c.net.SetLatency(5 * time.Millisecond)
		old.put(t, "w")
		c.agree("w")
		old.put(t, "x")
		c.crash(old)
		next := c.elected()
		for _, m := range c.members { // heartbeats are answered, appends are not
			if m != next {
				m.disk.Stall()
				time.AfterFunc(300*time.Millisecond, m.disk.Thaw)
			}
		}
		if next.journal.has("x") {
			t.Fatal("the test came too late")
		}
		if err := next.VerifyLeader(t.Context()); err != nil || next.journal.has("x") {
			t.Fatalf("VerifyLeader = %v: the test proves nothing", err)
		}
		if err := next.LinearizableRead(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !next.journal.has("x") {
			t.Error("read misses an acknowledged entry")
		}
		c.stop()
	})
}

func TestReadDoesNotWaitForAnotherEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		leader := c.leader()
		for range 3 { // after an entry, a barrier, a membership change
			if err := leader.LinearizableRead(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := leader.Barrier(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := leader.LinearizableRead(t.Context()); err != nil {
				t.Fatal(err)
			}
			leader.put(t, "x")
		}
		last := leader.Stats().Last
		if err := leader.AddNonvoter(t.Context(), "z", "z/raft"); err != nil {
			t.Fatal(err)
		}
		if err := leader.LinearizableRead(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := leader.Stats().Last; got != last+1 {
			t.Errorf("reads wrote %d entries", got-last-1)
		}
		if err := leader.RemoveServer(t.Context(), "z"); err != nil {
			t.Fatal(err)
		}
		c.stop()
	})
}

func TestMembershipGrowsFromOneToThreeAndShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, nil)
		first := c.leader()
		first.put(t, "alone")
		c.tweak = func(cfg *Config) { cfg.Bootstrap = nil }
		for _, id := range []string{"b", "c"} {
			c.start(id, NewMemoryDisk())
			if err := first.AddNonvoter(t.Context(), id, id+"/raft"); err != nil {
				t.Fatal(err)
			}
			if err := first.AddVoter(t.Context(), id, id+"/raft"); err != nil {
				t.Fatal(err)
			}
		}
		c.agree("alone")
		if got := len(first.Servers()); got != 3 {
			t.Fatalf("%d servers", got)
		}
		if err := first.RemoveServer(t.Context(), first.id); err != nil && !errors.Is(err, ErrUnknownOutcome) {
			t.Fatal(err)
		}
		next := c.leader(first.id)
		next.put(t, "without a")
		if first.leads() || first.journal.has("without a") {
			t.Error("removed node takes part")
		}
		if ids := serverIDs(next.Servers()); !slices.Equal(ids, []string{"b", "c"}) {
			t.Errorf("servers %v", ids)
		}
		c.stop()
	})
}

func serverIDs(servers []Server) []string {
	var ids []string
	for _, s := range servers {
		ids = append(ids, s.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestFollowerLeftBehindCatchesUpBySnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, func(cfg *Config) { cfg.TrailingEntries = 1 })
		leader, follower := c.leader(), c.follower()
		disk := c.crash(follower)
		var entries []string
		for i := range 50 {
			entries = append(entries, fmt.Sprint("e", i))
			leader.put(t, entries[i])
		}
		if err := leader.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if first, _ := (memoryLog{leader.disk}).FirstIndex(); first < 40 {
			t.Fatalf("log begins at %d: nothing was compacted", first)
		}
		back := c.start(follower.id, disk)
		c.agree(entries...)
		if got, want := back.AppliedIndex(), leader.AppliedIndex(); got != want {
			t.Errorf("applied index %d after restore, leader's is %d", got, want)
		}
		// And it restores from what it was sent.
		disk = c.crash(back)
		c.start(follower.id, disk)
		c.agree(entries...)
		c.stop()
	})
}

package consensus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStateMachineErrorStopsEachNodeAndNothingIsAppliedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, func(cfg *Config) { cfg.FSM = &journal{poison: "poison"} })
		leader := c.leader()
		leader.put(t, "good")
		results := make(chan error, 3)
		for _, entry := range []string{"poison", "next", "more"} {
			go func() {
				_, err := leader.Propose(t.Context(), []byte(entry))
				results <- err
			}()
			time.Sleep(time.Microsecond)
		}
		for range 3 {
			err := <-results
			if err == nil || errors.Is(err, ErrRejected) {
				t.Errorf("Propose after a fault = %v", err)
			}
		}
		<-leader.done
		if leader.err == nil || leader.err.Error() != "apply entry 5: cannot decode" {
			t.Errorf("Run = %v, want the state machine's error", leader.err)
		}
		if got := leader.journal.list(); len(got) != 1 {
			t.Errorf("applied after the fault: %v", got)
		}
		// The entry is committed: its next leader meets it too. The last one may be
		// without a quorum then, and never learn.
		time.Sleep(time.Minute)
		left := 0
		for _, m := range c.members {
			if !isDone(m) {
				left++
				if err := m.stop(); err != nil {
					t.Error(err)
				}
			} else if m.err == nil {
				t.Errorf("%s stopped without an error", m.id)
			}
		}
		if left > 1 {
			t.Errorf("%d nodes go on", left)
		}
	})
}

func TestStalledDiskEndsRunInASecondAndOthersTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		leader := c.leader()
		leader.put(t, "x")
		leader.disk.Stall()
		start := time.Now()
		_, err := leader.Propose(t.Context(), []byte("stuck"))
		if !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, ErrDiskStalled) {
			t.Errorf("Propose = %v, want an unknown outcome for the stall", err)
		}
		<-leader.done
		if took := time.Since(start); took != time.Second {
			t.Errorf("Run returned after %s", took)
		}
		if !errors.Is(leader.err, ErrDiskStalled) {
			t.Errorf("Run = %v, want ErrDiskStalled", leader.err)
		}
		delete(c.members, leader.id)
		c.leader().put(t, "elsewhere")
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("next commit %s after the stall", took)
		}
		if leader.leads() {
			t.Error("stalled leader still works")
		}
		c.stop()
		leader.disk.Freeze() // lets go of what the stall holds
	})
}

func TestStallLetGoAfterRunReturnedAppliesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := NewMemoryDisk()
		m := startMember(t, Config{ID: "a", Stores: disk})
		waitLeads(m)
		m.put(t, "x")
		disk.Stall()
		go m.Propose(t.Context(), []byte("late"))
		<-m.done
		if !errors.Is(m.err, ErrDiskStalled) {
			t.Fatalf("Run = %v", m.err)
		}
		disk.Thaw()
		time.Sleep(time.Minute)
		if m.journal.has("late") {
			t.Error("applied after Run returned")
		}
		again := startMember(t, Config{ID: "a", Stores: disk})
		waitLeads(again)
		if !again.journal.has("late") {
			t.Error("the write that the disk took in the end is lost")
		}
		if err := again.stop(); err != nil {
			t.Error(err)
		}
	})
}

//stix:bubble
func waitLeads(m *member) {
	for !m.leads() {
		time.Sleep(time.Millisecond)
	}
}

// A process that was stopped itself finds its timers overdue, and its disk well.
func TestSlowWriteIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := NewMemoryDisk()
		m := startMember(t, Config{ID: "a", Stores: disk})
		waitLeads(m)
		for range 10 {
			disk.Stall()
			time.AfterFunc(990*time.Millisecond, disk.Thaw)
			m.put(t, "slow")
		}
		if err := m.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestFrozenDiskEndsRunWhateverTheNodeDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		leader, follower := c.leader(), c.follower()
		leader.disk.Freeze()
		if _, err := leader.Propose(t.Context(), []byte("x")); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("Propose = %v, want ErrUnknownOutcome", err)
		}
		<-leader.done
		if !errors.Is(leader.err, ErrFrozen) {
			t.Errorf("leader: Run = %v, want ErrFrozen", leader.err)
		}
		// Its successor's term is the next thing that a follower must write: the
		// library panics when it cannot.
		delete(c.members, leader.id)
		c.start(leader.id, leader.disk.Clone())
		follower.disk.Freeze()
		c.net.Isolate(c.leader(follower.id).id)
		<-follower.done
		if !errors.Is(follower.err, ErrFrozen) {
			t.Errorf("follower: Run = %v, want ErrFrozen", follower.err)
		}
		delete(c.members, follower.id)
		c.start(follower.id, follower.disk.Clone())
		c.net.Heal()
		for _, s := range c.servers {
			c.net.Rejoin(s.ID)
		}
		c.leader().put(t, "y")
		c.agree("y")
		c.stop()
	})
}

// Whichever write a crash follows, the node comes back with everything that it
// acknowledged; its first writes, those of the bootstrap, included.
func TestCrashAfterEveryWriteLosesNothingAcknowledged(t *testing.T) {
	for n := range 40 {
		synctest.Test(t, func(t *testing.T) {
			disk := NewMemoryDisk()
			disk.FreezeAfter(n)
			m := startMember(t, Config{ID: "a", Stores: disk, SnapshotBytes: 40, TrailingEntries: 1})
			acked := 0
			for ; ; acked++ {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				_, err := m.Propose(ctx, fmt.Appendf(nil, "entry %d", acked))
				cancel()
				if errors.Is(err, ErrNotLeader) && !isDone(m) {
					acked--
					time.Sleep(time.Millisecond)
					continue
				}
				if err != nil {
					break
				}
			}
			<-m.done
			if m.err == nil || !strings.Contains(m.err.Error(), ErrFrozen.Error()) {
				t.Fatalf("after %d writes: Run = %v", n, m.err)
			}
			disk.Thaw()
			again := startMember(t, Config{ID: "a", Stores: disk})
			waitLeads(again)
			got := again.journal.list()
			if len(got) < acked {
				t.Fatalf("after %d writes: %d acknowledged, %v left", n, acked, got)
			}
			for i, e := range got {
				if e != fmt.Sprint("entry ", i) {
					t.Fatalf("after %d writes: %v", n, got)
				}
			}
			again.put(t, "more")
			if err := again.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func isDone(m *member) bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

func TestStuckStateMachineDoesNotHoldTheStopForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		m := startMember(t, Config{ID: "a", Stores: NewMemoryDisk(), FSM: j})
		waitLeads(m)
		release := j.block()
		go m.Propose(t.Context(), []byte("x"))
		time.Sleep(time.Second)
		start := time.Now()
		if err := m.stop(); err == nil {
			t.Error("Run left something behind without an error")
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("stop took %s", took)
		}
		release()
	})
}

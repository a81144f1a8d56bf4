package state

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// prune calls Prune until nothing is left to drop and returns the number of calls that dropped something.
func prune(t *testing.T, s *Store, l Limits) (calls int) {
	t.Helper()
	for {
		n := 0
		must(t, s, func(tx *Tx) { n = Prune(tx, l) })
		if n == 0 {
			return calls
		}
		if calls++; calls > 1000 {
			t.Fatal("it never ends")
		}
	}
}

// finished puts a finished job with its task, an assignment and an event.
func finished(tx *Tx, clusterUID string, number int64, spec string) {
	uid := fmt.Sprintf("%s-j%05d", clusterUID, number)
	j := job(uid, clusterUID, number)
	j.State, j.EndedAt, j.SpecUid = stixv1.JobState_JOB_STATE_SUCCEEDED, tx.Now(), spec
	tx.Jobs.Put(j)
	tx.Specs.Put(&stixv1.Spec{Meta: &stixv1.Meta{Uid: spec}})
	tx.Assignments.Put(&stixv1.Assignment{Meta: &stixv1.Meta{Uid: uid + "-a"}, JobUid: uid, NodeUid: "n", Status: &stixv1.AssignmentStatus{
		State: stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED, LogArchived: true,
	}})
	tx.Event("job", uid, "job.ended", "ended")
}

func counts(v *View) string {
	return fmt.Sprintf("jobs %d, specs %d, assignments %d, events %d", v.Jobs.Len(), v.Specs.Len(), v.Assignments.Len(), v.Events.Len())
}

func TestFinishedJobsAreKeptByCount(t *testing.T) {
	s, l, stop := lead(t, nil)
	defer stop()
	must(t, s, func(tx *Tx) {
		for _, uid := range []string{"c1", "c2"} {
			c := cluster(uid, uid)
			c.NextJobNumber = 101
			tx.Clusters.Put(c)
		}
		for n := range int64(100) {
			finished(tx, "c1", n+1, fmt.Sprint("c1-spec", n/10)) // arrays of ten
			if n < 5 {
				tx.Jobs.Edit(fmt.Sprintf("c1-j%05d", n+1), func(j *stixv1.Job) { j.State = stixv1.JobState_JOB_STATE_RUNNING })
			}
		}
		for n := range int64(10) {
			finished(tx, "c2", n+91, fmt.Sprint("c2-spec", n))
		}
	})
	calls := prune(t, s, Limits{JobsPerCluster: 25, Deletions: 30})
	if got, want := counts(s.Read()), "jobs 40, specs 14, assignments 40, events 40"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if calls < 5 {
		t.Errorf("%d calls: the work of one call is not bounded", calls)
	}
	prune(t, s, Limits{Jobs: 20})
	if got, want := counts(s.Read()), "jobs 25, specs 12, assignments 25, events 25"; got != want {
		t.Errorf("with a limit in all: %s, want %s", got, want)
	}
	sameEverywhere(t, s, l)
}

func TestFinishedJobsAreKeptByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, stop := lead(t, nil)
		must(t, s, func(tx *Tx) {
			c := cluster("c1", "c1")
			c.NextJobNumber = 1000
			tx.Clusters.Put(c)
			finished(tx, "c1", 0, "sync")
		})
		for n := range int64(10) {
			must(t, s, func(tx *Tx) { finished(tx, "c1", n+1, fmt.Sprint("spec", n)) })
			time.Sleep(24 * time.Hour)
		}
		prune(t, s, Limits{JobAge: 5*day + hour})
		if got, want := counts(s.Read()), "jobs 5, specs 5, assignments 5, events 5"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		stop()
	})
}

func TestAJobWaitsForItsLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, stop := lead(t, nil)
		must(t, s, func(tx *Tx) {
			c := cluster("c1", "c1")
			c.NextJobNumber = 1000
			tx.Clusters.Put(c)
			finished(tx, "c1", 1, "spec")
			tx.Assignments.Edit("c1-j00001-a", func(a *stixv1.Assignment) { a.Status.LogArchived = false })
		})
		if prune(t, s, Limits{JobsPerCluster: 1}); s.Read().Jobs.Len() != 1 {
			t.Error("the job is gone, its log too")
		}
		time.Sleep(2 * time.Hour)
		if prune(t, s, Limits{JobsPerCluster: 1}); s.Read().Jobs.Len() != 0 {
			t.Error("the job stays for ever")
		}
		stop()
	})
}

func request(tx *Tx, uid string, st stixv1.RequestState) {
	tx.Requests.Put(&stixv1.Request{Meta: &stixv1.Meta{Uid: uid}, State: st})
}

func TestDroppedRequestsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, stop := lead(t, nil)
		must(t, s, func(tx *Tx) {
			for i := range 20 {
				request(tx, fmt.Sprintf("r%02d", i), stixv1.RequestState_REQUEST_STATE_SUCCEEDED)
			}
			request(tx, "r05", stixv1.RequestState_REQUEST_STATE_RUNNING)
		})
		if s.Read().RequestForgotten("r00") {
			t.Error("a request is forgotten before any was dropped")
		}
		prune(t, s, Limits{Requests: 10})
		v := s.Read()
		if v.Requests.Len() != 11 {
			t.Errorf("%d requests, want 11", v.Requests.Len())
		}
		if _, ok := v.Requests.Get("r05"); !ok {
			t.Error("the active request is gone")
		}
		for uid, want := range map[string]bool{"r00": true, "r0": true, "r09": true, "r10": false, "r99": false} {
			if got := v.RequestForgotten(uid); got != want {
				t.Errorf("%s is forgotten: %v, want %v", uid, got, want)
			}
		}
		// What ends later is older than what was dropped: the mark stays.
		must(t, s, func(tx *Tx) { request(tx, "r05", stixv1.RequestState_REQUEST_STATE_FAILED) })
		prune(t, s, Limits{Requests: 10})
		if v := s.Read(); v.RequestForgotten("r10") || !v.RequestForgotten("r09") {
			t.Error("the mark moved")
		}
		time.Sleep(26 * time.Hour)
		prune(t, s, Limits{})
		if v := s.Read(); v.Requests.Len() != 0 || !v.RequestForgotten("r19") || v.RequestForgotten("r20") {
			t.Errorf("%d requests are left", v.Requests.Len())
		}
		stop()
		sameEverywhere(t, s, l)
	})
}

func TestHistoryIsDroppedByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, stop := lead(t, nil)
		must(t, s, func(tx *Tx) {
			for _, uid := range []string{"gone", "live"} {
				c := cluster(uid, uid)
				if uid == "gone" {
					c.State, c.TerminatedAt = stixv1.ClusterState_CLUSTER_STATE_TERMINATED, tx.Now()
				}
				tx.Clusters.Put(c)
				finished(tx, uid, 1, uid+"-spec")
				for i := range int32(3) {
					node := fmt.Sprint(uid, "-n", i)
					tx.Nodes.Put(&stixv1.Node{
						Meta: &stixv1.Meta{Uid: node}, ClusterUid: uid, Index: i, State: stixv1.NodeState_NODE_STATE_TERMINATED,
					})
					tx.Event("node", node, "node.gone", "gone")
					tx.Intervals.Put(&stixv1.Interval{Meta: &stixv1.Meta{Uid: node}, NodeUid: node, From: 1, To: tx.Now()})
				}
			}
			tx.Nodes.Edit("live-n0", func(n *stixv1.Node) { n.State = stixv1.NodeState_NODE_STATE_LAUNCHED })
			tx.Intervals.Edit("live-n1", func(i *stixv1.Interval) { i.To = 0 })
			tx.Event("node", "never", "node.odd", "its object does not exist")
		})
		if n := prune(t, s, Limits{}); n != 0 {
			t.Errorf("%d calls dropped something at once", n)
		}
		time.Sleep(91 * 24 * time.Hour)
		prune(t, s, Limits{JobAge: 1000 * day})
		v := s.Read()
		if v.Clusters.Len() != 1 || v.Nodes.Len() != 2 || v.Intervals.Len() != 6 {
			t.Errorf("%d clusters, %d nodes, %d intervals", v.Clusters.Len(), v.Nodes.Len(), v.Intervals.Len())
		}
		if got, want := counts(v), "jobs 1, specs 1, assignments 1, events 3"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		time.Sleep(400 * 24 * time.Hour)
		prune(t, s, Limits{JobAge: 1000 * day})
		if n := s.Read().Intervals.Len(); n != 1 {
			t.Errorf("%d intervals, want the open one", n)
		}
		stop()
	})
}

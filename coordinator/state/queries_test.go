package state

import (
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func uids[M Record](seq iter.Seq[M]) string {
	var all []string
	for m := range seq {
		all = append(all, m.GetMeta().Uid)
	}
	return strings.Join(all, " ")
}

func one[M Record](m M, ok bool) string {
	if !ok {
		return ""
	}
	return m.GetMeta().Uid
}

func text(seq iter.Seq[string]) string {
	var all []string
	for s := range seq {
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

// fill puts a little of everything, a second apart.
//
//stix:bubble
func fill(t *testing.T, s *Store) {
	put := func(fn func(tx *Tx)) {
		must(t, s, fn)
		time.Sleep(time.Second)
	}
	for _, uid := range []string{"c3", "c1", "c2"} { // three lives of one name, the last made is c2
		put(func(tx *Tx) {
			c := cluster(uid, "demo")
			if uid != "c2" {
				c.State = stixv1.ClusterState_CLUSTER_STATE_TERMINATED
			}
			tx.Clusters.Put(c)
		})
	}
	put(func(tx *Tx) { tx.Clusters.Put(cluster("c9", "another")) })
	node := func(uid string, index int32, st stixv1.NodeState) {
		put(func(tx *Tx) {
			tx.Nodes.Put(&stixv1.Node{
				Meta: &stixv1.Meta{Uid: uid}, ClusterUid: "c2", Index: index, State: st, JoinTokenHash: "hash-" + uid,
			})
		})
	}
	node("n2", 1, stixv1.NodeState_NODE_STATE_LAUNCHED)
	node("n1", 0, stixv1.NodeState_NODE_STATE_TERMINATED)
	node("n3", 0, stixv1.NodeState_NODE_STATE_PLANNED)
	put(func(tx *Tx) {
		tx.Jobs.Put(job("j3", "c2", 1))
		tx.Jobs.Put(job("j2", "c2", 2))
		j := job("j1", "c2", 3)
		j.State, j.SpecUid = stixv1.JobState_JOB_STATE_FAILED, "s"
		tx.Jobs.Put(j)
		tx.Jobs.Put(job("j4", "c9", 1))
		tx.Jobs.Edit("j3", func(j *stixv1.Job) { j.AllottedAt = 1 })
		tx.Jobs.Edit("j2", func(j *stixv1.Job) { j.CancelRequestedAt = 1 })
	})
	assign := func(uid, nodeUID string, phase stixv1.Phase, rank int32, over bool) {
		put(func(tx *Tx) {
			a := &stixv1.Assignment{
				Meta: &stixv1.Meta{Uid: uid}, JobUid: "j3", NodeUid: nodeUID, Phase: phase, Rank: rank,
				Status: &stixv1.AssignmentStatus{Uid: uid, State: stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED, LogArchived: over},
			}
			tx.Assignments.Put(a)
		})
	}
	assign("a1", "n2", stixv1.Phase_PHASE_RUN, 1, false)
	assign("a2", "n2", stixv1.Phase_PHASE_RUN, 0, true)
	assign("a3", "n1", stixv1.Phase_PHASE_SETUP, 7, false)
	for _, uid := range []string{"ra1", "ra2", "rb1"} {
		put(func(tx *Tx) { request(tx, uid, stixv1.RequestState_REQUEST_STATE_RUNNING) })
	}
	put(func(tx *Tx) {
		request(tx, "ra1", stixv1.RequestState_REQUEST_STATE_FAILED)
		tx.Intervals.Put(&stixv1.Interval{Meta: &stixv1.Meta{Uid: "i1"}, NodeUid: "n1", From: 5, To: 6})
		tx.Intervals.Put(&stixv1.Interval{Meta: &stixv1.Meta{Uid: "i2"}, NodeUid: "n1", From: 4})
	})
}

func TestQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, stop := lead(t, nil)
		fill(t, s)
		check := func(r *Reader) {
			for name, c := range map[string]struct{ got, want string }{
				"ClusterByName":                {one(r.ClusterByName("demo")), "c2"},
				"ClusterByName of none":        {one(r.ClusterByName("dem")), ""},
				"ClustersByName":               {uids(r.ClustersByName("demo")), "c2 c1 c3"},
				"LiveClusters":                 {uids(r.LiveClusters()), "c9 c2"},
				"NodesOfCluster":               {uids(r.NodesOfCluster("c2")), "n1 n3 n2"},
				"LiveNodes":                    {uids(r.LiveNodes()), "n2 n3"},
				"NodeByTokenHash":              {one(r.NodeByTokenHash("hash-n3")), "n3"},
				"NodeByTokenHash of none":      {one(r.NodeByTokenHash("")), ""},
				"GoneNodesWithLiveAssignments": {uids(r.GoneNodesWithLiveAssignments()), "n1"},
				"JobsOfCluster":                {uids(r.JobsOfCluster("c2")), "j3 j2 j1"},
				"JobsOfClusterDesc":            {uids(r.JobsOfClusterDesc("c2")), "j1 j2 j3"},
				"JobByNumber":                  {one(r.JobByNumber("c2", 2)), "j2"},
				"JobByNumber of none":          {one(r.JobByNumber("c2", 4)), ""},
				"ActiveJobs":                   {uids(r.ActiveJobs("c2")), "j3 j2"},
				"QueuedJobs":                   {uids(r.QueuedJobs("c2")), "j2"},
				"CancelledQueuedJobs":          {uids(r.CancelledQueuedJobs("c2")), "j2"},
				"AllottedJobs":                 {uids(r.AllottedJobs("c2")), "j3"},
				"ClustersWithActiveJobs":       {text(r.ClustersWithActiveJobs()), "c2 c9"},
				"JobsOfSpec":                   {uids(r.JobsOfSpec("s")), "j1"},
				"AssignmentsOfJob":             {uids(r.AssignmentsOfJob("j3")), "a3 a2 a1"},
				"AssignmentsOfNode":            {uids(r.AssignmentsOfNode("n2")), "a1 a2"},
				"LiveAssignmentsOfNode":        {uids(r.LiveAssignmentsOfNode("n2")), "a1"},
				"ActiveRequests":               {uids(r.ActiveRequests()), "ra2 rb1"},
				"RequestsNewest":               {uids(r.RequestsNewest(2)), "rb1 ra2"},
				"RequestsNewest of all":        {uids(r.RequestsNewest(0)), "rb1 ra2 ra1"},
				"RequestsByPrefix":             {uids(r.RequestsByPrefix("ra")), "ra1 ra2"},
				"OpenIntervals":                {uids(r.OpenIntervals()), "i2"},
				"IntervalsOfNode":              {uids(r.IntervalsOfNode("n1")), "i2 i1"},
			} {
				if c.got != c.want {
					t.Errorf("%s: %q, want %q", name, c.got, c.want)
				}
			}
		}
		check(&s.Read().Reader)
		must(t, s, func(tx *Tx) { check(&tx.Reader) })
		stop()
	})
}

func TestTableNumbersAreUnique(t *testing.T) {
	seen := map[TableID]string{}
	for _, tab := range newReader().tables() {
		if other := seen[tab.id()]; other != "" || tab.id() == 0 {
			t.Errorf("table %s has the number %d of %q", tab.title(), tab.id(), other)
		}
		seen[tab.id()] = tab.title()
	}
}

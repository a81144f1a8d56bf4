package dispatch

import (
	"fmt"
	"time"

	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/sched"
)

// pass is one look at one cluster inside an update.
type pass struct {
	tx      *state.Tx
	now     int64
	cluster *stixv1.Cluster
	// nodes that are not terminated, by index.
	nodes []*stixv1.Node
	byUID map[string]*stixv1.Node
	// next is when to look again although nothing changed; 0 is never.
	next time.Duration
	// left bounds the jobs that this pass may still touch.
	left int
}

func newPass(tx *state.Tx, clusterUID string) *pass {
	p := &pass{tx: tx, now: tx.Now(), byUID: map[string]*stixv1.Node{}, left: maxPerPass}
	p.cluster, _ = tx.Clusters.Get(clusterUID)
	for n := range tx.NodesOfCluster(clusterUID) {
		p.byUID[n.Meta.Uid] = n
		if n.State != stixv1.NodeState_NODE_STATE_TERMINATED {
			p.nodes = append(p.nodes, n)
		}
	}
	return p
}

// run moves what is allotted, drops what is cancelled, then starts what fits. It returns when to look again.
func (p *pass) run() time.Duration {
	if p.cluster == nil {
		return 0
	}
	for job := range p.tx.AllottedJobs(p.cluster.Meta.Uid) {
		p.advance(job)
	}
	p.dropQueued()
	if p.cluster.State == stixv1.ClusterState_CLUSTER_STATE_UP && !p.ending() {
		p.startQueued()
	}
	if p.left <= 0 {
		p.again(time.Millisecond)
	}
	return p.next
}

// ending tells that nothing new is to be started on the cluster.
func (p *pass) ending() bool {
	return p.cluster.Goal == stixv1.ClusterGoal_CLUSTER_GOAL_TERMINATED ||
		p.cluster.Goal == stixv1.ClusterGoal_CLUSTER_GOAL_STOPPED
}

func (p *pass) again(d time.Duration) {
	if p.next == 0 || d < p.next {
		p.next = d
	}
}

// againAt asks for another look when a deadline (Unix nanoseconds) is over.
func (p *pass) againAt(deadline int64) { p.again(max(time.Duration(deadline-p.now), time.Millisecond)) }

// dropQueued ends queued jobs that will not be started: cancelled ones, and all of them when the cluster goes.
func (p *pass) dropQueued() {
	drop := func(job *stixv1.Job, st stixv1.JobState, reason string) bool {
		p.finish(job, st, reason, nil)
		p.left--
		return p.left > 0
	}
	switch {
	case p.ending():
		for job := range p.tx.QueuedJobs(p.cluster.Meta.Uid) {
			if !drop(job, stixv1.JobState_JOB_STATE_CANCELLED, "the cluster was taken down") {
				return
			}
		}
	case p.cluster.State == stixv1.ClusterState_CLUSTER_STATE_TERMINATED:
		for job := range p.tx.QueuedJobs(p.cluster.Meta.Uid) {
			if !drop(job, stixv1.JobState_JOB_STATE_FAILED_DRIVER, withCause("the cluster is gone", p.cluster.Reason)) {
				return
			}
		}
	case p.cluster.State == stixv1.ClusterState_CLUSTER_STATE_STOPPED:
		for job := range p.tx.QueuedJobs(p.cluster.Meta.Uid) {
			if !drop(job, stixv1.JobState_JOB_STATE_FAILED_DRIVER, "the cluster was stopped") {
				return
			}
		}
	default:
		for job := range p.tx.CancelledQueuedJobs(p.cluster.Meta.Uid) {
			if !drop(job, stixv1.JobState_JOB_STATE_CANCELLED, "") {
				return
			}
		}
	}
}

// startQueued starts jobs strictly in the order of their numbers until one does not fit: a later job never overtakes.
func (p *pass) startQueued() {
	free := p.capacity()
	for job := range p.tx.QueuedJobs(p.cluster.Meta.Uid) {
		if p.left <= 0 {
			return
		}
		spec, ok := p.tx.Specs.Get(job.SpecUid)
		if !ok {
			p.finish(job, stixv1.JobState_JOB_STATE_FAILED_DRIVER, "its task record is missing", nil)
			continue
		}
		nodes, ok := free.Place(demand(job, spec.Task))
		if !ok {
			return
		}
		p.left--
		p.allot(job, spec, nodes)
	}
}

// capacity is what the nodes have, less what allotted jobs take.
func (p *pass) capacity() *sched.Cluster {
	nodes := make([]sched.Node, 0, len(p.nodes))
	for _, n := range p.nodes {
		nodes = append(nodes, sched.Node{ID: n.Meta.Uid, Index: n.Index, VCPUs: p.cluster.Vcpus, Ready: ready(n)})
	}
	free := sched.NewCluster(nodes)
	for job := range p.tx.AllottedJobs(p.cluster.Meta.Uid) {
		if spec, ok := p.tx.Specs.Get(job.SpecUid); ok {
			free.Take(demand(job, spec.Task), job.NodeUids)
		}
	}
	return free
}

func ready(n *stixv1.Node) bool {
	return n.State == stixv1.NodeState_NODE_STATE_LAUNCHED && n.Agent.GetState() == stixv1.AgentState_AGENT_STATE_READY
}

func demand(job *stixv1.Job, t *stixv1.Task) sched.Demand {
	d := sched.Demand{Nodes: int(job.NumNodes), CPU: sched.CPUShare}
	if t.GetRun() == "" {
		d.CPU = 0
	}
	if rs := t.GetResources(); len(rs) > 0 {
		d.Accelerators = rs[0].Accelerators
	}
	return d
}

// allot gives a job its nodes and writes the first assignments: setup on every node of the cluster when there is
// something to set up or to sync, else run.
func (p *pass) allot(job *stixv1.Job, spec *stixv1.Spec, nodeUIDs []string) {
	setup := job.RunSetup && spec.Task.Setup != ""
	prepare := setup || syncs(job, spec)
	p.tx.Jobs.Edit(job.Meta.Uid, func(j *stixv1.Job) {
		j.NodeUids = nodeUIDs
		j.AllottedAt = p.now
		if setup {
			j.State = stixv1.JobState_JOB_STATE_SETTING_UP
		}
	})
	if !prepare {
		p.startRun(job.Meta.Uid)
		return
	}
	for _, n := range p.nodes {
		p.assign(job, n.Meta.Uid, stixv1.Phase_PHASE_SETUP, n.Index)
	}
}

// syncs tells whether files have to be on the nodes before the job starts.
func syncs(job *stixv1.Job, spec *stixv1.Spec) bool {
	for _, m := range spec.Mounts {
		if m.Workdir || job.SyncMounts {
			return true
		}
	}
	return false
}

// startRun writes the run assignments. A job without run text is done when it is set up.
func (p *pass) startRun(jobUID string) {
	job, _ := p.tx.Jobs.Get(jobUID)
	spec, _ := p.tx.Specs.Get(job.SpecUid)
	if spec.GetTask().GetRun() == "" {
		p.finish(job, stixv1.JobState_JOB_STATE_SUCCEEDED, "", make([]int32, job.NumNodes))
		return
	}
	p.tx.Jobs.Edit(jobUID, func(j *stixv1.Job) {
		j.State = stixv1.JobState_JOB_STATE_RUNNING
		j.StartedAt = p.now
	})
	for rank, nodeUID := range job.NodeUids {
		p.assign(job, nodeUID, stixv1.Phase_PHASE_RUN, int32(rank))
	}
}

func (p *pass) assign(job *stixv1.Job, nodeUID string, phase stixv1.Phase, rank int32) {
	uid := p.tx.NewID()
	p.tx.Assignments.Put(&stixv1.Assignment{
		Meta:       &stixv1.Meta{Uid: uid, Workspace: job.Meta.Workspace, Owner: job.Meta.Owner},
		JobUid:     job.Meta.Uid,
		ClusterUid: job.ClusterUid,
		NodeUid:    nodeUID,
		Phase:      phase,
		Rank:       rank,
		Goal:       stixv1.AssignmentGoal_ASSIGNMENT_GOAL_RUN,
		Status:     &stixv1.AssignmentStatus{Uid: uid, State: stixv1.AssignmentState_ASSIGNMENT_STATE_ASSIGNED},
	})
}

// finish makes a job final.
func (p *pass) finish(job *stixv1.Job, st stixv1.JobState, reason string, codes []int32) {
	finish(p.tx, job, ending{state: st, reason: reason, codes: codes})
}

// ending is how a job ends.
type ending struct {
	state  stixv1.JobState
	reason string
	codes  []int32
}

func finish(tx *state.Tx, job *stixv1.Job, e ending) {
	tx.Jobs.Edit(job.Meta.Uid, func(j *stixv1.Job) {
		j.State = e.state
		j.Reason = e.reason
		j.EndedAt = tx.Now()
		j.ExitCodes = e.codes
		j.Deadline = 0
	})
	// An array would drown everything else that happened to its cluster.
	if job.ArraySize == 0 && job.Number > 0 {
		text := fmt.Sprintf("job %d ended: %s", job.Number, StateName(e.state))
		tx.Event("cluster", job.ClusterUid, "job.ended", withCause(text, e.reason))
	}
}

func withCause(text, cause string) string {
	if cause == "" {
		return text
	}
	return text + ": " + cause
}

package state

import (
	"iter"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// ClusterByName returns the cluster of that name that is not terminated; there is at most one.
func (r *Reader) ClusterByName(name string) (*stixv1.Cluster, bool) {
	return r.Clusters.firstBy(ClustersLive, name)
}

// ClustersByName returns all clusters that ever had that name and are kept, newest first.
func (r *Reader) ClustersByName(name string) iter.Seq[*stixv1.Cluster] {
	return r.Clusters.desc(ClustersNamed, name)
}

// LiveClusters returns the clusters that are not terminated, by name.
func (r *Reader) LiveClusters() iter.Seq[*stixv1.Cluster] {
	return r.Clusters.walk(ClustersLive, entry{}, last(lastUID), ascending)
}

// NodesOfCluster returns the nodes of a cluster by index, with the terminated ones of earlier generations.
func (r *Reader) NodesOfCluster(clusterUID string) iter.Seq[*stixv1.Node] {
	return r.Nodes.By(NodesOfCluster, clusterUID)
}

// LiveNodes returns all nodes that are not terminated.
func (r *Reader) LiveNodes() iter.Seq[*stixv1.Node] { return r.Nodes.By(NodesLive, oneKey) }

// NodeByTokenHash returns the node whose join token has that hash.
func (r *Reader) NodeByTokenHash(hash string) (*stixv1.Node, bool) {
	return r.Nodes.firstBy(NodesByToken, hash)
}

// GoneNodesWithLiveAssignments returns the stopped and terminated nodes that have assignments which are not over.
func (r *Reader) GoneNodesWithLiveAssignments() iter.Seq[*stixv1.Node] {
	return func(yield func(*stixv1.Node) bool) {
		for uid := range r.Assignments.keys(AssignmentsLive) {
			n, ok := r.Nodes.Get(uid)
			if !ok {
				continue
			}
			gone := n.State == stixv1.NodeState_NODE_STATE_TERMINATED || n.State == stixv1.NodeState_NODE_STATE_STOPPED
			if gone && !yield(n) {
				return
			}
		}
	}
}

// JobsOfCluster returns the jobs of a cluster by number.
func (r *Reader) JobsOfCluster(clusterUID string) iter.Seq[*stixv1.Job] {
	return r.Jobs.By(JobsOfCluster, clusterUID)
}

// JobsOfClusterDesc returns the jobs of a cluster, those with the highest numbers first.
func (r *Reader) JobsOfClusterDesc(clusterUID string) iter.Seq[*stixv1.Job] {
	return r.Jobs.desc(JobsOfCluster, clusterUID)
}

// JobByNumber returns the job of a cluster that has that number.
func (r *Reader) JobByNumber(clusterUID string, number int64) (*stixv1.Job, bool) {
	return r.Jobs.at(JobsOfCluster, clusterUID, number)
}

// ActiveJobs returns the jobs of a cluster that are not final, by number.
func (r *Reader) ActiveJobs(clusterUID string) iter.Seq[*stixv1.Job] {
	return r.Jobs.By(JobsActive, clusterUID)
}

// QueuedJobs returns the active jobs of a cluster that have no nodes yet, by number.
func (r *Reader) QueuedJobs(clusterUID string) iter.Seq[*stixv1.Job] {
	return r.Jobs.By(JobsQueued, clusterUID)
}

// CancelledQueuedJobs returns the queued jobs of a cluster that are to be cancelled, by number.
func (r *Reader) CancelledQueuedJobs(clusterUID string) iter.Seq[*stixv1.Job] {
	return r.Jobs.By(JobsCancelledQueued, clusterUID)
}

// AllottedJobs returns the active jobs of a cluster that have their nodes, by number.
func (r *Reader) AllottedJobs(clusterUID string) iter.Seq[*stixv1.Job] {
	return r.Jobs.By(JobsAllotted, clusterUID)
}

// ClustersWithActiveJobs returns the uids of the clusters that have jobs which are not final.
func (r *Reader) ClustersWithActiveJobs() iter.Seq[string] { return r.Jobs.keys(JobsActive) }

// JobsOfSpec returns the jobs that refer to a spec.
func (r *Reader) JobsOfSpec(specUID string) iter.Seq[*stixv1.Job] {
	return r.Jobs.By(JobsOfSpec, specUID)
}

// AssignmentsOfJob returns the assignments of a job by phase, then rank.
func (r *Reader) AssignmentsOfJob(jobUID string) iter.Seq[*stixv1.Assignment] {
	return r.Assignments.By(AssignmentsOfJob, jobUID)
}

// AssignmentsOfNode returns the assignments of a node, oldest first.
func (r *Reader) AssignmentsOfNode(nodeUID string) iter.Seq[*stixv1.Assignment] {
	return r.Assignments.By(AssignmentsOfNode, nodeUID)
}

// LiveAssignmentsOfNode returns the assignments of a node that have not ended or whose log is not archived.
func (r *Reader) LiveAssignmentsOfNode(nodeUID string) iter.Seq[*stixv1.Assignment] {
	return r.Assignments.By(AssignmentsLive, nodeUID)
}

// ActiveRequests returns the requests that are not final, oldest first.
func (r *Reader) ActiveRequests() iter.Seq[*stixv1.Request] {
	return r.Requests.By(RequestsActive, oneKey)
}

// RequestsNewest returns at most limit requests, newest first; 0 means all.
func (r *Reader) RequestsNewest(limit int) iter.Seq[*stixv1.Request] {
	return func(yield func(*stixv1.Request) bool) {
		n := 0
		for m := range r.Requests.desc(RequestsByAge, oneKey) {
			if n++; !yield(m) || n == limit {
				return
			}
		}
	}
}

// RequestsByPrefix returns the requests whose uid begins with prefix.
func (r *Reader) RequestsByPrefix(prefix string) iter.Seq[*stixv1.Request] {
	return func(yield func(*stixv1.Request) bool) {
		for m := range r.Requests.from(prefix) {
			if !strings.HasPrefix(m.Meta.Uid, prefix) || !yield(m) {
				return
			}
		}
	}
}

// EventsOf returns the events of an object, oldest first.
func (r *Reader) EventsOf(objectUID string) iter.Seq[*stixv1.Event] {
	return func(yield func(*stixv1.Event) bool) {
		prefix := objectUID + eventMark
		for m := range r.Events.from(prefix) {
			if !strings.HasPrefix(m.Meta.Uid, prefix) || !yield(m) {
				return
			}
		}
	}
}

// OpenIntervals returns the intervals that run, oldest first.
func (r *Reader) OpenIntervals() iter.Seq[*stixv1.Interval] {
	return r.Intervals.By(IntervalsOpen, oneKey)
}

// IntervalsOfNode returns the intervals of a node, oldest first.
func (r *Reader) IntervalsOfNode(nodeUID string) iter.Seq[*stixv1.Interval] {
	return r.Intervals.By(IntervalsOfNode, nodeUID)
}

package state

import (
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// The numbers of the tables. A number is never reused, also when its table is gone.
const (
	TableClusters    TableID = 1
	TableNodes       TableID = 2
	TableJobs        TableID = 3
	TableSpecs       TableID = 4
	TableAssignments TableID = 5
	TableRequests    TableID = 6
	TableEvents      TableID = 7
	TableIntervals   TableID = 8
	TableIdentity    TableID = 9
	// TableMarks holds what retention must remember of what it dropped, in records of the type of an event.
	TableMarks TableID = 10
)

// Reader is the set of all tables, as a view or a transaction shows them, with the queries on them. Code that only
// reads takes a *Reader, so that it serves both: &view.Reader, &tx.Reader.
type Reader struct {
	Clusters    Table[*stixv1.Cluster]
	Nodes       Table[*stixv1.Node]
	Jobs        Table[*stixv1.Job]
	Specs       Table[*stixv1.Spec]
	Assignments Table[*stixv1.Assignment]
	Requests    Table[*stixv1.Request]
	Events      Table[*stixv1.Event]
	Intervals   Table[*stixv1.Interval]
	Identity    Table[*stixv1.Identity]
	marks       Table[*stixv1.Event]
}

// tables lists the tables of r for what treats all alike. A new table is added here, in newReader, in Reader and, to be
// written to, in Tx.
func (r *Reader) tables() []table {
	return []table{
		&r.Clusters, &r.Nodes, &r.Jobs, &r.Specs, &r.Assignments, &r.Requests, &r.Events, &r.Intervals, &r.Identity,
		&r.marks,
	}
}

// table returns the table with that number, nil when there is none.
func (r *Reader) table(id TableID) table {
	for _, t := range r.tables() {
		if t.id() == id {
			return t
		}
	}
	return nil
}

// newReader declares the tables and returns them empty.
func newReader() *Reader {
	return &Reader{
		Clusters: newTable(&spec[*stixv1.Cluster]{
			id: TableClusters, name: "clusters", make: func() *stixv1.Cluster { return new(stixv1.Cluster) },
			indexes: clusterIndexes(),
		}),
		Nodes: newTable(&spec[*stixv1.Node]{
			id: TableNodes, name: "nodes", make: func() *stixv1.Node { return new(stixv1.Node) },
			indexes: nodeIndexes(),
			intern:  func(m *stixv1.Node, in *interner) { m.ClusterUid = in.str(m.ClusterUid) },
		}),
		Jobs: newTable(&spec[*stixv1.Job]{
			id: TableJobs, name: "jobs", make: func() *stixv1.Job { return new(stixv1.Job) },
			indexes: jobIndexes(), intern: internJob,
		}),
		Specs: newTable(&spec[*stixv1.Spec]{
			id: TableSpecs, name: "specs", make: func() *stixv1.Spec { return new(stixv1.Spec) },
		}),
		Assignments: newTable(&spec[*stixv1.Assignment]{
			id: TableAssignments, name: "assignments", make: func() *stixv1.Assignment { return new(stixv1.Assignment) },
			indexes: assignmentIndexes(), intern: internAssignment,
		}),
		Requests: newTable(&spec[*stixv1.Request]{
			id: TableRequests, name: "requests", make: func() *stixv1.Request { return new(stixv1.Request) },
			indexes: requestIndexes(), intern: internRequest,
		}),
		Events: newTable(&spec[*stixv1.Event]{
			id: TableEvents, name: "events", make: func() *stixv1.Event { return new(stixv1.Event) },
			intern: internEvent,
		}),
		Intervals: newTable(&spec[*stixv1.Interval]{
			id: TableIntervals, name: "intervals", make: func() *stixv1.Interval { return new(stixv1.Interval) },
			indexes: intervalIndexes(),
		}),
		Identity: newTable(&spec[*stixv1.Identity]{
			id: TableIdentity, name: "identity", make: func() *stixv1.Identity { return new(stixv1.Identity) },
		}),
		marks: newTable(&spec[*stixv1.Event]{
			id: TableMarks, name: "marks", make: func() *stixv1.Event { return new(stixv1.Event) },
		}),
	}
}

// fork returns a copy of the tables that can be written to on its own; see Table.isolate for what guards r.
func (r *Reader) fork() *Reader {
	n := *r
	for _, t := range n.tables() {
		t.isolate()
	}
	return &n
}

// Indexes of clusters.
const (
	// ClustersLive: those that are not terminated, by name. Unique.
	ClustersLive Index[*stixv1.Cluster] = iota
	// ClustersNamed: all, by name, oldest first.
	ClustersNamed
)

func clusterIndexes() []index[*stixv1.Cluster] {
	return []index[*stixv1.Cluster]{
		ClustersLive: {name: "name", unique: true, place: func(m *stixv1.Cluster) (string, int64, bool) {
			return m.Meta.GetName(), 0, m.State != stixv1.ClusterState_CLUSTER_STATE_TERMINATED
		}},
		ClustersNamed: {name: "history", place: func(m *stixv1.Cluster) (string, int64, bool) {
			return m.Meta.GetName(), m.Meta.GetCreatedAt(), true
		}},
	}
}

// Indexes of nodes.
const (
	// NodesOfCluster: all, by the uid of the cluster, by index.
	NodesOfCluster Index[*stixv1.Node] = iota
	// NodesLive: those that are not terminated, under one key.
	NodesLive
	// NodesByToken: by the hash of the join token.
	NodesByToken
)

func nodeIndexes() []index[*stixv1.Node] {
	return []index[*stixv1.Node]{
		NodesOfCluster: {name: "cluster", place: func(m *stixv1.Node) (string, int64, bool) {
			return m.ClusterUid, int64(m.Index), true
		}},
		NodesLive: {name: "live", place: func(m *stixv1.Node) (string, int64, bool) {
			return oneKey, 0, m.State != stixv1.NodeState_NODE_STATE_TERMINATED
		}},
		NodesByToken: {name: "token", place: func(m *stixv1.Node) (string, int64, bool) {
			return m.JoinTokenHash, 0, m.JoinTokenHash != ""
		}},
	}
}

// oneKey is the key of indexes that have only one.
const oneKey = ""

// Indexes of jobs.
const (
	// JobsOfCluster: all, by the uid of the cluster, by number.
	JobsOfCluster Index[*stixv1.Job] = iota
	// JobsActive: those that are not final, by the uid of the cluster, by number.
	JobsActive
	// JobsQueued: active ones that have no nodes yet, by the uid of the cluster, by number.
	JobsQueued
	// JobsAllotted: active ones that have their nodes, by the uid of the cluster, by number.
	JobsAllotted
	// JobsCancelledQueued: queued ones that are to be cancelled, by the uid of the cluster, by number.
	JobsCancelledQueued
	// JobsOfSpec: all, by the uid of the spec.
	JobsOfSpec
)

func jobIndexes() []index[*stixv1.Job] {
	return []index[*stixv1.Job]{
		JobsOfCluster: {name: "cluster", place: func(m *stixv1.Job) (string, int64, bool) {
			return m.ClusterUid, m.Number, true
		}},
		JobsActive: {name: "active", place: func(m *stixv1.Job) (string, int64, bool) {
			return m.ClusterUid, m.Number, activeJob(m)
		}},
		JobsQueued: {name: "queued", place: func(m *stixv1.Job) (string, int64, bool) {
			return m.ClusterUid, m.Number, activeJob(m) && m.AllottedAt == 0
		}},
		JobsAllotted: {name: "allotted", place: func(m *stixv1.Job) (string, int64, bool) {
			return m.ClusterUid, m.Number, activeJob(m) && m.AllottedAt != 0
		}},
		JobsCancelledQueued: {name: "cancelled", place: func(m *stixv1.Job) (string, int64, bool) {
			return m.ClusterUid, m.Number, activeJob(m) && m.AllottedAt == 0 && m.CancelRequestedAt != 0
		}},
		JobsOfSpec: {name: "spec", place: func(m *stixv1.Job) (string, int64, bool) {
			return m.SpecUid, 0, m.SpecUid != ""
		}},
	}
}

func activeJob(m *stixv1.Job) bool {
	return m.State >= stixv1.JobState_JOB_STATE_INIT && m.State <= stixv1.JobState_JOB_STATE_RUNNING
}

func internJob(m *stixv1.Job, in *interner) {
	m.ClusterUid = in.str(m.ClusterUid)
	m.SpecUid = in.str(m.SpecUid)
	m.RunTimestamp = in.str(m.RunTimestamp)
	in.all(m.NodeUids)
}

// Indexes of assignments.
const (
	// AssignmentsOfJob: all, by the uid of the job, by phase and rank.
	AssignmentsOfJob Index[*stixv1.Assignment] = iota
	// AssignmentsOfNode: all, by the uid of the node.
	AssignmentsOfNode
	// AssignmentsLive: those that have not ended or whose log is not archived, by the uid of the node.
	AssignmentsLive
)

func assignmentIndexes() []index[*stixv1.Assignment] {
	return []index[*stixv1.Assignment]{
		AssignmentsOfJob: {name: "job", place: func(m *stixv1.Assignment) (string, int64, bool) {
			return m.JobUid, int64(m.Phase)<<32 | int64(uint32(m.Rank)), true
		}},
		AssignmentsOfNode: {name: "node", place: func(m *stixv1.Assignment) (string, int64, bool) {
			return m.NodeUid, 0, true
		}},
		AssignmentsLive: {name: "live", place: func(m *stixv1.Assignment) (string, int64, bool) {
			return m.NodeUid, 0, liveAssignment(m)
		}},
	}
}

func liveAssignment(m *stixv1.Assignment) bool {
	return m.Status.GetState() != stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED || !m.Status.GetLogArchived()
}

func internAssignment(m *stixv1.Assignment, in *interner) {
	m.JobUid = in.str(m.JobUid)
	m.ClusterUid = in.str(m.ClusterUid)
	m.NodeUid = in.str(m.NodeUid)
	if m.Status != nil && m.Status.Uid == m.Meta.Uid {
		m.Status.Uid = m.Meta.Uid
	}
}

// Indexes of requests.
const (
	// RequestsActive: those that are not final, under one key, oldest first.
	RequestsActive Index[*stixv1.Request] = iota
	// RequestsByAge: all, under one key, oldest first.
	RequestsByAge
)

func requestIndexes() []index[*stixv1.Request] {
	return []index[*stixv1.Request]{
		RequestsActive: {name: "active", place: func(m *stixv1.Request) (string, int64, bool) {
			return oneKey, m.Meta.GetCreatedAt(), activeRequest(m)
		}},
		RequestsByAge: {name: "age", place: func(m *stixv1.Request) (string, int64, bool) {
			return oneKey, m.Meta.GetCreatedAt(), true
		}},
	}
}

func activeRequest(m *stixv1.Request) bool {
	return m.State <= stixv1.RequestState_REQUEST_STATE_RUNNING
}

func internRequest(m *stixv1.Request, in *interner) {
	m.Verb = in.str(m.Verb)
	m.ClusterName = in.str(m.ClusterName)
	m.ClusterUid = in.str(m.ClusterUid)
}

func internEvent(m *stixv1.Event, in *interner) {
	m.ObjectUid = in.str(m.ObjectUid)
	m.ObjectKind = in.str(m.ObjectKind)
	m.Type = in.str(m.Type)
	m.Text = in.str(m.Text)
}

// Indexes of intervals.
const (
	// IntervalsOpen: those that run, under one key, by their beginning.
	IntervalsOpen Index[*stixv1.Interval] = iota
	// IntervalsClosed: those that ended, under one key, by their end.
	IntervalsClosed
	// IntervalsOfNode: all, by the uid of the node, by their beginning.
	IntervalsOfNode
)

func intervalIndexes() []index[*stixv1.Interval] {
	return []index[*stixv1.Interval]{
		IntervalsOpen: {name: "open", place: func(m *stixv1.Interval) (string, int64, bool) {
			return oneKey, m.From, m.To == 0
		}},
		IntervalsClosed: {name: "closed", place: func(m *stixv1.Interval) (string, int64, bool) {
			return oneKey, m.To, m.To != 0
		}},
		IntervalsOfNode: {name: "node", place: func(m *stixv1.Interval) (string, int64, bool) {
			return m.NodeUid, m.From, true
		}},
	}
}

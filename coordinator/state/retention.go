package state

import (
	"iter"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Limits bound what is kept of what is over. Ages are in nanoseconds and count from the end (those of requests from the
// beginning). Zero values mean the defaults.
type Limits struct {
	// Jobs is about how many jobs are kept in all: above it each cluster may keep only its share. Default 1,000,000.
	Jobs int
	// JobsPerCluster is how many of the last job numbers of a cluster are kept. Default 100,000.
	JobsPerCluster int
	// JobAge is how long finished jobs are kept, with their tasks and assignments. Default 30 days.
	JobAge int64
	// Requests is how many finished requests are kept. Default 500,000.
	Requests int
	// RequestAge is how long finished requests, and jobs that only synced files, are kept. It must be longer than the
	// time for which ids of requests are accepted. Default 25 hours.
	RequestAge int64
	// HistoryAge is how long terminated clusters and nodes are kept, and events of objects that are gone. Default 90 days.
	HistoryAge int64
	// IntervalAge is how long closed intervals are kept: they are the bill. Default 400 days.
	IntervalAge int64
	// Deletions is about how many records one call drops. Default 1,000.
	Deletions int
	// Scan is about how many records one call looks at, of each kind. Default 20,000.
	Scan int
}

const (
	hour = int64(3600e9)
	day  = 24 * hour
	// logGrace is how long a finished job is kept whose logs are not archived yet.
	logGrace = hour
)

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *int64
		value int64
	}{{&l.JobAge, 30 * day}, {&l.RequestAge, 25 * hour}, {&l.HistoryAge, 90 * day}, {&l.IntervalAge, 400 * day}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.Jobs, 1_000_000}, {&l.JobsPerCluster, 100_000}, {&l.Requests, 500_000}, {&l.Deletions, 1_000}, {&l.Scan, 20_000},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}

// Deletion is a record that is kept long enough.
type Deletion struct {
	Table TableID
	Key   string
}

// Prune drops what Retention finds and returns how many records that were; when there were many, call it again. It
// remembers which requests were dropped, see RequestForgotten.
func Prune(tx *Tx, limits Limits) int {
	dropped := Retention(&tx.Reader, limits, tx.Now())
	newest := ""
	for _, d := range dropped {
		tx.drop(d)
		if d.Table == TableRequests {
			newest = max(newest, d.Key)
		}
	}
	tx.forget(newest)
	return len(dropped)
}

func (tx *Tx) drop(d Deletion) {
	switch d.Table {
	case TableClusters:
		tx.Clusters.Delete(d.Key)
	case TableNodes:
		tx.Nodes.Delete(d.Key)
	case TableJobs:
		tx.Jobs.Delete(d.Key)
	case TableSpecs:
		tx.Specs.Delete(d.Key)
	case TableAssignments:
		tx.Assignments.Delete(d.Key)
	case TableRequests:
		tx.Requests.Delete(d.Key)
	case TableEvents:
		tx.Events.Delete(d.Key)
	case TableIntervals:
		tx.Intervals.Delete(d.Key)
	}
}

// requestMark is the mark whose text is the newest uid of a request that was dropped.
const requestMark = "requests"

// RequestForgotten tells whether a request with that uid, if it is not on record, may have been carried out and dropped
// since: then it must be refused. Uids of requests begin with their time, and requests are dropped in that order.
func (r *Reader) RequestForgotten(uid string) bool {
	m, ok := r.marks.Get(requestMark)
	return ok && uid <= m.Text
}

func (tx *Tx) forget(uid string) {
	if uid != "" && !tx.RequestForgotten(uid) {
		tx.marks.Put(&stixv1.Event{Meta: &stixv1.Meta{Uid: requestMark}, Text: uid})
	}
}

// Retention finds records that are kept long enough: a pure function, whose work is bounded by the limits. Where it
// cannot look at everything in one call, the time decides where it begins.
func Retention(r *Reader, limits Limits, now int64) []Deletion {
	p := &pruner{r: r, l: limits.withDefaults(), now: now, gone: map[string]bool{}, specs: map[string]bool{}}
	for _, phase := range []func(){p.requests, p.intervals, p.clusters, p.events} {
		p.scanned = 0
		phase()
	}
	return p.out
}

type pruner struct {
	r       *Reader
	l       Limits
	now     int64
	out     []Deletion
	scanned int
	gone    map[string]bool // jobs that are dropped
	specs   map[string]bool // of those
}

// full is asked before each record is looked at.
func (p *pruner) full() bool {
	p.scanned++
	return p.scanned > p.l.Scan || len(p.out) >= p.l.Deletions
}

func (p *pruner) drop(table TableID, key string) { p.out = append(p.out, Deletion{table, key}) }

func (p *pruner) dropEvents(objectUID string) {
	for e := range p.r.EventsOf(objectUID) {
		p.drop(TableEvents, e.Meta.Uid)
	}
}

// requests goes by uid, the order in which forgetting is remembered.
func (p *pruner) requests() {
	active := 0
	for range p.r.ActiveRequests() {
		active++
	}
	excess := p.r.Requests.Len() - active - p.l.Requests
	for m := range p.r.Requests.All() {
		switch {
		case p.full():
			return
		case activeRequest(m):
		case excess > 0 || m.Meta.CreatedAt < p.now-p.l.RequestAge:
			p.drop(TableRequests, m.Meta.Uid)
			excess--
		default:
			return
		}
	}
}

func (p *pruner) intervals() {
	for m := range p.r.Intervals.By(IntervalsClosed, oneKey) {
		if p.full() || m.To >= p.now-p.l.IntervalAge {
			return
		}
		p.drop(TableIntervals, m.Meta.Uid)
	}
}

func (p *pruner) clusters() {
	keep := int64(p.l.JobsPerCluster)
	if n := p.r.Clusters.Len(); n > 0 && p.r.Jobs.Len() > p.l.Jobs {
		keep = min(keep, int64(p.l.Jobs/n))
	}
	for c := range rotated(&p.r.Clusters, p.now) {
		if p.full() {
			break
		}
		p.cluster(c, keep)
	}
	for uid := range p.specs {
		p.spec(uid)
	}
}

func (p *pruner) cluster(c *stixv1.Cluster, keep int64) {
	over := c.State == stixv1.ClusterState_CLUSTER_STATE_TERMINATED && max(c.TerminatedAt, c.Meta.CreatedAt) < p.now-p.l.HistoryAge
	uid := c.Meta.Uid
	// Jobs that only sync files have no number; they stand first, in the order that they were made.
	p.jobs(p.r.Jobs.walk(JobsOfCluster, first(uid), entry{uid, 0, lastUID}, ascending), func(j *stixv1.Job) bool {
		return over || ended(j) < p.now-p.l.RequestAge
	})
	p.jobs(p.r.Jobs.walk(JobsOfCluster, entry{key: uid, order: 1}, last(uid), ascending), func(j *stixv1.Job) bool {
		return over || ended(j) < p.now-p.l.JobAge || j.Number < c.NextJobNumber-keep
	})
	p.nodes(uid, over)
	if over && p.bare(uid) {
		p.dropEvents(uid)
		p.drop(TableClusters, uid)
	}
}

// jobs drops finished jobs, in order, up to the first that is not due.
func (p *pruner) jobs(jobs iter.Seq[*stixv1.Job], due func(*stixv1.Job) bool) {
	for j := range jobs {
		switch {
		case p.full():
			return
		case activeJob(j):
		case !due(j):
			return
		case p.settled(j):
			p.job(j)
		}
	}
}

func ended(j *stixv1.Job) int64 { return max(j.EndedAt, j.Meta.CreatedAt) }

// settled tells whether nothing of a finished job is waited for any more.
func (p *pruner) settled(j *stixv1.Job) bool {
	if ended(j) < p.now-logGrace {
		return true
	}
	for a := range p.r.AssignmentsOfJob(j.Meta.Uid) {
		if liveAssignment(a) {
			return false
		}
	}
	return true
}

func (p *pruner) job(j *stixv1.Job) {
	p.gone[j.Meta.Uid] = true
	p.specs[j.SpecUid] = true
	for a := range p.r.AssignmentsOfJob(j.Meta.Uid) {
		p.drop(TableAssignments, a.Meta.Uid)
	}
	p.dropEvents(j.Meta.Uid)
	p.drop(TableJobs, j.Meta.Uid)
}

// spec drops a task when no job refers to it any more.
func (p *pruner) spec(uid string) {
	if _, ok := p.r.Specs.Get(uid); !ok {
		return
	}
	for j := range p.r.JobsOfSpec(uid) {
		if !p.gone[j.Meta.Uid] {
			return
		}
	}
	p.drop(TableSpecs, uid)
}

// nodes drops terminated machines: of a cluster that is over, all; else those that were made long ago.
func (p *pruner) nodes(clusterUID string, over bool) {
	for n := range p.r.NodesOfCluster(clusterUID) {
		if p.full() {
			return
		}
		old := over || n.Meta.CreatedAt < p.now-p.l.HistoryAge
		if !old || n.State != stixv1.NodeState_NODE_STATE_TERMINATED || p.billed(n.Meta.Uid) {
			continue
		}
		p.dropEvents(n.Meta.Uid)
		p.drop(TableNodes, n.Meta.Uid)
	}
}

func (p *pruner) billed(nodeUID string) bool {
	for i := range p.r.IntervalsOfNode(nodeUID) {
		if i.To == 0 {
			return true
		}
	}
	return false
}

// bare tells whether nothing belongs to a cluster any more. What this call drops still counts: the next will see.
func (p *pruner) bare(clusterUID string) bool {
	for range p.r.JobsOfCluster(clusterUID) {
		return false
	}
	for range p.r.NodesOfCluster(clusterUID) {
		return false
	}
	return true
}

// events drops old events whose object is gone; those of the others are bounded as they are made.
func (p *pruner) events() {
	known := ""
	for e := range rotated(&p.r.Events, p.now) {
		switch {
		case p.full():
			return
		case e.ObjectUid == known:
		case p.exists(e.ObjectUid):
			known = e.ObjectUid
		case e.Meta.CreatedAt < p.now-p.l.HistoryAge:
			p.drop(TableEvents, e.Meta.Uid)
		}
	}
}

func (p *pruner) exists(uid string) bool {
	_, cluster := p.r.Clusters.Get(uid)
	_, node := p.r.Nodes.Get(uid)
	_, job := p.r.Jobs.Get(uid)
	return cluster || node || job
}

// rotated returns all records once, beginning anywhere.
func rotated[M Record](t *Table[M], seed int64) iter.Seq[M] {
	return func(yield func(M) bool) {
		if t.Len() == 0 {
			return
		}
		start, _, _ := t.rows.GetAt(int(uint64(seed) % uint64(t.Len())))
		for m := range t.from(start) {
			if !yield(m) {
				return
			}
		}
		for m := range t.All() {
			if m.GetMeta().Uid >= start || !yield(m) {
				return
			}
		}
	}
}

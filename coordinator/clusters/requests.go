package clusters

import (
	"context"

	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// maxProgress bounds the steps that a request remembers.
const maxProgress = 50

// outcome ends a request.
type outcome struct {
	state   stixv1.RequestState
	kind    string
	message string
}

// endRequests ends the active requests of a verb about a cluster.
func endRequests(tx *state.Tx, clusterUID, verb string, o outcome) {
	for q := range tx.ActiveRequests() {
		if q.ClusterUid != clusterUID || q.Verb != verb {
			continue
		}
		tx.Requests.Edit(q.Meta.Uid, func(q *stixv1.Request) {
			q.State, q.ErrorKind, q.Error = o.state, o.kind, o.message
			q.FinishedAt = tx.Now()
			q.Deadline = 0
		})
	}
}

// expireRequests ends requests whose deadline is over. What they asked for is not forgotten by that: a cluster that was
// to go is still taken down, only nobody waits for it any more; one that never came up is abandoned.
func (r *Reconciler) expireRequests(ctx context.Context) error {
	late := false
	for q := range r.store.Read().ActiveRequests() {
		late = late || overdue(q, r.now())
	}
	if !late {
		return nil
	}
	return r.update(ctx, "expire-requests", "", func(tx *state.Tx) error {
		for q := range tx.ActiveRequests() {
			if !overdue(q, tx.Now()) {
				continue
			}
			tx.Requests.Edit(q.Meta.Uid, func(q *stixv1.Request) {
				q.State, q.ErrorKind = stixv1.RequestState_REQUEST_STATE_FAILED, kindTimedOut
				q.Error = "not done in time" + lastError(&tx.Reader, q.ClusterUid)
				q.FinishedAt, q.Deadline = tx.Now(), 0
			})
		}
		return nil
	})
}

func overdue(q *stixv1.Request, now int64) bool { return q.Deadline > 0 && q.Deadline < now }

// lastError is what the cloud said last about a machine of the cluster, for a message.
func lastError(r *state.Reader, clusterUID string) string {
	for n := range r.NodesOfCluster(clusterUID) {
		if n.LastError != "" {
			return ": " + n.LastError
		}
	}
	return ""
}

// progress adds a step to the active requests about a cluster.
func progress(tx *state.Tx, clusterUID, stage, text string) {
	for q := range tx.ActiveRequests() {
		if q.ClusterUid != clusterUID {
			continue
		}
		tx.Requests.Edit(q.Meta.Uid, func(q *stixv1.Request) {
			q.Progress = append(q.Progress, &stixv1.Progress{At: tx.Now(), Stage: stage, Text: text})
			if extra := len(q.Progress) - maxProgress; extra > 0 {
				q.Progress = q.Progress[extra:]
			}
		})
	}
}

// openInterval begins the billed time of a machine.
func openInterval(tx *state.Tx, c *stixv1.Cluster, n *stixv1.Node) {
	for i := range tx.IntervalsOfNode(n.Meta.Uid) {
		if i.To == 0 {
			return
		}
	}
	tx.Intervals.Put(&stixv1.Interval{
		Meta:       &stixv1.Meta{Uid: tx.NewID(), Workspace: c.Meta.Workspace, Owner: c.Meta.Owner},
		ClusterUid: c.Meta.Uid, NodeUid: n.Meta.Uid, Offer: c.Infra + "/" + c.InstanceType,
		PriceUsdHourly: c.PriceUsdHourly, From: tx.Now(),
	})
}

// closeInterval ends it.
func closeInterval(tx *state.Tx, nodeUID string) {
	for i := range tx.IntervalsOfNode(nodeUID) {
		if i.To == 0 {
			tx.Intervals.Edit(i.Meta.Uid, func(i *stixv1.Interval) { i.To = tx.Now() })
		}
	}
}

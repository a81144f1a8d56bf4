package nodes

import (
	"maps"
	"slices"

	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// outbox makes the messages of one session and remembers what was sent, so that a status that came from the agent is
// not answered with the order it already has.
type outbox struct {
	n       *Nodes
	nodeUID string
	// sent goals by assignment.
	sent map[string]stixv1.AssignmentGoal
	// followed assignments.
	followed map[string]struct{}
}

func newOutbox(n *Nodes, nodeUID string) *outbox {
	return &outbox{n: n, nodeUID: nodeUID, sent: map[string]stixv1.AssignmentGoal{}, followed: map[string]struct{}{}}
}

func (o *outbox) messages(full bool, dirty []string) []*stixv1.CoordinatorMessage {
	view := o.n.store.Read()
	var out []*stixv1.CoordinatorMessage
	if full {
		out = append(out, o.all(view))
		dirty = append(dirty, slices.Sorted(maps.Keys(o.n.followsOf(view, o.nodeUID)))...)
	}
	orders := &stixv1.Orders{}
	forget := &stixv1.Forget{}
	for _, uid := range dirty {
		a, ok := view.Assignments.Get(uid)
		switch {
		case !ok || finished(a):
			forget.AssignmentUids = append(forget.AssignmentUids, uid)
			delete(o.sent, uid)
			delete(o.followed, uid)
			continue
		case o.sent[uid] != a.Goal && !exited(a):
			orders.Orders = append(orders.Orders, o.order(view, a))
		}
		out = append(out, o.follow(a)...)
	}
	if len(orders.Orders) > 0 {
		out = append([]*stixv1.CoordinatorMessage{{Message: &stixv1.CoordinatorMessage_Orders{Orders: orders}}}, out...)
	}
	if len(forget.AssignmentUids) > 0 {
		out = append(out, &stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_Forget{Forget: forget}})
	}
	return out
}

// all is everything that is wanted of the node; what is not in it, the agent ends and forgets.
func (o *outbox) all(view *state.View) *stixv1.CoordinatorMessage {
	orders := &stixv1.Orders{Full: true}
	for a := range view.LiveAssignmentsOfNode(o.nodeUID) {
		orders.Orders = append(orders.Orders, o.order(view, a))
	}
	return &stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_Orders{Orders: orders}}
}

func (o *outbox) order(view *state.View, a *stixv1.Assignment) *stixv1.Order {
	o.sent[a.Meta.Uid] = a.Goal
	return o.n.order(view, a)
}

// follow starts or stops the push of a log that somebody reads.
func (o *outbox) follow(a *stixv1.Assignment) []*stixv1.CoordinatorMessage {
	uid := a.Meta.Uid
	_, on := o.followed[uid]
	want := o.n.followed(uid)
	if on == want {
		return nil
	}
	m := &stixv1.FollowLog{AssignmentUid: uid, Stop: !want}
	if want {
		o.followed[uid] = struct{}{}
		m.Offset = o.n.cfg.Logs.Size(a.JobUid, uid)
	} else {
		delete(o.followed, uid)
	}
	return []*stixv1.CoordinatorMessage{{Message: &stixv1.CoordinatorMessage_FollowLog{FollowLog: m}}}
}

func exited(a *stixv1.Assignment) bool {
	return a.Status.GetState() == stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED
}

// finished tells that the agent may forget an assignment: its result and its log are safe here.
func finished(a *stixv1.Assignment) bool { return exited(a) && a.Status.LogArchived }

// Follow asks the agent of an assignment to push its log as it grows. Part of logs.Wants.
func (n *Nodes) Follow(assignmentUID string, _ int64) { n.want(assignmentUID, true) }

// Unfollow ends that. Part of logs.Wants.
func (n *Nodes) Unfollow(assignmentUID string) { n.want(assignmentUID, false) }

func (n *Nodes) want(assignmentUID string, on bool) {
	n.mu.Lock()
	if on {
		n.follows[assignmentUID] = struct{}{}
	} else {
		delete(n.follows, assignmentUID)
	}
	n.mu.Unlock()
	if a, ok := n.store.Read().Assignments.Get(assignmentUID); ok {
		n.poke(a.NodeUid, assignmentUID)
	}
}

func (n *Nodes) followed(assignmentUID string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.follows[assignmentUID]
	return ok
}

// followsOf are the followed assignments of a node.
func (n *Nodes) followsOf(view *state.View, nodeUID string) map[string]struct{} {
	n.mu.Lock()
	follows := maps.Clone(n.follows)
	n.mu.Unlock()
	maps.DeleteFunc(follows, func(uid string, _ struct{}) bool {
		a, ok := view.Assignments.Get(uid)
		return !ok || a.NodeUid != nodeUID
	})
	return follows
}

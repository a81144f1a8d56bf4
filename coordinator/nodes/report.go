package nodes

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// record writes what an agent reported; nil means that it is committed, and may be acknowledged. A status of an
// assignment that is not (any more) of this node is passed over: the full orders will have it ended.
func (n *Nodes) record(ctx context.Context, nodeUID string, statuses []*stixv1.AssignmentStatus) error {
	by := state.Actor{Subject: "node/" + nodeUID, Verb: "report", Object: "node/" + nodeUID}
	return n.store.Update(ctx, by, func(tx *state.Tx) error {
		if node, ok := tx.Nodes.Get(nodeUID); ok && node.Agent.GetState() == stixv1.AgentState_AGENT_STATE_UNREACHABLE {
			setAgentState(tx, nodeUID, stixv1.AgentState_AGENT_STATE_READY)
		}
		for _, st := range statuses {
			a, ok := tx.Assignments.Get(st.Uid)
			if !ok || a.NodeUid != nodeUID || !advances(a.Status, st) {
				continue
			}
			tx.Assignments.Edit(st.Uid, func(a *stixv1.Assignment) {
				archived := a.Status.LogArchived && a.Status.Outcome != stixv1.Outcome_OUTCOME_LOST
				a.Status = proto.CloneOf(st)
				a.Status.LogArchived = archived
			})
		}
		return nil
	})
}

// advances tells whether a reported status is news: states never go back, and only what was lost yields to a real
// result that arrives late.
func advances(have, got *stixv1.AssignmentStatus) bool {
	if have.GetState() != stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED {
		return got.State > have.GetState() || (got.State == have.GetState() && got.Pid != have.GetPid())
	}
	return have.Outcome == stixv1.Outcome_OUTCOME_LOST &&
		got.State == stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED && got.Outcome != stixv1.Outcome_OUTCOME_LOST
}

// LogComplete notes that the coordinator's copy of a log is complete, so that the node may forget it. It may come
// before the report of the result.
func (n *Nodes) LogComplete(ctx context.Context, assignmentUID string) error {
	by := state.Actor{Subject: "coordinator/nodes", Verb: "archive-log", Object: "assignment/" + assignmentUID}
	return n.store.Update(ctx, by, func(tx *state.Tx) error {
		if a, ok := tx.Assignments.Get(assignmentUID); ok && !a.Status.LogArchived {
			tx.Assignments.Edit(assignmentUID, func(a *stixv1.Assignment) { a.Status.LogArchived = true })
		}
		return nil
	})
}

package clusters

import (
	"context"
	"fmt"

	"github.com/stix-run/stix/coordinator/control"
	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// observe keeps the state that users see true to the nodes of a cluster that was up: UP when all are there, STOPPED
// when all are stopped, else INIT with the reason.
func (r *Reconciler) observe(ctx context.Context, s *situation) (control.Result, error) {
	want, reason := s.visible()
	if want == s.cluster.State && reason == s.cluster.Reason {
		return control.Result{}, nil
	}
	return control.Result{}, r.update(ctx, "observe", s.cluster.Meta.Uid, func(tx *state.Tx) error {
		c, ok := tx.Clusters.Get(s.cluster.Meta.Uid)
		if !ok || c.Goal != stixv1.ClusterGoal_CLUSTER_GOAL_UP {
			return nil
		}
		if c.State != want {
			tx.Event("cluster", c.Meta.Uid, "cluster.state", transitionText(c, want, reason))
		}
		tx.Clusters.Edit(c.Meta.Uid, func(c *stixv1.Cluster) {
			c.State, c.Reason, c.Deadline = want, reason, 0
		})
		return nil
	})
}

func transitionText(c *stixv1.Cluster, want stixv1.ClusterState, reason string) string {
	if want == stixv1.ClusterState_CLUSTER_STATE_UP {
		return "cluster " + c.Meta.Name + " is up again"
	}
	return "cluster " + c.Meta.Name + " is abnormal: " + reason
}

func (s *situation) visible() (stixv1.ClusterState, string) {
	if s.allReady() {
		return stixv1.ClusterState_CLUSTER_STATE_UP, ""
	}
	if stopped := s.with(stixv1.NodeState_NODE_STATE_STOPPED); len(stopped) > 0 && len(stopped) == len(s.nodes) {
		return stixv1.ClusterState_CLUSTER_STATE_STOPPED, "all machines are stopped"
	}
	if len(s.nodes) < int(s.cluster.NumNodes) {
		return stixv1.ClusterState_CLUSTER_STATE_INIT,
			fmt.Sprintf("%d of %d machines are gone", int(s.cluster.NumNodes)-len(s.nodes), s.cluster.NumNodes)
	}
	for _, n := range s.nodes {
		if n.State == stixv1.NodeState_NODE_STATE_STOPPED {
			return stixv1.ClusterState_CLUSTER_STATE_INIT, fmt.Sprintf("node %d is stopped", n.Index)
		}
		if n.Agent.GetState() != stixv1.AgentState_AGENT_STATE_READY {
			return stixv1.ClusterState_CLUSTER_STATE_INIT, fmt.Sprintf("node %d is unreachable", n.Index)
		}
	}
	return s.cluster.State, s.cluster.Reason
}

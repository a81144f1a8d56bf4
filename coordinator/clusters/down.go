package clusters

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stix-run/stix/coordinator/control"
	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/provider"
)

// takeDown does the next step towards TERMINATED: jobs end and logs arrive, machines go, the record becomes history.
func (r *Reconciler) takeDown(ctx context.Context, s *situation) (control.Result, error) {
	if len(s.nodes) == 0 {
		return control.Result{}, r.terminated(ctx, s)
	}
	if wait, err := r.drain(ctx, s); wait > 0 || err != nil {
		return control.Result{RequeueAfter: wait}, err
	}
	if err := r.intendTermination(ctx, s); err != nil {
		return control.Result{}, err
	}
	return control.Result{}, r.terminate(ctx, look(r.store.Read(), s.cluster.Meta.Uid))
}

// drain returns how long to wait at most for the jobs on reachable machines to end; 0 when there is nothing to wait
// for. The wait is bounded by a deadline that is written first.
func (r *Reconciler) drain(ctx context.Context, s *situation) (time.Duration, error) {
	if !draining(s) {
		return 0, nil
	}
	if s.cluster.State != stixv1.ClusterState_CLUSTER_STATE_INIT || s.cluster.Reason != reasonDown {
		return DrainLimit, r.update(ctx, "drain", s.cluster.Meta.Uid, func(tx *state.Tx) error {
			tx.Clusters.Edit(s.cluster.Meta.Uid, func(c *stixv1.Cluster) {
				c.State = stixv1.ClusterState_CLUSTER_STATE_INIT
				c.Reason = reasonDown
				c.Deadline = tx.Now() + int64(DrainLimit)
			})
			progress(tx, s.cluster.Meta.Uid, "drain", "Waiting for jobs to end")
			return nil
		})
	}
	left := time.Duration(s.cluster.Deadline - r.now())
	return max(left, 0), nil
}

const reasonDown = "being taken down"

// draining tells whether a machine that can be reached still has work or logs to hand in.
func draining(s *situation) bool {
	for _, n := range s.nodes {
		if n.State != stixv1.NodeState_NODE_STATE_LAUNCHED || n.Agent.GetState() != stixv1.AgentState_AGENT_STATE_READY {
			continue
		}
		for range s.view.LiveAssignmentsOfNode(n.Meta.Uid) {
			return true
		}
	}
	for range s.view.ActiveJobs(s.cluster.Meta.Uid) {
		return true // dispatch has not seen yet that the cluster goes
	}
	return false
}

// abandon takes a cluster away whose launch came to nothing.
func (r *Reconciler) abandon(ctx context.Context, s *situation) (control.Result, error) {
	if len(s.nodes) == 0 {
		return control.Result{}, r.terminated(ctx, s)
	}
	if err := r.intendTermination(ctx, s); err != nil {
		return control.Result{}, err
	}
	return control.Result{}, r.terminate(ctx, look(r.store.Read(), s.cluster.Meta.Uid))
}

// intendTermination writes which machines are to go before the cloud is told.
func (r *Reconciler) intendTermination(ctx context.Context, s *situation) error {
	if len(s.with(stixv1.NodeState_NODE_STATE_TERMINATING)) == len(s.nodes) {
		return nil
	}
	return r.update(ctx, "terminate", s.cluster.Meta.Uid, func(tx *state.Tx) error {
		for _, n := range s.nodes {
			tx.Nodes.Edit(n.Meta.Uid, func(n *stixv1.Node) {
				n.State = stixv1.NodeState_NODE_STATE_TERMINATING
				n.SealedJoinToken = nil
				n.JoinTokenHash = ""
			})
		}
		progress(tx, s.cluster.Meta.Uid, "terminate", "Terminating "+count(int32(len(s.nodes)), "machine"))
		return nil
	})
}

// terminate ends every machine of the TERMINATING nodes, also those that a crash left without an answer: what exists
// is looked up by tag.
func (r *Reconciler) terminate(ctx context.Context, s *situation) error {
	doomed := s.with(stixv1.NodeState_NODE_STATE_TERMINATING)
	errs := make([]error, len(doomed))
	var wg sync.WaitGroup
	for i, n := range doomed {
		wg.Go(func() { errs[i] = r.terminateNode(ctx, n) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := r.update(ctx, "terminated", s.cluster.Meta.Uid, func(tx *state.Tx) error {
		for i, n := range doomed {
			if errs[i] != nil && !s.cluster.Purge {
				tx.Nodes.Edit(n.Meta.Uid, func(n *stixv1.Node) { n.LastError = errs[i].Error() })
				continue
			}
			writeTerminated(tx, n.Meta.Uid)
		}
		return nil
	})
	if s.cluster.Purge {
		return err
	}
	return errors.Join(err, errors.Join(errs...))
}

func (r *Reconciler) terminateNode(ctx context.Context, n *stixv1.Node) error {
	cloud, err := r.cloud(n.Provider)
	if err != nil {
		return err
	}
	if n.InstanceId != "" {
		return cloud.Terminate(ctx, n.InstanceId)
	}
	all, err := cloud.List(ctx, provider.Filter{Tags: map[string]string{provider.TagNode: n.Meta.Uid}})
	if err != nil {
		return fmt.Errorf("look for the machine of node %s: %w", n.Meta.Uid, err)
	}
	for _, inst := range all {
		if inst.State == provider.StateTerminated {
			continue
		}
		if err := cloud.Terminate(ctx, inst.ID); err != nil {
			return err
		}
	}
	return nil
}

func writeTerminated(tx *state.Tx, uid string) {
	tx.Nodes.Edit(uid, func(n *stixv1.Node) {
		n.State = stixv1.NodeState_NODE_STATE_TERMINATED
		n.Deadline = 0
		n.LastError = ""
	})
	closeInterval(tx, uid)
}

// terminated makes the record history and ends all requests about it.
func (r *Reconciler) terminated(ctx context.Context, s *situation) error {
	err := r.update(ctx, "gone", s.cluster.Meta.Uid, func(tx *state.Tx) error {
		c, ok := tx.Clusters.Get(s.cluster.Meta.Uid)
		if !ok || c.State == stixv1.ClusterState_CLUSTER_STATE_TERMINATED {
			return nil
		}
		tx.Clusters.Edit(c.Meta.Uid, func(c *stixv1.Cluster) {
			c.State = stixv1.ClusterState_CLUSTER_STATE_TERMINATED
			c.TerminatedAt = tx.Now()
			c.Deadline = 0
		})
		tx.Event("cluster", c.Meta.Uid, "cluster.terminated", "cluster "+c.Meta.Name+" is gone")
		endRequests(tx, c.Meta.Uid, VerbDown, outcome{state: stixv1.RequestState_REQUEST_STATE_SUCCEEDED})
		endRequests(tx, c.Meta.Uid, VerbLaunch, outcome{
			state: stixv1.RequestState_REQUEST_STATE_FAILED, kind: kindCancelled, message: "the cluster was taken down",
		})
		return nil
	})
	if err == nil {
		r.log.Info("cluster is gone", "cluster", s.cluster.Meta.Name)
	}
	return err
}

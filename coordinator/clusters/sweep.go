package clusters

import (
	"context"
	"fmt"
	"time"

	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/provider"
)

// SweepInterval is how often what a cloud has is compared with the records: a machine that was taken away behind our
// back is noticed within it, and so is one that no record speaks of.
const SweepInterval = 10 * time.Second

// Sweep compares each cloud with the records, and gives up requests that took too long, now and then every
// SweepInterval, until ctx ends.
func (r *Reconciler) Sweep(ctx context.Context) error {
	tick := time.NewTicker(SweepInterval)
	defer tick.Stop()
	for {
		if err := r.expireRequests(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("could not give up requests", "error", err)
		}
		for name, cloud := range r.cfg.Clouds {
			if err := r.sweepCloud(ctx, name, cloud); err != nil && ctx.Err() == nil {
				r.log.Warn("could not compare a cloud with the records", "cloud", name, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (r *Reconciler) sweepCloud(ctx context.Context, name string, cloud Cloud) error {
	join, err := r.cfg.Join()
	if err != nil {
		return err
	}
	// Read before the list: a node that is launched meanwhile is not judged by it.
	before := r.store.Read()
	all, err := cloud.List(ctx, provider.Filter{Tags: map[string]string{provider.TagOwner: join.ClusterID}})
	if err != nil {
		return err
	}
	found := map[string]provider.Instance{}
	for _, inst := range all {
		if inst.State != provider.StateTerminated {
			found[inst.Tags[provider.TagNode]] = inst
		}
	}
	err = r.noteLosses(ctx, before, name, found)
	for _, inst := range all {
		if orphanErr := r.collect(ctx, cloud, inst); orphanErr != nil {
			err = orphanErr
		}
	}
	return err
}

// noteLosses writes which machines are gone or stopped although no one here asked for it.
func (r *Reconciler) noteLosses(ctx context.Context, before *state.View, cloud string, found map[string]provider.Instance) error {
	settled := r.now() - int64(r.cfg.Clouds[cloud].Capabilities().ListDelay)
	for n := range before.LiveNodes() {
		if n.Provider != cloud || n.State != stixv1.NodeState_NODE_STATE_LAUNCHED || n.Deadline-int64(BootLimit) > settled {
			continue
		}
		inst, ok := found[n.Meta.Uid]
		if ok && inst.State != provider.StateStopped && inst.State != provider.StateStopping && !inst.State.Gone() {
			continue
		}
		if err := r.noteLoss(ctx, n, ok && !inst.State.Gone()); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) noteLoss(ctx context.Context, n *stixv1.Node, stopped bool) error {
	what := "is gone"
	if stopped {
		what = "is stopped"
	}
	r.log.Warn("a machine changed behind our back", "node", n.Meta.Uid, "instance", n.InstanceId, "what", what)
	return r.update(ctx, "lost", n.ClusterUid, func(tx *state.Tx) error {
		now, ok := tx.Nodes.Get(n.Meta.Uid)
		if !ok || now.State != stixv1.NodeState_NODE_STATE_LAUNCHED {
			return nil
		}
		tx.Event("cluster", n.ClusterUid, "node.lost", fmt.Sprintf("the machine of node %d %s", n.Index, what))
		if !stopped {
			writeTerminated(tx, n.Meta.Uid)
			return nil
		}
		tx.Nodes.Edit(n.Meta.Uid, func(n *stixv1.Node) { n.State = stixv1.NodeState_NODE_STATE_STOPPED })
		closeInterval(tx, n.Meta.Uid)
		return nil
	})
}

// collect terminates a machine of ours that no record wants. The record is read after the list: intent is written
// before a machine is asked for, so one without a record, or with a final one, is an orphan.
func (r *Reconciler) collect(ctx context.Context, cloud Cloud, inst provider.Instance) error {
	if inst.State.Gone() {
		return nil
	}
	n, ok := r.store.Read().Nodes.Get(inst.Tags[provider.TagNode])
	if ok && n.State != stixv1.NodeState_NODE_STATE_TERMINATED {
		return nil
	}
	r.log.Warn("terminating a machine that no record wants", "instance", inst.ID, "node", inst.Tags[provider.TagNode])
	return cloud.Terminate(ctx, inst.ID)
}

package clusters

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/control"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/bootstrap"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/sched"
)

// bringUp does the next step of a launch.
func (r *Reconciler) bringUp(ctx context.Context, s *situation) (control.Result, error) {
	switch {
	case len(s.nodes) == 0:
		return control.Result{}, r.plan(ctx, s)
	case len(s.with(stixv1.NodeState_NODE_STATE_TERMINATING)) > 0:
		return control.Result{}, r.terminate(ctx, s)
	case len(s.nodes) < int(s.cluster.NumNodes):
		return control.Result{}, r.fail(ctx, s, kindUnavailable, "some machines of the cluster are gone; take it down and launch it again")
	case len(s.with(stixv1.NodeState_NODE_STATE_PLANNED, stixv1.NodeState_NODE_STATE_STOPPED)) > 0:
		return r.launch(ctx, s)
	case s.allReady():
		return control.Result{}, r.ready(ctx, s)
	}
	return r.awaitAgents(ctx, s)
}

// The kinds of errors that requests end with: stable words for programs.
const (
	kindResources   = "resources-unavailable"
	kindUnavailable = "cluster-unavailable"
	kindCancelled   = "cancelled"
	kindTimedOut    = "timed-out"
)

// plan chooses an offer and writes the intent: one node record with a launch token for each machine.
func (r *Reconciler) plan(ctx context.Context, s *situation) error {
	offer, _, err := sched.Choose(r.cfg.Offers(), s.cluster.Resources, false)
	if infeasible := (*sched.InfeasibleError)(nil); errors.As(err, &infeasible) {
		return r.fail(ctx, s, kindResources, err.Error())
	} else if err != nil {
		return err
	}
	return r.update(ctx, "plan", s.cluster.Meta.Uid, func(tx *state.Tx) error {
		c, ok := tx.Clusters.Get(s.cluster.Meta.Uid)
		if !ok || c.Goal != stixv1.ClusterGoal_CLUSTER_GOAL_UP {
			return nil
		}
		for n := range tx.NodesOfCluster(c.Meta.Uid) {
			if n.State != stixv1.NodeState_NODE_STATE_TERMINATED {
				return nil // planned by an earlier pass
			}
		}
		return r.writePlan(tx, c, offer)
	})
}

func (r *Reconciler) writePlan(tx *state.Tx, c *stixv1.Cluster, offer sched.Offer) error {
	deadline := tx.Now() + int64(LaunchLimit)
	for i := range c.NumNodes {
		n := &stixv1.Node{
			Meta:       &stixv1.Meta{Uid: tx.NewID(), Workspace: c.Meta.Workspace, Owner: c.Meta.Owner},
			ClusterUid: c.Meta.Uid, Index: i, State: stixv1.NodeState_NODE_STATE_PLANNED,
			LaunchToken: tx.NewID(), Provider: offer.Cloud, Deadline: deadline,
			JoinTokenExpiresAt: tx.Now() + int64(LaunchLimit) + int64(auth.JoinTokenTTL),
		}
		token := r.cfg.NewToken()
		sealed, err := r.cfg.Sealer.Seal([]byte(token), joinContext(n))
		if err != nil {
			return fmt.Errorf("seal the join token: %w", err)
		}
		n.SealedJoinToken, n.JoinTokenHash = sealed, auth.HashToken(token)
		tx.Nodes.Put(n)
	}
	tx.Clusters.Edit(c.Meta.Uid, func(c *stixv1.Cluster) {
		c.State = stixv1.ClusterState_CLUSTER_STATE_INIT
		c.Infra, c.Region, c.InstanceType = offer.Infra(), offer.Region, offer.InstanceType
		c.Vcpus, c.MemoryGib, c.PriceUsdHourly = offer.VCPUs, offer.MemoryGiB, offer.HourlyUSD
		c.Generation++
		c.Deadline = deadline
	})
	progress(tx, c.Meta.Uid, "provision", fmt.Sprintf("Launching %s on %s", count(c.NumNodes, "machine"), offer.Infra()))
	return nil
}

func joinContext(n *stixv1.Node) []byte { return []byte("join/" + n.Meta.Uid) }

func count(n int32, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// launched is what came of asking for one machine.
type launched struct {
	node *stixv1.Node
	inst provider.Instance
	err  error
}

// launch asks for every machine that is planned, or stopped, at once, and writes what came of it in one update. A
// crash in between is harmless: the same tokens are asked for again and yield the same machines.
func (r *Reconciler) launch(ctx context.Context, s *situation) (control.Result, error) {
	todo := s.with(stixv1.NodeState_NODE_STATE_PLANNED, stixv1.NodeState_NODE_STATE_STOPPED)
	results := make([]launched, len(todo))
	var wg sync.WaitGroup
	for i, n := range todo {
		wg.Go(func() { results[i] = r.launchNode(ctx, s, n) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return control.Result{}, ctx.Err()
	}
	var failed error
	err := r.update(ctx, "launch", s.cluster.Meta.Uid, func(tx *state.Tx) error {
		failed = nil
		for _, res := range results {
			if res.err != nil {
				failed = errors.Join(failed, res.err)
				tx.Nodes.Edit(res.node.Meta.Uid, func(n *stixv1.Node) { n.LastError = res.err.Error() })
				continue
			}
			writeLaunched(tx, s.cluster, res)
		}
		if failed == nil {
			progress(tx, s.cluster.Meta.Uid, "boot", "Waiting for "+count(int32(len(todo)), "agent"))
		}
		return nil
	})
	if err != nil || failed == nil {
		return control.Result{}, err
	}
	return r.launchFailed(ctx, s, failed)
}

func (r *Reconciler) launchNode(ctx context.Context, s *situation, n *stixv1.Node) launched {
	res := launched{node: n}
	cloud, err := r.cloud(n.Provider)
	if err != nil {
		res.err = err
		return res
	}
	if n.State == stixv1.NodeState_NODE_STATE_STOPPED {
		res.inst = provider.Instance{ID: n.InstanceId, PrivateIP: n.Ip}
		res.err = cloud.Start(ctx, n.InstanceId)
		return res
	}
	req, err := r.request(s, n)
	if err != nil {
		res.err = err
		return res
	}
	res.inst, res.err = cloud.Launch(ctx, req)
	return res
}

// request is the same for the same node, whoever leads.
func (r *Reconciler) request(s *situation, n *stixv1.Node) (provider.LaunchRequest, error) {
	token, err := r.cfg.Sealer.Open(n.SealedJoinToken, joinContext(n))
	if err != nil {
		return provider.LaunchRequest{}, fmt.Errorf("open the join token of node %s: %w", n.Meta.Uid, err)
	}
	join, err := r.cfg.Join()
	if err != nil {
		return provider.LaunchRequest{}, err
	}
	join.NodeUID, join.JoinToken, join.ClusterName = n.Meta.Uid, string(token), s.cluster.Meta.Name
	data, err := bootstrap.Encode(join)
	if err != nil {
		return provider.LaunchRequest{}, err
	}
	return provider.LaunchRequest{
		Token: n.LaunchToken, Name: machineName(s.cluster, n), Region: s.cluster.Region,
		InstanceType: s.cluster.InstanceType, Tags: tags(join.ClusterID, n), UserData: data,
	}, nil
}

func tags(owner string, n *stixv1.Node) map[string]string {
	return map[string]string{
		provider.TagOwner: owner, provider.TagCluster: n.ClusterUid, provider.TagNode: n.Meta.Uid,
	}
}

// machineName is a DNS label that people recognise in the cloud's console.
func machineName(c *stixv1.Cluster, n *stixv1.Node) string {
	label := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, strings.ToLower(c.Meta.Name))
	id := strings.ReplaceAll(n.Meta.Uid, "-", "")
	return fmt.Sprintf("stix-%s-%s-%d", label[:min(len(label), 30)], id[max(0, len(id)-8):], n.Index)
}

func writeLaunched(tx *state.Tx, c *stixv1.Cluster, res launched) {
	n, ok := tx.Nodes.Get(res.node.Meta.Uid)
	if !ok || (n.State != stixv1.NodeState_NODE_STATE_PLANNED && n.State != stixv1.NodeState_NODE_STATE_STOPPED) {
		return
	}
	tx.Nodes.Edit(n.Meta.Uid, func(n *stixv1.Node) {
		n.State = stixv1.NodeState_NODE_STATE_LAUNCHED
		n.InstanceId, n.Ip = res.inst.ID, res.inst.PrivateIP
		n.SealedJoinToken, n.LastError = nil, ""
		n.Deadline = tx.Now() + int64(BootLimit)
	})
	openInterval(tx, c, n)
}

// launchFailed decides by the kind of the error: what will not get better fails the launch, the rest is tried again
// until the deadline.
func (r *Reconciler) launchFailed(ctx context.Context, s *situation, err error) (control.Result, error) {
	switch provider.KindOf(err) {
	case provider.KindTransient, provider.KindThrottled, provider.KindUnknown:
		if r.now() < s.cluster.Deadline {
			return control.Result{}, err
		}
	}
	return control.Result{}, r.fail(ctx, s, kindResources, err.Error())
}

// awaitAgents waits for what only agents can do, until the deadline.
func (r *Reconciler) awaitAgents(ctx context.Context, s *situation) (control.Result, error) {
	now := r.now()
	var next time.Duration
	for _, n := range s.nodes {
		left := time.Duration(bootDeadline(s, n) - now)
		if n.Agent.GetState() == stixv1.AgentState_AGENT_STATE_READY {
			continue
		}
		if left <= 0 {
			reason := fmt.Sprintf("the agent of node %d did not come up within %s", n.Index, BootLimit)
			return control.Result{}, r.fail(ctx, s, kindUnavailable, reason)
		}
		if next == 0 || left < next {
			next = left
		}
	}
	return control.Result{RequeueAfter: next}, nil
}

// bootDeadline is when an agent that is awaited is given up: one that was there before gets its time again from each
// launch that waits for it.
func bootDeadline(s *situation, n *stixv1.Node) int64 {
	deadline := n.Deadline
	if n.Agent.GetState() == stixv1.AgentState_AGENT_STATE_UNREACHABLE {
		for _, q := range s.launches {
			deadline = max(deadline, q.Meta.CreatedAt+int64(BootLimit))
		}
	}
	return deadline
}

// ready writes that the cluster is up and ends the requests that waited for it.
func (r *Reconciler) ready(ctx context.Context, s *situation) error {
	name := s.cluster.Meta.Name
	err := r.update(ctx, "ready", s.cluster.Meta.Uid, func(tx *state.Tx) error {
		c, ok := tx.Clusters.Get(s.cluster.Meta.Uid)
		if !ok || c.Goal != stixv1.ClusterGoal_CLUSTER_GOAL_UP {
			return nil
		}
		if c.State != stixv1.ClusterState_CLUSTER_STATE_UP {
			tx.Event("cluster", c.Meta.Uid, "cluster.up", "cluster "+name+" is up")
			setUp(tx, c.Meta.Uid)
		}
		endRequests(tx, c.Meta.Uid, VerbLaunch, outcome{state: stixv1.RequestState_REQUEST_STATE_SUCCEEDED})
		return nil
	})
	if err == nil && s.cluster.State != stixv1.ClusterState_CLUSTER_STATE_UP {
		r.log.Info("cluster is up", "cluster", name, "nodes", len(s.nodes))
	}
	return err
}

func setUp(tx *state.Tx, uid string) {
	tx.Clusters.Edit(uid, func(c *stixv1.Cluster) {
		c.State = stixv1.ClusterState_CLUSTER_STATE_UP
		c.Reason = ""
		c.EverUp = true
		c.UpSince = tx.Now()
		c.Deadline = 0
	})
}

// fail ends the launch requests of the cluster. One that never was up is then abandoned: its machines are terminated
// and the name is free again. One that was up keeps its machines.
func (r *Reconciler) fail(ctx context.Context, s *situation, kind, reason string) error {
	r.log.Warn("launch failed", "cluster", s.cluster.Meta.Name, "reason", reason)
	return r.update(ctx, "launch-failed", s.cluster.Meta.Uid, func(tx *state.Tx) error {
		tx.Clusters.Edit(s.cluster.Meta.Uid, func(c *stixv1.Cluster) { c.Reason = reason })
		tx.Event("cluster", s.cluster.Meta.Uid, "cluster.launch-failed", "launch of "+s.cluster.Meta.Name+" failed: "+reason)
		endRequests(tx, s.cluster.Meta.Uid, VerbLaunch, outcome{
			state: stixv1.RequestState_REQUEST_STATE_FAILED, kind: kind, message: reason,
		})
		return nil
	})
}

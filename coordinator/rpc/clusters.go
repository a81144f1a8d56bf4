package rpc

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/sched"
)

// downDeadline is when a down that nobody ended is given up; machines that the cloud did not end stay on record and
// are tried again.
const downDeadline = 30 * time.Minute

// clusterName is SkyPilot's rule (skypilot-core.md §3.6).
var clusterName = regexp.MustCompile(`^[a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$`)

// Launch is part of ClusterService.
func (s *server) Launch(ctx context.Context, req *stixv1.LaunchRequest) (*stixv1.LaunchResponse, error) {
	if err := s.checkLaunch(req); err != nil {
		return nil, err
	}
	if req.DryRun {
		return s.dryRun(ctx, req)
	}
	m, err := s.mutate(ctx, auth.Launch, req.RequestId, req)
	if err != nil {
		return nil, err
	}
	sub, err := s.newSubmission(m, req.Task, req.Mounts)
	if err != nil {
		return nil, err
	}
	sub.userName, sub.count = req.UserName, req.NumJobs
	object := auth.Object{Kind: "cluster", Name: req.ClusterName, Workspace: defaultWorkspace}
	rec, err := m.run(ctx, object, func(tx *state.Tx, q *stixv1.Request) error { return s.launch(tx, q, req, sub) })
	if err != nil {
		return nil, err
	}
	return s.launchResponse(rec), nil
}

func (s *server) checkLaunch(req *stixv1.LaunchRequest) error {
	switch {
	case req.Task == nil:
		return refuse(KindInvalid, "", "a launch needs a task")
	case !clusterName.MatchString(req.ClusterName):
		return refuse(KindInvalid, "start with a letter; then letters, digits, -, _ and .; end with a letter or digit",
			"cluster name %q is invalid", req.ClusterName)
	case req.Task.NumNodes < 1 || req.Task.NumNodes > maxNodes:
		return refuse(KindInvalid, "", "num_nodes is %d; it has to be from 1 to %d", req.Task.NumNodes, maxNodes)
	}
	return checkArray(req.NumJobs)
}

// maxNodes bounds one cluster.
const maxNodes = 10000

// launch writes what was asked for: the cluster (new, or with the goal to be up), the job, and the request.
func (s *server) launch(tx *state.Tx, q *stixv1.Request, req *stixv1.LaunchRequest, sub *submission) error {
	c, exists := tx.ClusterByName(req.ClusterName)
	if exists {
		if err := s.reusable(c, req.Task); err != nil {
			return err
		}
		q.Reused = c.State == stixv1.ClusterState_CLUSTER_STATE_UP
	} else {
		if _, _, err := sched.Choose(s.Offers(), req.Task.Resources, req.Task.ResourcesOrdered); err != nil {
			return refuse(KindResources, "relax the request, or see which infra is enabled", "%s", err)
		}
		c = newCluster(tx, q.Meta.Owner, req)
	}
	sub.setup = !req.NoSetup && !(req.Fast && q.Reused)
	sub.mounts = true
	pending(tx, q, launchDeadline)
	tx.Clusters.Edit(c.Meta.Uid, func(c *stixv1.Cluster) {
		c.Goal = stixv1.ClusterGoal_CLUSTER_GOAL_UP
		c.GoalRequestId = q.Meta.Uid
		c.LaunchedAt = tx.Now()
		c.LastCommand = req.Command
	})
	q.ClusterUid = c.Meta.Uid
	return sub.write(tx, q, c.Meta.Uid)
}

func newCluster(tx *state.Tx, owner string, req *stixv1.LaunchRequest) *stixv1.Cluster {
	c := &stixv1.Cluster{
		Meta:          &stixv1.Meta{Uid: tx.NewID(), Name: req.ClusterName, Workspace: defaultWorkspace, Owner: owner},
		State:         stixv1.ClusterState_CLUSTER_STATE_INIT,
		Goal:          stixv1.ClusterGoal_CLUSTER_GOAL_UP,
		Resources:     req.Task.Resources,
		NumNodes:      req.Task.NumNodes,
		NextJobNumber: 1,
		Deadline:      tx.Now() + int64(launchDeadline),
	}
	tx.Clusters.Put(c)
	tx.Event("cluster", c.Meta.Uid, "cluster.requested", "launch of "+req.ClusterName+" was asked for")
	return c
}

// reusable holds a task against a cluster that exists.
func (s *server) reusable(c *stixv1.Cluster, t *stixv1.Task) error {
	name := c.Meta.Name
	if c.Goal == stixv1.ClusterGoal_CLUSTER_GOAL_TERMINATED {
		return refuse(KindClusterNotUp, "try again in a moment", "cluster %q is being taken down", name)
	}
	if reason := sched.Reusable(c, offerOf(c), t); reason != "" {
		return refuse(KindMismatch, fmt.Sprintf("take it down (stix down %s) or use another name", name),
			"the task does not fit the existing cluster %q: %s", name, reason)
	}
	return nil
}

func offerOf(c *stixv1.Cluster) sched.Offer {
	cloud, _, _ := strings.Cut(c.Infra, "/")
	if cloud == "" && len(c.Resources) > 0 { // not planned yet
		cloud = c.Resources[0].Cloud
	}
	return sched.Offer{Cloud: cloud, Region: c.Region, InstanceType: c.InstanceType, VCPUs: c.Vcpus, MemoryGiB: c.MemoryGib, HourlyUSD: c.PriceUsdHourly}
}

// launchResponse makes the answer out of the records, so that a repetition gets the same.
func (s *server) launchResponse(q *stixv1.Request) *stixv1.LaunchResponse {
	res := &stixv1.LaunchResponse{
		RequestId: q.Meta.Uid, ClusterName: q.ClusterName, ClusterUid: q.ClusterUid, Reused: q.Reused,
		JobNumber: q.FirstJob, LastJobNumber: q.LastJob, JobUid: q.JobUid,
	}
	if c, ok := s.Store.Read().Clusters.Get(q.ClusterUid); ok {
		res.Plan = s.planOf(c)
	}
	return res
}

// planOf is where a cluster is, or will be.
func (s *server) planOf(c *stixv1.Cluster) *stixv1.Plan {
	if c.Infra != "" {
		return newPlan(offerOf(c), c.NumNodes)
	}
	if o, _, err := sched.Choose(s.Offers(), c.Resources, false); err == nil {
		return newPlan(o, c.NumNodes)
	}
	return nil
}

func newPlan(o sched.Offer, nodes int32) *stixv1.Plan {
	return &stixv1.Plan{
		Infra: o.Infra(), InstanceType: o.InstanceType, Vcpus: o.VCPUs, MemoryGib: o.MemoryGiB,
		NumNodes: nodes, HourlyUsd: o.HourlyUSD * float64(nodes),
	}
}

func (s *server) dryRun(ctx context.Context, req *stixv1.LaunchRequest) (*stixv1.LaunchResponse, error) {
	object := auth.Object{Kind: "cluster", Name: req.ClusterName, Workspace: defaultWorkspace}
	if err := auth.Allow(subjectOf(ctx), auth.Launch, object); err != nil {
		return nil, err
	}
	res := &stixv1.LaunchResponse{ClusterName: req.ClusterName}
	if c, ok := s.Store.Read().ClusterByName(req.ClusterName); ok {
		if err := s.reusable(c, req.Task); err != nil {
			return nil, err
		}
		res.Reused = c.State == stixv1.ClusterState_CLUSTER_STATE_UP
		res.Plan = s.planOf(c)
		return res, nil
	}
	o, _, err := sched.Choose(s.Offers(), req.Task.Resources, req.Task.ResourcesOrdered)
	if err != nil {
		return nil, refuse(KindResources, "relax the request, or see which infra is enabled", "%s", err)
	}
	res.Plan = newPlan(o, req.Task.NumNodes)
	return res, nil
}

// Down is part of ClusterService.
func (s *server) Down(ctx context.Context, req *stixv1.DownRequest) (*stixv1.DownResponse, error) {
	m, err := s.mutate(ctx, auth.Down, req.RequestId, req)
	if err != nil {
		return nil, err
	}
	object := auth.Object{Kind: "cluster", Name: req.ClusterName, Workspace: defaultWorkspace}
	rec, err := m.run(ctx, object, func(tx *state.Tx, q *stixv1.Request) error {
		c, ok := tx.ClusterByName(req.ClusterName)
		if !ok {
			return absent(req.ClusterName)
		}
		pending(tx, q, downDeadline)
		q.ClusterUid = c.Meta.Uid
		if c.Goal != stixv1.ClusterGoal_CLUSTER_GOAL_TERMINATED {
			tx.Event("cluster", c.Meta.Uid, "cluster.down", "cluster "+c.Meta.Name+" is taken down by "+m.subject.String())
		}
		tx.Clusters.Edit(c.Meta.Uid, func(c *stixv1.Cluster) {
			c.Goal = stixv1.ClusterGoal_CLUSTER_GOAL_TERMINATED
			c.GoalRequestId = q.Meta.Uid
			c.Purge = c.Purge || req.Purge
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &stixv1.DownResponse{RequestId: rec.Meta.Uid, ClusterUid: rec.ClusterUid}, nil
}

func absent(name string) error {
	return refuse(KindClusterAbsent, "stix status lists the clusters there are", "cluster %q does not exist", name)
}

// ListClusters is part of ClusterService.
func (s *server) ListClusters(ctx context.Context, req *stixv1.ListClustersRequest) (*stixv1.ListClustersResponse, error) {
	if err := auth.Allow(subjectOf(ctx), auth.Read, auth.Object{Kind: "cluster"}); err != nil {
		return nil, err
	}
	view := s.Store.Read()
	res := &stixv1.ListClustersResponse{Revision: view.Revision}
	add := func(c *stixv1.Cluster) {
		if matches(req.Names, c.Meta.Name) {
			res.Clusters = append(res.Clusters, clusterView(view, c))
		}
	}
	if req.History {
		for c := range view.Clusters.All() {
			add(c)
		}
	} else {
		for c := range view.LiveClusters() {
			add(c)
		}
	}
	slices.SortStableFunc(res.Clusters, func(a, b *stixv1.ClusterView) int {
		return int(max(-1, min(1, b.Cluster.LaunchedAt-a.Cluster.LaunchedAt)))
	})
	return res, nil
}

func clusterView(view *state.View, c *stixv1.Cluster) *stixv1.ClusterView {
	v := &stixv1.ClusterView{Cluster: c}
	for n := range view.NodesOfCluster(c.Meta.Uid) {
		if n.State != stixv1.NodeState_NODE_STATE_TERMINATED {
			v.Nodes = append(v.Nodes, public(n))
		}
	}
	return v
}

// public is a node without what only the coordinator needs.
func public(n *stixv1.Node) *stixv1.Node {
	if n.SealedJoinToken == nil && n.JoinTokenHash == "" {
		return n
	}
	return &stixv1.Node{
		Meta: n.Meta, ClusterUid: n.ClusterUid, Index: n.Index, State: n.State, Provider: n.Provider,
		InstanceId: n.InstanceId, Ip: n.Ip, Deadline: n.Deadline, LastError: n.LastError, Agent: n.Agent,
	}
}

// matches tells whether a name is one of names or globs; no names match everything.
func matches(names []string, name string) bool {
	if len(names) == 0 {
		return true
	}
	return slices.ContainsFunc(names, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return pattern == name || (err == nil && ok)
	})
}

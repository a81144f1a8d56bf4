// Package clusters brings clusters up and takes them down: it plans, writes the intent, calls the cloud, writes what
// came of it, and goes on from there after any crash.
//
// Every machine has a node record with a launch token before the cloud is asked for it, and keeps that record until
// the cloud has confirmed that it is gone. A pass looks at the records first, does the one step that they call for,
// and writes; the next change of the records brings the next pass.
//
//	goal UP:         (no nodes) -plan-> PLANNED -launch-> LAUNCHED -(agents ready)-> cluster UP
//	goal TERMINATED: (jobs end, bounded) -> TERMINATING -terminate-> TERMINATED -> cluster TERMINATED
package clusters

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/coordinator/control"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/bootstrap"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/sched"
)

// Limits of the states that are not final (docs/deadlines.md).
const (
	// LaunchLimit is how long the cloud may be asked for machines in vain.
	LaunchLimit = 10 * time.Minute
	// BootLimit is how long a machine may take from the cloud's answer until its agent is ready.
	BootLimit = 10 * time.Minute
	// DrainLimit is how long `down` waits for jobs to end and their logs to arrive.
	DrainLimit = 20 * time.Second
)

// Cloud is what clusters needs of a cloud; *provider.Cloud satisfies it.
type Cloud interface {
	Launch(context.Context, provider.LaunchRequest) (provider.Instance, error)
	List(context.Context, provider.Filter) ([]provider.Instance, error)
	Start(ctx context.Context, id string) error
	Terminate(ctx context.Context, id string) error
	Capabilities() provider.Capabilities
}

// Sealer seals what must not be in clear in the log; seal.Box satisfies it.
type Sealer interface {
	Seal(plaintext, additional []byte) ([]byte, error)
	Open(sealed, additional []byte) ([]byte, error)
}

// Config of a Reconciler.
type Config struct {
	// Store of records.
	Store *state.Store
	// Clouds by name.
	Clouds map[string]Cloud
	// Offers are what can be rented now.
	Offers func() []sched.Offer
	// Join is what every new node is told: the cluster's id, its CA, the coordinators' addresses for agents.
	Join func() (bootstrap.Bootstrap, error)
	// Sealer protects join tokens in the log.
	Sealer Sealer
	// NewToken makes a join token.
	NewToken func() string
	// Now is the clock.
	Now func() time.Time
	// Logger for transitions.
	Logger hclog.Logger
}

// Validate returns what is missing.
func (c Config) Validate() error {
	if c.Store == nil || c.Clouds == nil || c.Offers == nil || c.Join == nil || c.Sealer == nil || c.NewToken == nil || c.Now == nil || c.Logger == nil {
		return errors.New("clusters: every field of Config is needed")
	}
	return nil
}

// Reconciler moves clusters towards their goals. It is used by one control.Loop, which never runs two passes over one
// cluster.
type Reconciler struct {
	cfg   Config
	store *state.Store
	log   hclog.Logger
}

// New checks and assembles.
func New(cfg Config) (*Reconciler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Reconciler{cfg: cfg, store: cfg.Store, log: cfg.Logger}, nil
}

// Reconcile does the next step for the cluster with that uid.
func (r *Reconciler) Reconcile(ctx context.Context, uid string) (control.Result, error) {
	v := look(r.store.Read(), uid)
	switch {
	case v.cluster == nil || v.cluster.State == stixv1.ClusterState_CLUSTER_STATE_TERMINATED:
		return control.Result{}, nil
	case v.cluster.Goal == stixv1.ClusterGoal_CLUSTER_GOAL_TERMINATED:
		return r.takeDown(ctx, v)
	case v.abandoned():
		return r.abandon(ctx, v)
	case v.launching():
		return r.bringUp(ctx, v)
	}
	return r.observe(ctx, v)
}

// Source feeds the uids of clusters that changed, or whose nodes, jobs or requests did, beginning with all live ones.
func (r *Reconciler) Source(ctx context.Context, add func(key string)) error {
	view := r.store.Read()
	for c := range view.LiveClusters() {
		add(c.Meta.Uid)
	}
	w := r.store.Watch(view.Revision, state.Filter{})
	for {
		changes, err := w.Next(ctx)
		if err != nil {
			return err
		}
		for _, c := range changes {
			r.route(c, add)
		}
	}
}

func (r *Reconciler) route(c state.Change, add func(string)) {
	switch rec := c.New.(type) {
	case *stixv1.Cluster:
		add(rec.Meta.Uid)
	case *stixv1.Node:
		add(rec.ClusterUid)
	case *stixv1.Request:
		add(rec.ClusterUid)
	case *stixv1.Assignment:
		r.routeWork(rec.ClusterUid, add)
	case *stixv1.Job:
		r.routeWork(rec.ClusterUid, add)
	}
}

// routeWork feeds a cluster whose jobs change: of interest only while it drains.
func (r *Reconciler) routeWork(uid string, add func(string)) {
	if c, ok := r.store.Read().Clusters.Get(uid); ok && c.Goal == stixv1.ClusterGoal_CLUSTER_GOAL_TERMINATED {
		add(uid)
	}
}

// situation is one look at a cluster.
type situation struct {
	view    *state.View
	cluster *stixv1.Cluster
	// nodes that are not terminated, by index.
	nodes []*stixv1.Node
	// launches are the launch requests that wait for the cluster.
	launches []*stixv1.Request
}

func look(view *state.View, uid string) *situation {
	s := &situation{view: view}
	s.cluster, _ = view.Clusters.Get(uid)
	for n := range view.NodesOfCluster(uid) {
		if n.State != stixv1.NodeState_NODE_STATE_TERMINATED {
			s.nodes = append(s.nodes, n)
		}
	}
	for q := range view.ActiveRequests() {
		if q.ClusterUid == uid && q.Verb == VerbLaunch {
			s.launches = append(s.launches, q)
		}
	}
	return s
}

// The verbs of requests that end when a cluster reaches its goal.
const (
	VerbLaunch = "launch"
	VerbDown   = "down"
)

func (s *situation) launching() bool { return len(s.launches) > 0 }

// abandoned tells of a cluster that never was up and that nobody waits for: its launch failed, or was cancelled.
func (s *situation) abandoned() bool { return !s.cluster.EverUp && !s.launching() }

func (s *situation) with(states ...stixv1.NodeState) []*stixv1.Node {
	var out []*stixv1.Node
	for _, n := range s.nodes {
		if slices.Contains(states, n.State) {
			out = append(out, n)
		}
	}
	return out
}

// allReady tells that the cluster has all its machines and all their agents have sessions.
func (s *situation) allReady() bool {
	if len(s.nodes) < int(s.cluster.NumNodes) {
		return false
	}
	return !slices.ContainsFunc(s.nodes, func(n *stixv1.Node) bool {
		return n.State != stixv1.NodeState_NODE_STATE_LAUNCHED || n.Agent.GetState() != stixv1.AgentState_AGENT_STATE_READY
	})
}

func (r *Reconciler) cloud(name string) (Cloud, error) {
	if c, ok := r.cfg.Clouds[name]; ok {
		return c, nil
	}
	return nil, errors.New("cloud " + name + " is not enabled on this server")
}

// now in Unix nanoseconds.
func (r *Reconciler) now() int64 { return r.cfg.Now().UnixNano() }

// update writes in the name of this package.
func (r *Reconciler) update(ctx context.Context, verb, uid string, fn func(*state.Tx) error) error {
	return r.store.Update(ctx, state.Actor{Subject: "coordinator/clusters", Verb: verb, Object: "cluster/" + uid}, fn)
}

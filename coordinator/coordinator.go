// Package coordinator wires one coordinator together: the consensus and the records under everything, the behaviours
// that move them while this coordinator leads, and the services in front. It decides nothing.
package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/blobs"
	"github.com/stix-run/stix/coordinator/clusters"
	"github.com/stix-run/stix/coordinator/consensus"
	"github.com/stix-run/stix/coordinator/control"
	"github.com/stix-run/stix/coordinator/dispatch"
	"github.com/stix-run/stix/coordinator/logs"
	"github.com/stix-run/stix/coordinator/nodes"
	"github.com/stix-run/stix/coordinator/rpc"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/backoff"
	"github.com/stix-run/stix/internal/bootstrap"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// apiVersion is the number of the users' interface, raised with each change that a client may depend on.
const apiVersion = 1

// Coordinator is one coordinator. New assembles it, Run runs it.
type Coordinator struct {
	cfg       Config
	node      *consensus.Node
	store     *state.Store
	authority *auth.Authority
	logs      *logs.Store
	blobs     *blobs.Store
	nodes     *nodes.Nodes
	clusters  *clusters.Reconciler
	dispatch  *dispatch.Reconciler
	clouds    map[string]clusters.Cloud
	servers   []*server
	// term is this coordinator's, while it leads.
	term term
	// closers end what the parts keep open, at the end of Run.
	closers []func()
}

// New checks and assembles. It opens the directories of blobs and logs and starts nothing.
func New(cfg Config) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Coordinator{cfg: cfg}
	for _, step := range []func() error{c.newStore, c.newData, c.newClouds, c.newBehaviours, c.newServers} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// newStore ties the records to the log: the store proposes to the node, the node applies to the store.
func (c *Coordinator) newStore() error {
	machine := &machine{}
	ccfg := consensus.Config{ID: c.cfg.ID, FSM: machine, Stores: c.cfg.Disk, Logger: c.cfg.Logger.Named("consensus")}
	if c.cfg.Disk == nil {
		ccfg.Dir = filepath.Join(c.cfg.DataDir, "raft")
	}
	if p := c.cfg.Peers; p != nil {
		ccfg.Stream, ccfg.Bootstrap = p.Stream, p.Bootstrap
	}
	node, err := consensus.New(ccfg)
	if err != nil {
		return err
	}
	var proposer state.Proposer = node
	if c.cfg.Intercept != nil {
		proposer = c.cfg.Intercept(proposer)
	}
	store, err := state.New(state.Config{
		Proposer: proposer, Now: func() int64 { return c.cfg.Now().UnixNano() }, NewID: c.cfg.NewID,
		Classify: outcomeOf, Barrier: node.Barrier, Pause: pause, Logger: c.cfg.Logger.Named("state"),
	})
	if err != nil {
		return err
	}
	machine.Store = store
	c.node, c.store = node, store
	return nil
}

// outcomeOf translates what the consensus says of a failed proposal.
func outcomeOf(err error) state.Outcome {
	if errors.Is(err, consensus.ErrNotLeader) || errors.Is(err, consensus.ErrRejected) {
		return state.NotHappened
	}
	return state.Unknown
}

func pause(ctx context.Context, attempt int) {
	b := backoff.Backoff{Min: 5 * time.Millisecond, Max: 500 * time.Millisecond}
	if backoff.Sleep(ctx, b.Next(attempt, nil)) != nil {
		return
	}
}

// machine makes the store the state machine of the consensus.
type machine struct{ *state.Store }

// Snapshot is part of consensus.FSM.
func (m *machine) Snapshot() (consensus.Snapshot, error) { return m.Store.Snapshot() }

func (c *Coordinator) newData() (err error) {
	c.blobs, err = blobs.New(blobs.Config{
		Dir: filepath.Join(c.cfg.DataDir, "blobs"), Now: c.cfg.Now, Logger: c.cfg.Logger.Named("blobs"),
	})
	if err != nil {
		return err
	}
	c.logs, err = logs.New(logs.Config{
		Dir: filepath.Join(c.cfg.DataDir, "logs"), Now: c.cfg.Now, Wants: c, BootID: c.cfg.BootID, Logger: c.cfg.Logger.Named("logs"),
	})
	return err
}

// Follow and Unfollow pass on which logs are read; the nodes are made after the logs. Part of logs.Wants.
func (c *Coordinator) Follow(assignmentUID string, from int64) { c.nodes.Follow(assignmentUID, from) }

// Unfollow is part of logs.Wants.
func (c *Coordinator) Unfollow(assignmentUID string) { c.nodes.Unfollow(assignmentUID) }

func (c *Coordinator) newBehaviours() (err error) {
	cfg, log := c.cfg, c.cfg.Logger
	if c.authority, err = auth.NewAuthority(auth.AuthorityConfig{
		Store: c.store, Sealer: cfg.Box, Now: cfg.Now, CoordinatorID: cfg.ID, NewClusterID: cfg.NewID,
	}); err != nil {
		return err
	}
	if c.nodes, err = nodes.New(nodes.Config{
		Store: c.store, Signer: c.authority, Opener: cfg.Box, Logs: logCopies{c.logs}, Now: cfg.Now,
		Version: cfg.Version, Logger: log.Named("nodes"),
	}); err != nil {
		return err
	}
	if c.clusters, err = clusters.New(clusters.Config{
		Store: c.store, Clouds: c.clouds, Offers: c.offers, Join: c.join, Sealer: cfg.Box,
		NewToken: cfg.NewToken, Now: cfg.Now, Logger: log.Named("clusters"),
	}); err != nil {
		return err
	}
	c.dispatch, err = dispatch.New(dispatch.Config{Store: c.store, Logger: log.Named("dispatch")})
	return err
}

// logCopies is what the nodes need of the logs.
type logCopies struct{ store *logs.Store }

// Size is part of nodes.Logs. A log that cannot be read counts as empty: a push of bytes that are there is harmless.
func (l logCopies) Size(jobUID, assignmentUID string) int64 {
	size, _, err := l.store.Size(logs.Key{JobUID: jobUID, AssignmentUID: assignmentUID})
	if err != nil {
		return 0
	}
	return size
}

// Abandon is part of nodes.Logs.
func (l logCopies) Abandon(ctx context.Context, jobUID, assignmentUID string) error {
	return l.store.Abandon(ctx, logs.Key{JobUID: jobUID, AssignmentUID: assignmentUID})
}

// join is what every new node is told.
func (c *Coordinator) join() (bootstrap.Bootstrap, error) {
	pin, err := c.authority.Pin()
	if err != nil {
		return bootstrap.Bootstrap{}, err
	}
	return bootstrap.Bootstrap{ClusterID: c.authority.ClusterID(), CAPin: pin, Coordinators: c.cfg.AgentAddresses}, nil
}

func (c *Coordinator) newServers() error {
	rcfg := rpc.Config{
		Store: c.store, Consensus: c.node, Nodes: c.nodes, Logs: c.logs, Blobs: c.blobs, Sealer: c.cfg.Box,
		Offers: c.offers, ClusterID: c.authority.ClusterID, Now: c.cfg.Now, Logger: c.cfg.Logger.Named("rpc"),
		Info: &stixv1.InfoResponse{
			Version: c.cfg.Version, Build: c.cfg.Build, ApiVersion: apiVersion, Pid: int64(c.cfg.PID),
			StateDir: c.cfg.StateDir, CoordinatorId: c.cfg.ID, StartedAt: c.cfg.Now().UnixNano(),
		},
	}
	if c.cfg.Peers != nil {
		rcfg.Copies = &copier{c: c, http: &http.Client{Transport: c.toPeers()}}
	}
	users, err := rpc.Users(rcfg)
	if err != nil {
		return err
	}
	agents, err := rpc.Agents(rcfg)
	if err != nil {
		return err
	}
	c.servers = []*server{
		newServer("users", c.cfg.Users, rpc.UserSubject(c.onLeader(forUsers, users)), c.cfg.Logger),
		newServer("agents", c.agentTLS(), rpc.NodeSubject(c.onLeader(forAgents, agents)), c.cfg.Logger),
	}
	if c.cfg.Peers != nil {
		c.servers = append(c.servers, newServer("peers", c.cfg.Peers.Forward, c.fromPeers(users, agents), c.cfg.Logger))
	}
	return nil
}

// Run runs the coordinator until ctx ends or a part fails. On the way out nothing new is accepted, then the term ends,
// then the log: work that is under way is finished or left to the next leader, never half-committed.
func (c *Coordinator) Run(ctx context.Context) error {
	ground, stopGround := context.WithCancel(context.WithoutCancel(ctx))
	defer stopGround()
	work, stopWork := context.WithCancel(ctx)
	defer stopWork()
	below, above := &errgroup.Group{}, &errgroup.Group{}
	start := func(g *errgroup.Group, name string, run func() error) {
		g.Go(func() error {
			defer stopWork()
			if err := run(); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	start(below, "consensus", func() error { return c.node.Run(ground) })
	start(below, "state", func() error { return c.store.Run(ground) })
	start(below, "logs", func() error { return c.logs.Run(ground) })
	for _, s := range c.servers {
		start(above, "serve "+s.name, func() error { return s.run(work) })
	}
	start(above, "lead", func() error { return c.node.Lead(work, c.lead) })
	aboveErr := above.Wait()
	for _, closeIdle := range c.closers {
		closeIdle()
	}
	stopGround()
	return errors.Join(aboveErr, below.Wait())
}

// lead runs everything that only a leader does, for one term.
func (c *Coordinator) lead(ctx context.Context, term uint64) error {
	c.store.StartTerm(term)
	defer c.store.EndTerm()
	if err := c.authority.Ensure(ctx); err != nil {
		return err
	}
	c.term.begin(ctx.Done())
	defer c.term.end()
	runners, err := c.runners()
	if err != nil {
		return err
	}
	return control.RunTerm(ctx, term, runners...)
}

// runners is the one list of what runs in a term.
func (c *Coordinator) runners() ([]control.Runner, error) {
	runners := []control.Runner{c.nodes, runFunc(c.clusters.Sweep), runFunc(c.upkeep)}
	for _, cfg := range []control.Config{
		{Name: "clusters", Reconciler: c.clusters, Source: c.clusters.Source, Workers: 16},
		{Name: "dispatch", Reconciler: c.dispatch, Source: c.dispatch.Source, Workers: 4},
	} {
		cfg.Logger = c.cfg.Logger
		loop, err := control.New(cfg)
		if err != nil {
			return nil, err
		}
		runners = append(runners, loop)
	}
	return runners, nil
}

type runFunc func(context.Context) error

// Run is part of control.Runner.
func (f runFunc) Run(ctx context.Context) error { return f(ctx) }

// Package nodes is the coordinator's side of the agents: enrolment, one session for each node, orders out, statuses
// in, and the transitions ready and unreachable. Heartbeats stay in memory; only transitions become records.
//
// A session is level-triggered: at its beginning the agent is told everything that is wanted of it, afterwards what
// changed. A lost message costs a reconnect, never correctness.
package nodes

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Capability is the number of the protocol between agents and coordinators.
//
//	1  2026-11-24  orders, reports, log pushes, blobs
const Capability = 1

// Defaults of the liveness rule (docs/deadlines.md).
const (
	// HeartbeatInterval is what agents are asked for.
	HeartbeatInterval = 3 * time.Second
	// SilenceLimit is how long a node may be silent before it is UNREACHABLE.
	SilenceLimit = 10 * time.Second
)

// Signer makes node certificates; auth.Authority satisfies it.
type Signer interface {
	Sign(csr []byte, nodeUID string) (*stixv1.EnrolResponse, error)
}

// Opener opens sealed secrets; seal.Box satisfies it.
type Opener interface {
	Open(sealed, additional []byte) ([]byte, error)
}

// Logs is what nodes needs of the coordinator's copy of the logs.
type Logs interface {
	// Size is how many bytes of a log there are.
	Size(jobUID, assignmentUID string) int64
	// Abandon ends a log whose rest nobody will hand in.
	Abandon(ctx context.Context, jobUID, assignmentUID string) error
}

// Config of Nodes.
type Config struct {
	// Store of records.
	Store *state.Store
	// Signer makes certificates.
	Signer Signer
	// Opener opens the secrets of tasks.
	Opener Opener
	// Logs is the coordinator's copy of the logs.
	Logs Logs
	// Now is the clock.
	Now func() time.Time
	// Version of this program, told to agents.
	Version string
	// Logger for transitions.
	Logger hclog.Logger
}

// Validate returns what is missing.
func (c Config) Validate() error {
	if c.Store == nil || c.Signer == nil || c.Opener == nil || c.Logs == nil || c.Now == nil || c.Logger == nil {
		return errors.New("nodes: every field of Config but Version is needed")
	}
	return nil
}

// Nodes keeps the sessions of this coordinator while it leads.
type Nodes struct {
	cfg   Config
	store *state.Store
	log   hclog.Logger

	// mu guards the fields below.
	mu sync.Mutex
	// leading is set while Run runs; sessions are refused otherwise.
	leading bool
	// sessions by node uid.
	sessions map[string]*session
	// seen is when a node was last heard of, also after its session ended.
	seen map[string]time.Time
	// follows are the logs that somebody reads, by assignment uid.
	follows map[string]struct{}
}

// New checks and assembles.
func New(cfg Config) (*Nodes, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Nodes{
		cfg: cfg, store: cfg.Store, log: cfg.Logger,
		sessions: map[string]*session{}, seen: map[string]time.Time{}, follows: map[string]struct{}{},
	}, nil
}

// Run does the leader's part until ctx, the term, ends: it takes sessions, routes changes of records to them, and
// watches for silence. All sessions end with it.
func (n *Nodes) Run(ctx context.Context) error {
	n.lead(true)
	defer n.lead(false)
	var wg sync.WaitGroup
	wg.Go(func() { n.watchSilence(ctx) })
	n.routeChanges(ctx)
	wg.Wait()
	return nil
}

func (n *Nodes) lead(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leading = on
	n.seen = map[string]time.Time{}
	for _, s := range n.sessions {
		s.close()
	}
}

// Sessions counts the agents that are connected here.
func (n *Nodes) Sessions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.sessions)
}

// routeChanges tells sessions of changed assignments and ends what belongs to machines that are gone.
func (n *Nodes) routeChanges(ctx context.Context) {
	for ctx.Err() == nil {
		view := n.store.Read()
		for node := range view.GoneNodesWithLiveAssignments() {
			n.lose(ctx, node.Meta.Uid)
		}
		n.pokeAll()
		w := n.store.Watch(view.Revision, state.Filter{})
		for {
			changes, err := w.Next(ctx)
			if err != nil {
				break // start over, or the term is over
			}
			for _, c := range changes {
				n.route(ctx, c)
			}
		}
	}
}

func (n *Nodes) route(ctx context.Context, c state.Change) {
	switch rec := c.New.(type) {
	case *stixv1.Assignment:
		n.poke(rec.NodeUid, rec.Meta.Uid)
	case *stixv1.Node:
		if goneState(rec.State) {
			n.lose(ctx, rec.Meta.Uid)
		}
	}
}

func goneState(s stixv1.NodeState) bool {
	return s == stixv1.NodeState_NODE_STATE_TERMINATED || s == stixv1.NodeState_NODE_STATE_STOPPED
}

// poke tells the session of a node, if there is one here, that an assignment changed.
func (n *Nodes) poke(nodeUID, assignmentUID string) {
	n.mu.Lock()
	s := n.sessions[nodeUID]
	n.mu.Unlock()
	if s != nil {
		s.changed(assignmentUID)
	}
}

func (n *Nodes) pokeAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sessions {
		s.resync()
	}
}

// lose ends the assignments of a machine that does not exist, or does not run, any more: nobody else will report them.
func (n *Nodes) lose(ctx context.Context, nodeUID string) {
	n.mu.Lock()
	if s := n.sessions[nodeUID]; s != nil {
		s.close()
	}
	n.mu.Unlock()
	by := state.Actor{Subject: "coordinator/nodes", Verb: "lose", Object: "node/" + nodeUID}
	var lost []*stixv1.Assignment
	err := n.store.Update(ctx, by, func(tx *state.Tx) error {
		lost = slices.Collect(tx.LiveAssignmentsOfNode(nodeUID))
		for _, a := range lost {
			tx.Assignments.Edit(a.Meta.Uid, func(a *stixv1.Assignment) { markLost(a.Status, tx.Now()) })
		}
		return nil
	})
	for _, a := range lost {
		if err == nil {
			err = n.cfg.Logs.Abandon(ctx, a.JobUid, a.Meta.Uid)
		}
	}
	if err != nil && ctx.Err() == nil {
		n.log.Warn("could not end the assignments of a lost machine", "node", nodeUID, "error", err)
	}
}

// markLost ends a status that nobody will report any more. What ended before keeps its result; its log is cut.
func markLost(st *stixv1.AssignmentStatus, now int64) {
	st.LogArchived = true
	if st.State == stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED {
		return
	}
	st.State = stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED
	st.Outcome = stixv1.Outcome_OUTCOME_LOST
	st.ExitCode = 137
	st.EndedAt = now
	st.Message = "the machine is gone"
}

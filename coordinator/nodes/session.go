package nodes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Receive and Send are the transport of one session.
type (
	Receive = func() (*stixv1.AgentMessage, error)
	Send    = func(*stixv1.CoordinatorMessage) error
)

// session is one connection of one node. One goroutine sends; what is to be sent is collected under mu.
type session struct {
	nodeUID string
	cancel  context.CancelFunc
	wake    chan struct{}

	// mu guards the fields below.
	mu sync.Mutex
	// full asks for all orders to be sent.
	full bool
	// dirty are assignments to look at, in the order in which they changed.
	dirty []string
	// replies are messages that wait for the sender.
	replies []*stixv1.CoordinatorMessage
}

func newSession(nodeUID string, cancel context.CancelFunc) *session {
	return &session{nodeUID: nodeUID, cancel: cancel, wake: make(chan struct{}, 1), full: true}
}

func (s *session) close() { s.cancel() }

func (s *session) changed(assignmentUID string) {
	s.mu.Lock()
	s.dirty = append(s.dirty, assignmentUID)
	s.mu.Unlock()
	s.signal()
}

func (s *session) resync() {
	s.mu.Lock()
	s.full = true
	s.mu.Unlock()
	s.signal()
}

func (s *session) reply(m *stixv1.CoordinatorMessage) {
	s.mu.Lock()
	s.replies = append(s.replies, m)
	s.mu.Unlock()
	s.signal()
}

func (s *session) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) take() (full bool, dirty []string, replies []*stixv1.CoordinatorMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	full, dirty, replies = s.full, s.dirty, s.replies
	s.full, s.dirty, s.replies = false, nil, nil
	return full, dirty, replies
}

// Session serves one agent, who has proved to be peer, until the stream or the term ends.
func (n *Nodes) Session(ctx context.Context, peer auth.Peer, recv Receive, send Send) error {
	if err := n.admit(peer); err != nil {
		return err
	}
	first, err := recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return errors.New("the first message of a session has to be hello")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newSession(peer.NodeUID, cancel)
	if err := n.register(s); err != nil {
		return err
	}
	defer n.unregister(s)
	if err := n.welcome(ctx, s, hello); err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- n.receive(ctx, s, recv) }()
	err = n.send(ctx, s, send)
	cancel()
	// The transport ends Receive when this function returns; a message that is being handled ends with ctx.
	select {
	case rerr := <-received:
		return errors.Join(err, rerr)
	default:
		return err
	}
}

// admit checks that the node lives and that the certificate is of the key that it enrolled with.
func (n *Nodes) admit(peer auth.Peer) error {
	node, ok := n.store.Read().Nodes.Get(peer.NodeUID)
	if !ok || node.State == stixv1.NodeState_NODE_STATE_TERMINATED || node.Agent.GetPublicKeyHash() != peer.KeyHash {
		return fmt.Errorf("node %s: %w", peer.NodeUID, auth.ErrUnknownNode)
	}
	return nil
}

// register makes s the session of its node; an older one ends.
func (n *Nodes) register(s *session) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.leading {
		return state.ErrNotLeader
	}
	if old := n.sessions[s.nodeUID]; old != nil {
		old.close()
	}
	n.sessions[s.nodeUID] = s
	n.seen[s.nodeUID] = n.cfg.Now()
	return nil
}

func (n *Nodes) unregister(s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sessions[s.nodeUID] == s {
		delete(n.sessions, s.nodeUID)
	}
}

// welcome writes that the node is ready and queues the answer to its hello.
func (n *Nodes) welcome(ctx context.Context, s *session, h *stixv1.Hello) error {
	by := state.Actor{Subject: "node/" + s.nodeUID, Verb: "ready", Object: "node/" + s.nodeUID}
	err := n.store.Update(ctx, by, func(tx *state.Tx) error {
		node, ok := tx.Nodes.Get(s.nodeUID)
		if !ok {
			return auth.ErrUnknownNode
		}
		was := node.Agent.GetState()
		tx.Nodes.Edit(s.nodeUID, func(n *stixv1.Node) { greet(n.Agent, h, tx.Now()) })
		if was == stixv1.AgentState_AGENT_STATE_UNREACHABLE {
			tx.Event("cluster", node.ClusterUid, "node.ready", nodeName(node)+" is reachable again")
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.reply(&stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_Welcome{Welcome: &stixv1.Welcome{
		Capability: Capability, Version: n.cfg.Version, HeartbeatIntervalMs: HeartbeatInterval.Milliseconds(),
	}}})
	return nil
}

func greet(a *stixv1.Agent, h *stixv1.Hello, now int64) {
	if a.State != stixv1.AgentState_AGENT_STATE_READY {
		a.State = stixv1.AgentState_AGENT_STATE_READY
		a.ChangedAt = now
	}
	a.BootId = h.BootId
	a.Version = h.Version
	a.Capability = h.Capability
	a.Facts = h.Facts
}

// receive handles what the agent sends, one message at a time.
func (n *Nodes) receive(ctx context.Context, s *session, recv Receive) error {
	defer s.close()
	for {
		m, err := recv()
		if err != nil {
			return err
		}
		n.heard(s.nodeUID)
		if err := n.handle(ctx, s, m); err != nil {
			return err
		}
	}
}

func (n *Nodes) handle(ctx context.Context, s *session, m *stixv1.AgentMessage) error {
	if r := m.GetReport(); r != nil {
		if err := n.record(ctx, s.nodeUID, r.Statuses); err != nil {
			return err
		}
		s.reply(&stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_ReportAck{
			ReportAck: &stixv1.ReportAck{Sequence: r.Sequence},
		}})
	}
	return nil
}

// send writes queued messages until ctx ends or the stream breaks. The welcome goes first, then all orders.
func (n *Nodes) send(ctx context.Context, s *session, send Send) error {
	out := newOutbox(n, s.nodeUID)
	timer := time.NewTicker(HeartbeatInterval)
	defer timer.Stop()
	for {
		full, dirty, replies := s.take()
		for _, m := range append(replies, out.messages(full, dirty)...) {
			if err := send(m); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		case <-timer.C:
			// A sign of life for the agent: an acknowledgement of nothing.
			if err := send(&stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_ReportAck{ReportAck: &stixv1.ReportAck{}}}); err != nil {
				return err
			}
		}
	}
}

package nodes

import (
	"context"
	"time"

	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/loglayout"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const sweepInterval = time.Second

// watchSilence turns READY nodes that are silent for too long into UNREACHABLE ones. Silence counts from the
// beginning of the term at the earliest, and from the end of any pause of this process: a coordinator that slept must
// not blame its nodes.
func (n *Nodes) watchSilence(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	base := n.cfg.Now()
	last := base
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := n.cfg.Now()
		if now.Sub(last) > 3*sweepInterval {
			base = now
		}
		last = now
		n.sweep(ctx, base, now)
	}
}

func (n *Nodes) sweep(ctx context.Context, base, now time.Time) {
	for node := range n.store.Read().LiveNodes() {
		if node.Agent.GetState() != stixv1.AgentState_AGENT_STATE_READY {
			continue
		}
		silence := now.Sub(later(base, n.lastSeen(node.Meta.Uid)))
		if silence > SilenceLimit {
			n.unreachable(ctx, node.Meta.Uid, silence)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (n *Nodes) lastSeen(nodeUID string) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen[nodeUID]
}

// heard notes a sign of life.
func (n *Nodes) heard(nodeUID string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen[nodeUID] = n.cfg.Now()
}

func (n *Nodes) unreachable(ctx context.Context, nodeUID string, silence time.Duration) {
	n.mu.Lock()
	if s := n.sessions[nodeUID]; s != nil {
		s.close() // whatever hangs in it, a new session is the way back
	}
	n.mu.Unlock()
	by := state.Actor{Subject: "coordinator/nodes", Verb: "unreachable", Object: "node/" + nodeUID}
	err := n.store.Update(ctx, by, func(tx *state.Tx) error {
		node, ok := tx.Nodes.Get(nodeUID)
		if !ok || node.Agent.GetState() != stixv1.AgentState_AGENT_STATE_READY {
			return nil
		}
		setAgentState(tx, nodeUID, stixv1.AgentState_AGENT_STATE_UNREACHABLE)
		tx.Event("cluster", node.ClusterUid, "node.unreachable", nodeName(node)+" is unreachable")
		return nil
	})
	if err != nil {
		n.log.Debug("could not write that a node is unreachable", "node", nodeUID, "error", err)
		return
	}
	n.log.Warn("node is unreachable", "node", nodeUID, "silent", silence.Round(time.Second))
}

func setAgentState(tx *state.Tx, nodeUID string, to stixv1.AgentState) {
	tx.Nodes.Edit(nodeUID, func(n *stixv1.Node) {
		if n.Agent == nil {
			n.Agent = &stixv1.Agent{}
		}
		n.Agent.State = to
		n.Agent.ChangedAt = tx.Now()
	})
}

// nodeName is a node as people know it: "head" or "worker2".
func nodeName(n *stixv1.Node) string {
	return loglayout.Node(n.Index)
}

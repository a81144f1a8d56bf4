package nodes

import (
	"context"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/tlsconf"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Enrol redeems a join token: one update decides and pins the node's key, so that a token works once, whatever is
// lost on the way. A refusal becomes an event of the cluster.
func (n *Nodes) Enrol(ctx context.Context, req *stixv1.EnrolRequest) (*stixv1.EnrolResponse, error) {
	keyHash, err := tlsconf.RequestPin(req.Csr)
	if err != nil {
		return nil, err
	}
	refusal := error(nil)
	by := state.Actor{Subject: "node/" + req.NodeUid, Verb: "enrol", Object: "node/" + req.NodeUid}
	err = n.store.Update(ctx, by, func(tx *state.Tx) error {
		node, _ := tx.Nodes.Get(req.NodeUid)
		if refusal = auth.MayRedeem(node, req.JoinToken, keyHash, tx.Now()); refusal != nil {
			if node != nil {
				tx.Event("cluster", node.ClusterUid, "node.enrolment-refused", nodeName(node)+": "+refusal.Error())
			}
			return nil
		}
		if node.Agent.GetPublicKeyHash() == "" {
			tx.Nodes.Edit(req.NodeUid, func(n *stixv1.Node) {
				n.Agent = &stixv1.Agent{State: stixv1.AgentState_AGENT_STATE_EXPECTED, ChangedAt: tx.Now(), PublicKeyHash: keyHash}
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		n.log.Warn("enrolment refused", "node", req.NodeUid, "reason", refusal)
		return nil, auth.ErrRefused
	}
	return n.cfg.Signer.Sign(req.Csr, req.NodeUid)
}

// Renew gives a node that lives a new certificate for the key that it enrolled with, also after the old one ran out.
func (n *Nodes) Renew(_ context.Context, req *stixv1.RenewRequest) (*stixv1.EnrolResponse, error) {
	keyHash, err := tlsconf.RequestPin(req.Csr)
	if err != nil {
		return nil, err
	}
	node, _ := n.store.Read().Nodes.Get(req.NodeUid)
	if err := auth.MayRenew(node, keyHash); err != nil {
		n.log.Warn("renewal refused", "node", req.NodeUid, "reason", err)
		return nil, auth.ErrRefused
	}
	return n.cfg.Signer.Sign(req.Csr, req.NodeUid)
}

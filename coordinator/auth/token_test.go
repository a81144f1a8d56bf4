package auth

import (
	"errors"
	"testing"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestJoinTokenIsForOneKeyOfOneLivingNode(t *testing.T) {
	node := func(change func(*stixv1.Node)) *stixv1.Node {
		n := &stixv1.Node{State: stixv1.NodeState_NODE_STATE_LAUNCHED, JoinTokenHash: HashToken("secret"), JoinTokenExpiresAt: 100}
		change(n)
		return n
	}
	same := func(*stixv1.Node) {}
	for _, c := range []struct {
		name  string
		n     *stixv1.Node
		token string
		key   string
		now   int64
		want  error
	}{
		{"first use", node(same), "secret", "k1", 50, nil},
		{"the answer was lost", node(func(n *stixv1.Node) { n.Agent = &stixv1.Agent{PublicKeyHash: "k1"} }), "secret", "k1", 50, nil},
		{"replayed by another", node(func(n *stixv1.Node) { n.Agent = &stixv1.Agent{PublicKeyHash: "k1"} }), "secret", "k2", 50, ErrTokenUsed},
		{"late", node(same), "secret", "k1", 101, ErrTokenExpired},
		{"guessed", node(same), "other", "k1", 50, ErrTokenWrong},
		{"no token was made", node(func(n *stixv1.Node) { n.JoinTokenHash = "" }), "", "k1", 50, ErrTokenWrong},
		{"going down", node(func(n *stixv1.Node) { n.State = stixv1.NodeState_NODE_STATE_TERMINATING }), "secret", "k1", 50, ErrNodeGone},
		{"unknown", nil, "secret", "k1", 50, ErrNodeGone},
	} {
		if got := MayRedeem(c.n, c.token, c.key, c.now); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRenewalNeedsTheKeyOfTheNode(t *testing.T) {
	n := &stixv1.Node{State: stixv1.NodeState_NODE_STATE_LAUNCHED, Agent: &stixv1.Agent{PublicKeyHash: "k1"}}
	if err := MayRenew(n, "k1"); err != nil {
		t.Error(err)
	}
	if err := MayRenew(n, "k2"); !errors.Is(err, ErrKeyWrong) {
		t.Errorf("another key: %v", err)
	}
	if err := MayRenew(&stixv1.Node{State: stixv1.NodeState_NODE_STATE_LAUNCHED}, ""); !errors.Is(err, ErrKeyWrong) {
		t.Errorf("a node that never enrolled: %v", err)
	}
}

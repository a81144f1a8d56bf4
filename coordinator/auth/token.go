package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// JoinTokenTTL is how long after the machine was asked for a join token can be redeemed.
const JoinTokenTTL = 20 * time.Minute

// HashToken is what is kept of a token.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Refusals of a redemption. They are for the log and the events: the caller is told only that it was refused.
var (
	ErrTokenWrong   = errors.New("the join token is not that of this node")
	ErrTokenExpired = errors.New("the join token has expired")
	ErrTokenUsed    = errors.New("the join token was used already, with another key")
	ErrNodeGone     = errors.New("the node does not exist any more")
	ErrKeyWrong     = errors.New("the key is not the one that this node enrolled with")
)

// MayRedeem decides whether a token makes a key that of a node, now (Unix nanoseconds). The same token with the same
// key is accepted again: the first answer may have been lost.
func MayRedeem(n *stixv1.Node, token, keyHash string, now int64) error {
	switch {
	case gone(n):
		return ErrNodeGone
	case n.JoinTokenHash == "" || subtle.ConstantTimeCompare([]byte(n.JoinTokenHash), []byte(HashToken(token))) != 1:
		return ErrTokenWrong
	case n.Agent.GetPublicKeyHash() != "" && n.Agent.PublicKeyHash != keyHash:
		return ErrTokenUsed
	case now > n.JoinTokenExpiresAt:
		return ErrTokenExpired
	}
	return nil
}

// MayRenew decides whether a node may have a new certificate: its record lives, and it has the key it enrolled with.
func MayRenew(n *stixv1.Node, keyHash string) error {
	switch {
	case gone(n):
		return ErrNodeGone
	case n.Agent.GetPublicKeyHash() == "" || n.Agent.PublicKeyHash != keyHash:
		return ErrKeyWrong
	}
	return nil
}

func gone(n *stixv1.Node) bool {
	return n == nil || n.State == stixv1.NodeState_NODE_STATE_TERMINATED || n.State == stixv1.NodeState_NODE_STATE_TERMINATING
}

package auth

import "errors"

// Peer is a node as its certificate proved it.
type Peer struct {
	// NodeUID is the node that the certificate is for.
	NodeUID string
	// KeyHash is the pin of the certificate's key.
	KeyHash string
}

// Refusals that a node is told: no more than it needs to know.
var (
	// ErrRefused answers a request for a certificate without a right to one.
	ErrRefused = errors.New("enrolment refused")
	// ErrUnknownNode says that the node is not to come back: its record is gone or final.
	ErrUnknownNode = errors.New("the node does not exist any more")
)

// Package control runs reconcilers. A reconciler brings one thing, named by a key,
// a step closer to what its record says; this package decides when it is called:
// never twice at once for a key, again after every change, later when it asks for
// that, and with growing delays while it fails.
//
// Everything is level-triggered. Keys carry no event, several adds of a key are one
// call, and whatever is lost is made good by the next full listing of a source.
package control

import (
	"context"
	"time"
)

// Result says when to look at a key again without being asked.
type Result struct {
	// RequeueAfter calls Reconcile again after that time at the latest. Zero: only
	// when the key is added.
	RequeueAfter time.Duration
}

// Reconciler brings the thing named by a key closer to what is wanted. It must bear
// being called at any time and again, and return soon after ctx is done. An error
// means to try again later.
type Reconciler interface {
	Reconcile(ctx context.Context, key string) (Result, error)
}

// Source calls add for every key there is, then for every key that changes, until
// ctx is done. When it returns, it is called again after a pause: it must always
// begin with all keys. add never blocks.
type Source func(ctx context.Context, add func(key string)) error

// Runner is what a term consists of; *Loop is one.
type Runner interface {
	// Run blocks until ctx is done and everything it started has returned.
	Run(ctx context.Context) error
}

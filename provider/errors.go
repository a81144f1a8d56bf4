package provider

import (
	"context"
	"errors"
	"fmt"
)

// Kind is what went wrong, out of a closed list that controllers switch on.
type Kind int

// The kinds of failure.
const (
	// KindUnknown: nothing is known; the call may have had its effect.
	KindUnknown Kind = iota
	// KindCapacity: sold out at the moment. Try elsewhere, or later.
	KindCapacity
	// KindQuota: the account may not have more. Try elsewhere, or raise the quota.
	KindQuota
	// KindAuth: the credentials are missing, wrong or not allowed to do this.
	KindAuth
	// KindInvalid: the request makes no sense to the cloud; the same request will fail again.
	KindInvalid
	// KindThrottled: too many calls. The same call succeeds later.
	KindThrottled
	// KindNotFound: what the call is about does not exist.
	KindNotFound
	// KindTransient: a network or server failure. The same call may succeed later; it may have had its effect.
	KindTransient
	// KindUnsupported: the cloud cannot do this at all.
	KindUnsupported
	// KindConflict: the machine is in a state that forbids this, or the token is used up.
	KindConflict
)

var kindNames = [...]string{
	"unknown", "capacity", "quota", "auth", "invalid", "throttled", "not found", "transient", "unsupported", "conflict",
}

// String names the kind.
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return kindNames[KindUnknown]
	}
	return kindNames[k]
}

// Kinds returns every kind there is.
func Kinds() []Kind {
	all := make([]Kind, len(kindNames))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// retryable tells whether the same call may succeed when it is merely made again.
func (k Kind) retryable() bool { return k == KindThrottled || k == KindTransient }

// Scope is how far a failure reaches: where there is no point in trying again.
type Scope int

// The scopes, from narrow to wide.
const (
	// ScopeMachine: this machine or this request only.
	ScopeMachine Scope = iota
	// ScopeZone: all requests for this offering in the zone.
	ScopeZone
	// ScopeRegion: all requests for this offering in the region.
	ScopeRegion
	// ScopeCloud: the whole cloud or account.
	ScopeCloud
)

var scopeNames = [...]string{"machine", "zone", "region", "cloud"}

// String names the scope.
func (s Scope) String() string {
	if s < 0 || int(s) >= len(scopeNames) {
		return scopeNames[ScopeMachine]
	}
	return scopeNames[s]
}

// Error is a failed call with its classification. All methods of [Cloud] return it.
type Error struct {
	Kind  Kind
	Scope Scope
	Op    Op
	// Cloud names the cloud.
	Cloud string
	// Err is the cloud's own error.
	Err error
}

// Error tells operation, kind and cause.
func (e *Error) Error() string {
	where := string(e.Op)
	if e.Cloud != "" {
		where = e.Cloud + ": " + where
	}
	return fmt.Sprintf("%s: %v (%s, %s)", where, e.Err, e.Kind, e.Scope)
}

// Unwrap returns the cloud's own error.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes a classified error, for drivers whose failures are their own rather than an SDK's.
func Errorf(k Kind, s Scope, format string, args ...any) *Error {
	return &Error{Kind: k, Scope: s, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the classification of an error that Cloud or Errorf made. An ended context is transient.
func KindOf(err error) Kind {
	k, _ := Classify(err)
	return k
}

// Classify returns kind and scope of an error that Cloud or Errorf made; a driver may fall back to it.
func Classify(err error) (Kind, Scope) {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Kind, e.Scope
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return KindTransient, ScopeMachine
	}
	return KindUnknown, ScopeMachine
}

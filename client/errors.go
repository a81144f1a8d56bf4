package client

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
)

// Headers in which a server may say more of an error.
const (
	// HeaderHint carries what the caller can do about it.
	HeaderHint = "Stix-Hint"
	// HeaderErrorKind carries the server's stable word for the error.
	HeaderErrorKind = "Stix-Error-Kind"
)

// Kind sorts errors by what a caller can do about them.
type Kind int

// The kinds of errors.
const (
	// Internal is a defect, of the server or of this package.
	Internal Kind = iota
	// Unreachable: no answer came from the server within the patience. A
	// mutating call may have taken effect; the same request id asks again.
	Unreachable
	// NotFound: no such cluster, job or request.
	NotFound
	// Invalid: the server refuses the arguments.
	Invalid
	// Exists: the name or the request id is taken.
	Exists
	// Precondition: not in the present state of the cluster or job.
	Precondition
	// Denied: the caller may not do that.
	Denied
	// Unauthenticated: the server does not know the caller.
	Unauthenticated
	// Exhausted: no capacity, quota or room.
	Exhausted
	// Unsupported: this server cannot do that.
	Unsupported
	// Cancelled: the caller's context ended.
	Cancelled
)

// String returns a stable word for the kind.
func (k Kind) String() string {
	names := [...]string{"internal", "unreachable", "not_found", "invalid", "exists", "precondition", "denied",
		"unauthenticated", "exhausted", "unsupported", "cancelled"}
	if int(k) < len(names) {
		return names[k]
	}
	return "internal"
}

// Error is an error of a call, for people.
type Error struct {
	// Kind says what a caller can do about it.
	Kind Kind
	// Word is the server's own stable word for the error, finer than Kind. May be empty.
	Word string
	// Message says what went wrong.
	Message string
	// Hint says what can be done about it. May be empty.
	Hint string
	// RequestID of a mutating call: sending it again asks for the same outcome. Empty for reads.
	RequestID string

	cause error
}

// Error returns the message, without the hint.
func (e *Error) Error() string { return e.Message }

// Unwrap returns what the transport said.
func (e *Error) Unwrap() error { return e.cause }

// KindOf returns the kind of the first *Error in err's chain, else Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// IsUnreachable reports whether err says that the server did not answer.
func IsUnreachable(err error) bool { return KindOf(err) == Unreachable }

// kindOfCode is the one table from the codes of the wire.
func kindOfCode(code connect.Code) Kind {
	switch code {
	case connect.CodeNotFound:
		return NotFound
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		return Invalid
	case connect.CodeAlreadyExists:
		return Exists
	case connect.CodeFailedPrecondition, connect.CodeAborted:
		return Precondition
	case connect.CodePermissionDenied:
		return Denied
	case connect.CodeUnauthenticated:
		return Unauthenticated
	case connect.CodeResourceExhausted:
		return Exhausted
	case connect.CodeUnimplemented:
		return Unsupported
	case connect.CodeUnavailable, connect.CodeCanceled, connect.CodeDeadlineExceeded:
		return Unreachable
	}
	return Internal
}

// transient reports whether another attempt may succeed: the server said that
// it cannot answer now, or no answer of a server arrived at all.
func transient(ctx context.Context, err error) bool {
	var done *Error
	if err == nil || ctx.Err() != nil || errors.As(err, &done) {
		return false
	}
	return away(connect.CodeOf(err)) || !answered(err)
}

// away reports whether a code, to a caller who did not give up, says that the
// server cannot answer now: one that shuts down cancels what it serves.
func away(code connect.Code) bool {
	return code == connect.CodeUnavailable || code == connect.CodeCanceled
}

// answered reports whether err was sent by a server.
func answered(err error) bool {
	var e *connect.Error
	return errors.As(err, &e) && connect.IsWireError(err)
}

// explain turns an error of a call into one for people.
func (c *Client) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	if ctx.Err() != nil {
		return &Error{Kind: Cancelled, Message: "cancelled", cause: context.Cause(ctx)}
	}
	var e *connect.Error
	if !errors.As(err, &e) {
		return &Error{Kind: Internal, Message: err.Error(), cause: err}
	}
	if !connect.IsWireError(err) {
		return &Error{
			Kind:    Unreachable,
			Message: fmt.Sprintf("the stix server at %s does not answer: %s", c.Endpoint(), e.Message()),
			Hint:    "see `stix api info`; start it with `stix api start`",
			cause:   err,
		}
	}
	return &Error{
		Kind:    kindOfCode(e.Code()),
		Word:    e.Meta().Get(HeaderErrorKind),
		Message: e.Message(),
		Hint:    e.Meta().Get(HeaderHint),
		cause:   err,
	}
}

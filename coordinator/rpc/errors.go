package rpc

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/blobs"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/sched"
)

// Headers that say more of an error.
const (
	headerErrorKind = "Stix-Error-Kind"
	headerHint      = "Stix-Hint"
)

// Kind is a stable word for an error: part of the interface.
type Kind string

// The kinds of errors that users meet.
const (
	KindInvalid       Kind = "invalid"
	KindNotFound      Kind = "not-found"
	KindClusterAbsent Kind = "cluster-does-not-exist"
	KindClusterNotUp  Kind = "cluster-not-up"
	KindMismatch      Kind = "resources-mismatch"
	KindResources     Kind = "resources-unavailable"
	KindReplay        Kind = "request-replayed"
	KindTooOld        Kind = "request-too-old"
	KindAmbiguous     Kind = "ambiguous"
	KindUnsupported   Kind = "not-supported"
)

// codes is the one table from kinds to codes of the transport.
var codes = map[Kind]connect.Code{
	KindInvalid:       connect.CodeInvalidArgument,
	KindNotFound:      connect.CodeNotFound,
	KindClusterAbsent: connect.CodeNotFound,
	KindClusterNotUp:  connect.CodeFailedPrecondition,
	KindMismatch:      connect.CodeFailedPrecondition,
	KindResources:     connect.CodeResourceExhausted,
	KindReplay:        connect.CodeAlreadyExists,
	KindTooOld:        connect.CodeFailedPrecondition,
	KindAmbiguous:     connect.CodeInvalidArgument,
	KindUnsupported:   connect.CodeUnimplemented,
}

// Error is a refusal for people: what, why, and what to do.
type Error struct {
	Kind    Kind
	Message string
	Hint    string
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

func refuse(k Kind, hint, format string, args ...any) error {
	return &Error{Kind: k, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// errorInterceptor turns every error of a handler into one of the transport, in one place.
type errorInterceptor struct{ log hclog.Logger }

// WrapUnary is part of connect.Interceptor.
func (i errorInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		return res, i.translate(ctx, req.Spec().Procedure, err)
	}
}

// WrapStreamingClient is part of connect.Interceptor.
func (i errorInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// WrapStreamingHandler is part of connect.Interceptor.
func (i errorInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return i.translate(ctx, conn.Spec().Procedure, next(ctx, conn))
	}
}

func (i errorInterceptor) translate(ctx context.Context, procedure string, err error) error {
	if err == nil {
		return nil
	}
	out := transportError(err)
	if out.Code() == connect.CodeInternal && ctx.Err() == nil {
		i.log.Error("call failed", "procedure", procedure, "error", err)
	} else {
		i.log.Debug("call refused", "procedure", procedure, "error", err)
	}
	return out
}

func transportError(err error) *connect.Error {
	var done *connect.Error
	if errors.As(err, &done) {
		return done
	}
	var e *Error
	if errors.As(err, &e) {
		out := connect.NewError(codes[e.Kind], errors.New(e.Message))
		out.Meta().Set(headerErrorKind, string(e.Kind))
		if e.Hint != "" {
			out.Meta().Set(headerHint, e.Hint)
		}
		return out
	}
	return connect.NewError(codeOf(err), err)
}

// codeOf is for errors that are not made for people here.
func codeOf(err error) connect.Code {
	var denied *auth.DeniedError
	var infeasible *sched.InfeasibleError
	switch {
	case errors.As(err, &denied), errors.Is(err, auth.ErrRefused):
		return connect.CodePermissionDenied
	case errors.As(err, &infeasible):
		return connect.CodeResourceExhausted
	case errors.Is(err, auth.ErrUnknownNode):
		return connect.CodePermissionDenied
	case errors.Is(err, state.ErrNotLeader), errors.Is(err, state.ErrUnknownOutcome), errors.Is(err, state.ErrStartOver):
		return connect.CodeUnavailable
	case errors.Is(err, blobs.ErrNotFound):
		return connect.CodeNotFound
	case errors.Is(err, blobs.ErrNoSpace):
		return connect.CodeResourceExhausted
	case errors.Is(err, context.Canceled):
		return connect.CodeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return connect.CodeDeadlineExceeded
	}
	return connect.CodeInternal
}

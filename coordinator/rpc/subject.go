package rpc

import (
	"context"
	"net/http"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/internal/tlsconf"
)

// Headers in which a client says who its user is. On a socket of this machine, whose peer the system vouches for,
// there is one user, and the headers tell how to call them.
const (
	headerUserName = "Stix-User-Name"
	headerUserID   = "Stix-User-Id"
)

// defaultWorkspace is the one that everything is in so far.
const defaultWorkspace = "default"

type contextKey int

const (
	subjectKey contextKey = iota
	nodeKeyHashKey
)

// subjectOf is who calls, as the transport proved it.
func subjectOf(ctx context.Context) auth.Subject {
	s, _ := ctx.Value(subjectKey).(auth.Subject)
	return s
}

func userSubject(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := auth.Subject{Kind: auth.User, ID: r.Header.Get(headerUserID), Name: r.Header.Get(headerUserName)}
		if s.ID == "" {
			s.ID = "local"
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), subjectKey, s)))
	})
}

// nodeSubject takes the node from the verified certificate, never from what a message says. Without one the subject
// is empty and only enrolment answers.
func nodeSubject(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if r.TLS != nil {
			if _, uid, ok := tlsconf.PeerNode(*r.TLS); ok {
				ctx = context.WithValue(ctx, subjectKey, auth.Subject{Kind: auth.Node, ID: uid})
				ctx = context.WithValue(ctx, nodeKeyHashKey, tlsconf.PinKey(r.TLS.PeerCertificates[0]))
			}
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

package rpc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
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

// UserSubject takes the user from the headers; for sockets whose other end is known to be the one user there is.
func UserSubject(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := auth.Subject{Kind: auth.User, ID: r.Header.Get(headerUserID), Name: r.Header.Get(headerUserName)}
		if s.ID == "" {
			s.ID = "local"
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), subjectKey, s)))
	})
}

// NodeSubject takes the node from the verified certificate, never from what a message says. Without one the subject
// is empty and only enrolment answers.
func NodeSubject(next http.Handler) http.Handler {
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

// headerForwarded carries who calls, from the coordinator that found it out to the one that leads.
const headerForwarded = "Stix-Forwarded-Subject"

// forwarded is its content.
type forwarded struct {
	Subject auth.Subject
	KeyHash string
}

// ForwardSubject writes who made a call into the headers of the one that passes it on.
func ForwardSubject(ctx context.Context, h http.Header) error {
	f := forwarded{Subject: subjectOf(ctx)}
	f.KeyHash, _ = ctx.Value(nodeKeyHashKey).(string)
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("forward the subject: %w", err)
	}
	h.Set(headerForwarded, base64.StdEncoding.EncodeToString(text))
	return nil
}

// PeerSubject takes who calls from the coordinator that passes the call on. It is only for connections on which
// nobody but coordinators can be.
func PeerSubject(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var f forwarded
		text, err := base64.StdEncoding.DecodeString(r.Header.Get(headerForwarded))
		if err == nil {
			err = json.Unmarshal(text, &f)
		}
		if err != nil {
			http.Error(w, "a call that is passed on has to say whose it is", http.StatusBadRequest)
			return
		}
		ctx := context.WithValue(r.Context(), subjectKey, f.Subject)
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, nodeKeyHashKey, f.KeyHash)))
	})
}

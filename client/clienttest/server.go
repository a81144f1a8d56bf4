// Package clienttest is a stix server in memory, for tests of what talks to
// one. It keeps what it is told, records every call and takes faults: answers
// that are errors, and answers that are lost.
//
// It decides nothing that a coordinator does: a test says what becomes of
// clusters, jobs and requests.
package clienttest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
)

// Server is the fake. Its methods may be called at any time from any goroutine.
type Server struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	calls    []Call
	faults   []*Fault
	clusters []*stixv1.ClusterView
	jobs     map[string][]*Job
	requests []*stixv1.Request
	events   []*stixv1.Event
	blobs    map[string][]byte
	answers  map[string]proto.Message // by request id
	revision uint64
	fresh    []*Job // that OnJob was not told of

	// Now tells the time of records. Set it before the first call.
	Now func() time.Time
	// Owner is who new records belong to; empty takes the caller's id.
	Owner string
	// HoldLaunch leaves requests of launch running until Finish.
	HoldLaunch bool
	// OnJob is called with each new job, outside of any lock, before the call that
	// made it returns. A test writes its log there. May be nil.
	OnJob func(*Job)
	// ServerInfo is the answer to Info.
	ServerInfo *stixv1.InfoResponse
}

// Call is one call that arrived.
type Call struct {
	// Procedure is the method's name, "Launch".
	Procedure string
	// Request is the message; nil for uploads.
	Request proto.Message
	// Header is the call's header.
	Header http.Header
}

// Fault makes calls fail.
type Fault struct {
	// Procedure is the method's name, "Launch".
	Procedure string
	// Times is how many calls it hits; 0 means one.
	Times int
	// Err is the answer. Nil means that the connection is cut instead.
	Err error
	// After lets the call take effect first: only its answer is lost.
	After bool
	// Messages is how many messages of a stream pass before it hits.
	Messages int
}

// New returns an empty server.
func New() *Server {
	return &Server{
		changed: make(chan struct{}), jobs: map[string][]*Job{}, blobs: map[string][]byte{},
		answers: map[string]proto.Message{}, Now: time.Now, ServerInfo: &stixv1.InfoResponse{},
	}
}

// Handler serves all services.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(stixv1connect.NewClusterServiceHandler(s))
	mux.Handle(stixv1connect.NewJobServiceHandler(s))
	mux.Handle(stixv1connect.NewRequestServiceHandler(s))
	mux.Handle(stixv1connect.NewEventServiceHandler(s))
	mux.Handle(stixv1connect.NewServerServiceHandler(s))
	mux.Handle(stixv1connect.NewBlobServiceHandler(s))
	return mux
}

// Serve answers on l until the returned function is called, which also cuts
// every connection.
func (s *Server) Serve(l net.Listener) (stop func()) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: s.Handler(), Protocols: protocols,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	return func() {
		server.Close()
		<-done
	}
}

// Fail adds a fault.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Times = max(f.Times, 1)
	s.faults = append(s.faults, &f)
}

// Calls returns the calls of a method that arrived, all of them for "".
func (s *Server) Calls(procedure string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Call
	for _, c := range s.calls {
		if procedure == "" || c.Procedure == procedure {
			out = append(out, c)
		}
	}
	return out
}

// enter records a call and returns the fault that hits it, if any.
func (s *Server) enter(ctx context.Context, procedure string, req proto.Message) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	call := Call{Procedure: procedure, Request: req}
	if info, ok := connect.CallInfoForHandlerContext(ctx); ok {
		call.Header = info.RequestHeader().Clone()
	}
	s.calls = append(s.calls, call)
	for _, f := range s.faults {
		if f.Procedure == procedure && f.Times > 0 {
			f.Times--
			return f
		}
	}
	return nil
}

// connKey is the connection in the context of its calls.
type connKey struct{}

// hit is what a fault does: an error, or the end of the connection.
func (f *Fault) hit(ctx context.Context) error {
	if f.Err != nil {
		return f.Err
	}
	if conn, ok := ctx.Value(connKey{}).(net.Conn); ok {
		conn.Close()
	}
	return Errorf(connect.CodeAborted, "the connection is cut")
}

// unary runs a call under its faults.
func unary[Res any](s *Server, ctx context.Context, procedure string, req proto.Message, do func() (*Res, error)) (*Res, error) {
	fault := s.enter(ctx, procedure, req)
	if fault != nil && !fault.After {
		return nil, fault.hit(ctx)
	}
	s.mu.Lock()
	res, err := do()
	s.signal()
	fresh := s.fresh
	s.fresh = nil
	s.mu.Unlock()
	for _, j := range fresh {
		if s.OnJob != nil {
			s.OnJob(j)
		}
	}
	if fault != nil {
		return nil, fault.hit(ctx)
	}
	return res, err
}

// once runs a mutating call once for each request id.
func once[Res any, P interface {
	*Res
	proto.Message
}](s *Server, id string, do func() (P, error)) (*Res, error) {
	if prior, ok := s.answers[id].(P); ok {
		return prior, nil
	}
	res, err := do()
	if err == nil {
		s.answers[id] = res
	}
	return res, err
}

// signal wakes who waits for a change. The lock is held.
func (s *Server) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) next() uint64 {
	s.revision++
	return s.revision
}

func (s *Server) owner(ctx context.Context) string {
	if s.Owner != "" {
		return s.Owner
	}
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok {
		return ""
	}
	return info.RequestHeader().Get("Stix-User-Id")
}

func (s *Server) meta(owner, uid, name string) *stixv1.Meta {
	return &stixv1.Meta{
		Uid: uid, Name: name, Workspace: "default", Owner: owner, CreatedAt: s.Now().UnixNano(), Revision: s.next(),
	}
}

// Errorf makes the error of a code.
func Errorf(code connect.Code, format string, args ...any) error {
	return connect.NewError(code, fmt.Errorf(format, args...))
}

func matchAny(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, name)
		return ok || p == name
	})
}

func hasAnyPrefix(prefixes []string, id string) bool {
	return len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(id, p) })
}

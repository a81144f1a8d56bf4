// Package rpc serves users and agents: each handler validates, asks auth.Allow, and reads or updates the records. It
// decides nothing about clusters and jobs; the behaviours do, when they see the records change.
//
// There are two handlers because there are two ways in. Users come over a socket whose other end the system vouches
// for; agents come over TLS with certificates of the cluster's own authority. Neither serves what the other needs. Who
// calls is found out in front of them, by UserSubject, NodeSubject, or, for calls that another coordinator has taken in
// and passes on, PeerSubject.
//
// Reads have the strength "leader": they see everything that this leader has committed. For as long as it takes a leader
// to notice that it was deposed, less than its lease, another may have committed more.
package rpc

import (
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/blobs"
	"github.com/stix-run/stix/coordinator/logs"
	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
	"github.com/stix-run/stix/sched"
)

// HealthPath answers 200 as long as the process serves, to anybody who may connect.
const HealthPath = "/healthz"

// maxMessage bounds one message of a user or an agent; larger things are streams.
const maxMessage = 16 << 20

// AgentSessions is what rpc needs of the nodes behaviour.
type AgentSessions interface {
	Enrol(context.Context, *stixv1.EnrolRequest) (*stixv1.EnrolResponse, error)
	Renew(context.Context, *stixv1.RenewRequest) (*stixv1.EnrolResponse, error)
	Session(ctx context.Context, peer auth.Peer, recv func() (*stixv1.AgentMessage, error), send func(*stixv1.CoordinatorMessage) error) error
	LogComplete(ctx context.Context, assignmentUID string) error
	Sessions() int
}

// Copies puts a complete log where it survives this coordinator; nil means that it is safe.
type Copies interface {
	CopyLog(ctx context.Context, jobUID, assignmentUID string) error
}

// Consensus is what rpc tells of the Raft node.
type Consensus interface {
	Leader() (id, address string)
	Term() uint64
	AppliedIndex() uint64
}

// Sealer seals the secrets of tasks before they enter the log, and makes fingerprints of what holds them.
type Sealer interface {
	Seal(plaintext, additional []byte) ([]byte, error)
	MAC(data []byte) []byte
}

// Config of the handlers.
type Config struct {
	// Store of records.
	Store *state.Store
	// Consensus of this coordinator.
	Consensus Consensus
	// Nodes serves agents.
	Nodes AgentSessions
	// Logs has the coordinator's copy of every log.
	Logs *logs.Store
	// Copies gives complete logs to other coordinators; nil when there are none.
	Copies Copies
	// Blobs has the uploaded files.
	Blobs *blobs.Store
	// Sealer protects secrets.
	Sealer Sealer
	// Offers are what can be rented now, for plans and dry runs.
	Offers func() []sched.Offer
	// Info is the part of InfoResponse that does not change.
	Info *stixv1.InfoResponse
	// ClusterID is empty until the cluster has an identity.
	ClusterID func() string
	// Now is the clock.
	Now func() time.Time
	// Logger for what went wrong.
	Logger hclog.Logger
}

// Validate returns what is missing.
func (c Config) Validate() error {
	if c.Store == nil || c.Consensus == nil || c.Nodes == nil || c.Logs == nil || c.Blobs == nil || c.Sealer == nil ||
		c.Offers == nil || c.Info == nil || c.ClusterID == nil || c.Now == nil || c.Logger == nil {
		return errors.New("rpc: every field of Config is needed")
	}
	return nil
}

// server holds what all handlers share.
type server struct {
	Config
}

// Users returns the handler for what users ask.
func Users(cfg Config) (http.Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &server{cfg}
	opts := s.options()
	mux := http.NewServeMux()
	mux.Handle(stixv1connect.NewClusterServiceHandler(s, opts...))
	mux.Handle(stixv1connect.NewJobServiceHandler(s, opts...))
	mux.Handle(stixv1connect.NewRequestServiceHandler(s, opts...))
	mux.Handle(stixv1connect.NewEventServiceHandler(s, opts...))
	mux.Handle(stixv1connect.NewServerServiceHandler(s, opts...))
	mux.Handle(stixv1connect.NewBlobServiceHandler(s, opts...))
	mux.HandleFunc("GET "+HealthPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	return mux, nil
}

// Agents returns the handler for what agents ask.
func Agents(cfg Config) (http.Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &server{cfg}
	opts := s.options()
	mux := http.NewServeMux()
	mux.Handle(stixv1connect.NewEnrolmentServiceHandler(s, opts...))
	mux.Handle(stixv1connect.NewAgentServiceHandler(s, opts...))
	mux.Handle(stixv1connect.NewAgentDataServiceHandler(s, opts...))
	return mux, nil
}

func (s *server) options() []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithInterceptors(errorInterceptor{log: s.Logger}),
		connect.WithReadMaxBytes(maxMessage),
		connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, p any) error {
			s.Logger.Error("a handler panicked", "procedure", spec.Procedure, "panic", p)
			return connect.NewError(connect.CodeInternal, errors.New("internal error; the server's log says more"))
		}),
		// Compressing for a reader on the same machine costs more than it saves.
		connect.WithCompressMinBytes(1 << 30),
	}
}

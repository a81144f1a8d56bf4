// Package sessiontest is a coordinator for tests of agents: it enrols nodes, orders
// what it is told to, and remembers what agents report and push. It serves on any
// listener, so it runs in virtual time over internal/memnet.
package sessiontest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/internal/tlsconf"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
)

// Cluster is the id of the cluster that the coordinator belongs to.
const Cluster = "test"

// Coordinator is one coordinator for one node. What it knows outlives Serve, as a
// real one's records outlive its process.
type Coordinator struct {
	// CertificateLife of nodes. Zero means a day. Set before Serve.
	CertificateLife time.Duration
	// Welcome to be sent, save the interval. Set before Serve.
	Welcome stixv1.Welcome
	// AutoForget makes it forget assignments whose log is complete. Set before Serve.
	AutoForget bool

	ca *tlsconf.CA

	mu       sync.Mutex
	changed  chan struct{}
	token    string
	keyPin   string // of the node that redeemed the token
	lose     int    // answers to enrolment calls that are to get lost
	mute     bool   // reports are not confirmed
	orders   map[string]*stixv1.Order
	known    map[string]*Assignment
	sessions map[*session]bool
	enrols   int
	renewals int
	hellos   []*stixv1.Hello
	beats    int
	reports  []uint64
	names    map[string]bool // node ids that were seen in certificates
}

// Assignment is what is known of one assignment.
type Assignment struct {
	// States that were reported, each once, in order.
	States []stixv1.AssignmentState
	// Status that was reported last.
	Status *stixv1.AssignmentStatus
	// Log is the copy of the log, Complete tells that it will not grow.
	Log      []byte
	Complete bool
	// Received counts all bytes of the log that came, also those it had.
	Received int64
}

// session is one stream.
type session struct {
	mu     sync.Mutex // held while sending
	over   bool       // the handler returned: sending would panic
	stream *connect.BidiStream[stixv1.AgentMessage, stixv1.CoordinatorMessage]
	cancel context.CancelFunc
}

func (s *session) send(m *stixv1.CoordinatorMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over && s.stream.Send(m) != nil {
		s.cancel()
	}
}

// New makes a coordinator with a CA of its own that accepts the join token once.
func New(token string) (*Coordinator, error) {
	ca, err := tlsconf.NewCA(Cluster, time.Now())
	if err != nil {
		return nil, err
	}
	return &Coordinator{
		ca: ca, token: token, changed: make(chan struct{}), orders: map[string]*stixv1.Order{},
		known: map[string]*Assignment{}, sessions: map[*session]bool{}, names: map[string]bool{},
	}, nil
}

// Pin of the CA.
func (c *Coordinator) Pin() string { return c.ca.Pin() }

// Serve serves on l until the function that it returns is called, which ends all
// connections at once, as a crash does, and waits.
func (c *Coordinator) Serve(l net.Listener) (stop func(), err error) {
	conf, err := c.tls()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(stixv1connect.NewEnrolmentServiceHandler(enrolment{c}))
	mux.Handle(stixv1connect.NewAgentServiceHandler(c))
	mux.Handle(stixv1connect.NewAgentDataServiceHandler(data{c}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP2(true)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(tls.NewListener(l, conf)) })
	return func() { server.Close(); wg.Wait() }, nil
}

func (c *Coordinator) tls() (*tls.Config, error) {
	cert, err := c.ca.CoordinatorCert("c1", time.Now(), 24*365*time.Hour)
	if err != nil {
		return nil, err
	}
	return tlsconf.Server(tlsconf.ServerConfig{
		Cluster: Cluster, Certificate: func() (*tls.Certificate, error) { return cert, nil },
		Pool: func() *x509.CertPool { return c.ca.Pool() }, Now: time.Now, Verify: c.see,
	})
}

func (c *Coordinator) see(cs tls.ConnectionState) error {
	if _, uid, ok := tlsconf.PeerNode(cs); ok {
		c.update(func() { c.names[uid] = true })
	}
	return nil
}

// update changes what is known and wakes who waits for it.
func (c *Coordinator) update(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn()
	close(c.changed)
	c.changed = make(chan struct{})
}

// Until returns when done is true of a snapshot, or with an error when ctx ends.
func (c *Coordinator) Until(ctx context.Context, done func(Snapshot) bool) error {
	for {
		c.mu.Lock()
		s, changed := c.snapshot(), c.changed
		c.mu.Unlock()
		if done(s) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w; known: %v", ctx.Err(), s)
		}
	}
}

// Snapshot is what a coordinator knows at one time.
type Snapshot struct {
	Assignments map[string]Assignment
	Sessions    int // that are open
	Enrolments  int
	Renewals    int
	Heartbeats  int
	Hellos      []*stixv1.Hello
	Reports     []uint64 // sequence numbers as they came
	Nodes       []string // that came with a certificate
}

// State returns what is known now.
func (c *Coordinator) State() Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.snapshot()
}

func (c *Coordinator) snapshot() Snapshot {
	s := Snapshot{
		Assignments: map[string]Assignment{}, Sessions: len(c.sessions), Enrolments: c.enrols, Renewals: c.renewals,
		Heartbeats: c.beats, Hellos: append([]*stixv1.Hello(nil), c.hellos...), Reports: append([]uint64(nil), c.reports...),
	}
	for uid, a := range c.known {
		s.Assignments[uid] = *a
	}
	for name := range c.names {
		s.Nodes = append(s.Nodes, name)
	}
	return s
}

// LoseAnswers makes the next n answers to enrolment calls get lost.
func (c *Coordinator) LoseAnswers(n int) { c.update(func() { c.lose = n }) }

// Mute makes it confirm no reports, until it is called with false.
func (c *Coordinator) Mute(mute bool) { c.update(func() { c.mute = mute }) }

// Order wants orders carried out, from now on and in every session.
func (c *Coordinator) Order(orders ...*stixv1.Order) {
	c.update(func() {
		for _, o := range orders {
			c.orders[o.GetAssignmentUid()] = o
		}
	})
	c.broadcast(&stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_Orders{Orders: &stixv1.Orders{Orders: orders}}})
}

// Disown drops orders without telling; the next session's full set lacks them.
func (c *Coordinator) Disown(uids ...string) {
	c.update(func() {
		for _, uid := range uids {
			delete(c.orders, uid)
		}
	})
}

// Forget drops orders and tells the agent.
func (c *Coordinator) Forget(uids ...string) {
	c.Disown(uids...)
	c.broadcast(&stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_Forget{Forget: &stixv1.Forget{AssignmentUids: uids}}})
}

// Follow asks for the log of an assignment from where its copy ends.
func (c *Coordinator) Follow(uid string, stop bool) {
	c.mu.Lock()
	offset := int64(len(c.assignment(uid).Log))
	c.mu.Unlock()
	c.broadcast(&stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_FollowLog{
		FollowLog: &stixv1.FollowLog{AssignmentUid: uid, Offset: offset, Stop: stop},
	}})
}

// Drop ends all sessions.
func (c *Coordinator) Drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for s := range c.sessions {
		s.cancel()
	}
}

func (c *Coordinator) broadcast(m *stixv1.CoordinatorMessage) {
	c.mu.Lock()
	var all []*session
	for s := range c.sessions {
		all = append(all, s)
	}
	c.mu.Unlock()
	for _, s := range all {
		s.send(m)
	}
}

// assignment returns what is known of a uid. Callers hold mu.
func (c *Coordinator) assignment(uid string) *Assignment {
	if c.known[uid] == nil {
		c.known[uid] = &Assignment{Status: &stixv1.AssignmentStatus{}}
	}
	return c.known[uid]
}

// errLost is what an agent sees of an answer that got lost.
var errLost = connect.NewError(connect.CodeUnavailable, errors.New("connection lost"))

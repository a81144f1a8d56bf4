// Package session is how an agent speaks with the coordinators. It dials out: one
// connection for control, with one stream that lasts, and one for bulk. It enrols
// the node, renews its certificate, sends reports again until they are confirmed,
// and goes to the next coordinator when one fails.
package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/stix-run/stix/internal/backoff"
	"github.com/stix-run/stix/internal/tlsconf"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
)

// Capability is the number of the protocol that this agent speaks. Both sides
// tolerate the other's older ones.
//
//	1  2026-11-24  orders, reports, logs on demand, blobs
const Capability = 1

// Outbox is where reports wait for a confirmation, *journal.Journal for one.
type Outbox interface {
	// Reports returns the reports after a sequence number that are not confirmed,
	// and a channel that is closed when there are more.
	Reports(after uint64) ([]*stixv1.Report, <-chan struct{})
	// Ack confirms all reports up to sequence.
	Ack(sequence uint64)
}

// Handler carries out what a coordinator says. Its methods return soon.
type Handler interface {
	// Connected tells that a session began: what follows comes from it.
	Connected()
	Orders(*stixv1.Orders)
	FollowLog(*stixv1.FollowLog)
	Forget(uids []string)
}

// Config is what a Session needs.
type Config struct {
	// Dir is where the key and the certificates are.
	Dir string
	// NodeUID is the node that the agent is.
	NodeUID string
	// ClusterID is whom the coordinators must belong to.
	ClusterID string
	// Coordinators are their addresses, tried in turn.
	Coordinators []string
	// CAPin is the pin of their CA.
	CAPin string
	// JoinToken is redeemed once.
	JoinToken string
	// Hello returns the first message of a session, without its capability number.
	Hello func() *stixv1.Hello
	// Dial connects to an address.
	Dial Dial
	// Outbox has the reports.
	Outbox Outbox
	// Now tells the time. Nil means time.Now.
	Now    func() time.Time
	Logger hclog.Logger
}

// Validate returns what is missing.
func (c Config) Validate() error {
	if c.Dir == "" || c.NodeUID == "" || c.ClusterID == "" || len(c.Coordinators) == 0 || c.CAPin == "" {
		return errors.New("session: Dir, NodeUID, ClusterID, Coordinators and CAPin are required")
	}
	if c.Hello == nil || c.Dial == nil || c.Outbox == nil || c.Logger == nil {
		return errors.New("session: Hello, Dial, Outbox and Logger are required")
	}
	return nil
}

// Session is the agent's side of the conversation.
type Session struct {
	config   Config
	identity *identity
	bulk     *bulk
	conf     *tls.Config
	renew    chan struct{} // a token asks for a new certificate now
	schedule schedule
}

// New reads or makes the node's key; it speaks with nobody.
func New(c Config) (*Session, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	id, err := openIdentity(c.Dir, c.Now)
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	conf, err := tlsconf.Client(tlsconf.ClientConfig{
		Cluster: c.ClusterID, Pool: id.roots, Certificate: id.certificate, Now: c.Now,
	})
	if err != nil {
		return nil, err
	}
	return &Session{
		config: c, identity: id, conf: conf, renew: make(chan struct{}, 1),
		bulk: newBulk(c.Dial, conf, c.Coordinators[0]), schedule: scheduleFor(c.Coordinators),
	}, nil
}

// Data returns the client of the bulk connection. Calls on it fail while no
// coordinator can be reached; callers try again.
func (s *Session) Data() stixv1connect.AgentDataServiceClient {
	return stixv1connect.NewAgentDataServiceClient(s.bulk, baseURL, uncompressed())
}

// uncompressed asks coordinators for answers as they are: what is worth
// compressing is compressed already.
func uncompressed() connect.ClientOption { return connect.WithAcceptCompression("gzip", nil, nil) }

// Run speaks with the coordinators until ctx ends. It is called once.
func (s *Session) Run(ctx context.Context, h Handler) error {
	defer s.bulk.close()
	if err := s.enrol(ctx); err != nil {
		return nil // ctx ended
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { s.keepCertificate(ctx); return nil })
	g.Go(func() error { s.converse(ctx, h); return nil })
	return g.Wait()
}

// enrol returns when the node has a certificate that is good, or ctx ends.
func (s *Session) enrol(ctx context.Context) error {
	_, end := s.identity.renewAt()
	if s.config.Now().Before(end) {
		return nil
	}
	return s.obtain(ctx)
}

// obtain asks the coordinators in turn for a certificate until one gives it.
func (s *Session) obtain(ctx context.Context) error {
	r := registrar{identity: s.identity, node: s.config.NodeUID, token: s.config.JoinToken, pin: s.config.CAPin}
	for attempt := 0; ; attempt++ {
		address := s.address(attempt)
		err := r.obtain(ctx, s.config.Dial, address)
		if err == nil {
			s.config.Logger.Info("node has a new certificate", "coordinator", address)
			return nil
		}
		wait := s.schedule.next(attempt)
		if refused(err) {
			wait = s.schedule.refused(attempt)
			s.config.Logger.Warn("no certificate for this node", "coordinator", address, "error", err)
		} else {
			s.config.Logger.Debug("ask for a certificate", "coordinator", address, "error", err)
		}
		if err := backoff.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// renewPause is the least time between two renewals: a node whose clock is wrong
// may find each certificate old.
const renewPause = time.Minute

// keepCertificate renews the certificate half-way through its life, or when a
// coordinator or a look at the clock asks for it.
func (s *Session) keepCertificate(ctx context.Context) {
	for {
		at, _ := s.identity.renewAt()
		t := time.NewTimer(at.Sub(s.config.Now()))
		select {
		case <-t.C:
		case <-s.renew:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil || s.obtain(ctx) != nil || backoff.Sleep(ctx, renewPause) != nil {
			return
		}
	}
}

// checkCertificate asks for a renewal that is due: timers stand still while a
// machine sleeps.
func (s *Session) checkCertificate() {
	if at, _ := s.identity.renewAt(); s.config.Now().Before(at) {
		return
	}
	select {
	case s.renew <- struct{}{}:
	default:
	}
}

func (s *Session) address(attempt int) string {
	return s.config.Coordinators[attempt%len(s.config.Coordinators)]
}

// converse holds one session after the other. A coordinator that was good is tried
// again first; the others are tried at once, and all again after a while.
func (s *Session) converse(ctx context.Context, h Handler) {
	rounds, turn, tried := 0, 0, 0
	for ctx.Err() == nil {
		s.checkCertificate()
		address := s.address(turn)
		welcomed, err := s.once(ctx, address, h)
		if ctx.Err() != nil {
			return
		}
		if welcomed {
			rounds, tried = 0, len(s.config.Coordinators)
			s.config.Logger.Info("session ended", "coordinator", address, "error", err)
		} else {
			turn++
			tried++
			s.config.Logger.Debug("no session", "coordinator", address, "error", err)
		}
		if tried < len(s.config.Coordinators) {
			continue
		}
		if backoff.Sleep(ctx, s.schedule.next(rounds)) != nil {
			return
		}
		rounds++
		tried = 0
	}
}

// once opens a control connection and holds a session on it. It tells whether the
// coordinator welcomed it.
func (s *Session) once(ctx context.Context, address string, h Handler) (bool, error) {
	p := newPeer(s.config.Dial, address, s.conf, &http.HTTP2Config{})
	defer p.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The library looks at the context of a stream only between two things to send.
	// The end of the connection ends all waits.
	defer context.AfterFunc(ctx, p.close)()
	stream, err := stixv1connect.NewAgentServiceClient(p, baseURL, uncompressed()).Session(ctx)
	if err != nil {
		return false, err
	}
	defer func() {
		p.close() // first: closing a stream waits for the rest of one that is open
		_ = stream.CloseRequest()
		_ = stream.CloseResponse()
	}()
	c := &conversation{config: s.config, stream: stream, handler: h, renew: s.renew, cancel: cancel}
	if err := c.greet(ctx); err != nil {
		return false, err
	}
	s.config.Logger.Info("session began", "coordinator", address)
	s.bulk.move(address)
	return true, c.run(ctx)
}

// schedule is how long to wait before trying again: short at first, because a
// coordinator that restarts is back soon, and always short for one on this
// machine.
type schedule struct {
	quick, slow backoff.Backoff
	local       bool
}

func scheduleFor(addresses []string) schedule {
	s := schedule{
		quick: backoff.Backoff{Min: 50 * time.Millisecond, Max: time.Second},
		slow:  backoff.Backoff{Min: time.Second, Max: 5 * time.Second},
		local: true,
	}
	for _, a := range addresses {
		s.local = s.local && strings.HasPrefix(a, "unix://")
	}
	return s
}

// quickAttempts is how many attempts wait at most a second.
const quickAttempts = 8

func (s schedule) next(attempt int) time.Duration {
	if s.local || attempt < quickAttempts {
		return s.quick.Next(attempt, nil)
	}
	return s.slow.Next(attempt-quickAttempts, nil)
}

// refused is for a coordinator that said no.
func (s schedule) refused(attempt int) time.Duration {
	return backoff.Backoff{Min: time.Second, Max: 30 * time.Second}.Next(attempt, nil)
}

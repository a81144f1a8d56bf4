package coordinator

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/internal/tlsconf"
)

const (
	// closeLimit is how long calls that are under way may take when the coordinator stops.
	closeLimit = 250 * time.Millisecond
	// connectionWindow and streamWindow bound what may be unread: one upload that nobody reads must not starve the
	// others on its connection, so a stream gets a sixteenth.
	connectionWindow = 16 << 20
	streamWindow     = connectionWindow / 16
	// maxStreams of one connection.
	maxStreams = 10000
	// pingAfter is how long a connection may be silent until it is tested.
	pingAfter = 15 * time.Second
)

// server is one listener and what it serves.
type server struct {
	name     string
	listener net.Listener
	http     *http.Server
}

func newServer(name string, l net.Listener, h http.Handler, logger hclog.Logger) *server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &server{name: name, listener: l, http: &http.Server{
		Handler: h, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: connectionWindow,
			MaxReceiveBufferPerStream: streamWindow, SendPingTimeout: pingAfter,
			// Clients keep a buffer of this size for each stream: an agent is to stay small.
			MaxReadFrameSize: 64 << 10,
		},
		// Broken handshakes and lost peers are everyday business.
		ErrorLog: logger.Named(name).StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}}
}

// run serves until ctx ends. Streams end with ctx, because their contexts come from it.
func (s *server) run(ctx context.Context) error {
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	err := s.http.Shutdown(closing)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// agentTLS puts TLS with the cluster's own certificates on the agents' listener.
func (c *Coordinator) agentTLS() net.Listener {
	return &lateTLS{Listener: c.cfg.Agents, config: c.tlsConfig}
}

// tlsConfig is made per connection because the cluster's id is known only when the authority is ready.
func (c *Coordinator) tlsConfig() (*tls.Config, error) {
	return tlsconf.Server(tlsconf.ServerConfig{
		Cluster: c.authority.ClusterID(), Certificate: c.authority.Certificate, Pool: c.authority.Pool, Now: c.cfg.Now,
	})
}

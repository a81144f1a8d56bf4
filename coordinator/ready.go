package coordinator

import (
	"github.com/stix-run/stix/coordinator/rpc"

	"context"
	"net"
	"net/http"

	"crypto/tls"
	"sync"
)

// whenReady holds calls back until the coordinator has caught up: a call that comes with the start is answered late
// rather than wrongly.
func (c *Coordinator) whenReady(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == rpc.HealthPath { // alive is not the same as ready
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), readyLimit)
		defer cancel()
		select {
		case <-c.ready:
			next.ServeHTTP(w, r)
		case <-ctx.Done():
			http.Error(w, "the coordinator is not ready yet", http.StatusServiceUnavailable)
		}
	})
}

// lateTLS is a TLS listener whose configuration is made when the first connection comes.
type lateTLS struct {
	net.Listener
	config func() (*tls.Config, error)

	// mu guards made.
	mu   sync.Mutex
	made *tls.Config
}

// Accept returns a connection that will do its handshake when it is first read.
func (l *lateTLS) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		cfg, err := l.tls()
		if err == nil {
			return tls.Server(conn, cfg), nil
		}
		// Not ready: the agent comes back.
		if conn.Close() != nil {
			continue
		}
	}
}

func (l *lateTLS) tls() (*tls.Config, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil {
		return l.made, nil
	}
	cfg, err := l.config()
	if err == nil {
		l.made = cfg
	}
	return cfg, err
}

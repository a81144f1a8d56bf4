package coordinator

import (
	"crypto/tls"
	"net"
	"sync"
)

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

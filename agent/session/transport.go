package session

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/stix-run/stix/internal/tlsconf"
)

// baseURL of every coordinator: addresses come and go, the name in their
// certificates stays.
const baseURL = "https://" + tlsconf.ServerName

const (
	// pingAfter and pingTimeout drop a connection on which nothing arrives.
	pingAfter   = 4 * time.Second
	pingTimeout = 4 * time.Second
	// bulkConnWindow is the most that the library takes; a stream gets a sixteenth
	// of it, so that one that nobody reads does not starve the others.
	bulkConnWindow   = 4<<20 - 1
	bulkStreamWindow = bulkConnWindow / 16
)

// Dial connects to a coordinator's address as it is in the bootstrap file.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// peer is a way to one coordinator. Its only connection is made when it is needed.
type peer struct {
	*http.Transport
	mu    sync.Mutex
	conns []net.Conn
}

func newPeer(dial Dial, address string, conf *tls.Config, h2 *http.HTTP2Config) *peer {
	p := &peer{}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	h2.SendPingTimeout, h2.PingTimeout = pingAfter, pingTimeout
	p.Transport = &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return p.connect(ctx, dial, address) },
		TLSClientConfig:     conf.Clone(), // the library writes into it
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
		Protocols:           &protocols,
		HTTP2:               h2,
	}
	return p
}

func (p *peer) connect(ctx context.Context, dial Dial, address string) (net.Conn, error) {
	c, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
	return c, nil
}

// Do implements connect.HTTPClient.
func (p *peer) Do(r *http.Request) (*http.Response, error) {
	return (&http.Client{Transport: p.Transport}).Do(r)
}

// close ends the connection: the library would keep one whose stream has just
// been given up.
func (p *peer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.CloseIdleConnections()
}

// bulk is the second connection, for logs and files. It goes where the control
// connection went last.
type bulk struct {
	dial Dial
	conf *tls.Config

	mu      sync.Mutex
	address string
	peer    *peer
}

func newBulk(dial Dial, conf *tls.Config, address string) *bulk {
	b := &bulk{dial: dial, conf: conf}
	b.move(address)
	return b
}

// move makes new requests go to address. Those under way end by themselves.
func (b *bulk) move(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.address == address {
		return
	}
	old := b.peer
	b.address = address
	b.peer = newPeer(b.dial, address, b.conf, &http.HTTP2Config{
		MaxReceiveBufferPerConnection: bulkConnWindow,
		MaxReceiveBufferPerStream:     bulkStreamWindow,
	})
	if old != nil {
		old.CloseIdleConnections()
	}
}

// Do implements connect.HTTPClient.
func (b *bulk) Do(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	p := b.peer
	b.mu.Unlock()
	return p.Do(r)
}

func (b *bulk) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peer.close()
}

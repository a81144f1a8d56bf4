package memnet

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"
)

// Host is one machine of the network, from its boot to its crash.
type Host struct {
	net  *Network
	name string
	dead bool // guarded by net.mu
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// Listen opens a service. It errors where the service is already open, where
// its name is empty or has a slash, and after the host's crash.
func (h *Host) Listen(service string) (net.Listener, error) {
	n, addr := h.net, Addr(h.name+"/"+service)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case service == "" || strings.Contains(service, "/"):
		return nil, opError("listen", nil, addr, fmt.Errorf("bad service name %q", service))
	case h.dead:
		return nil, opError("listen", nil, addr, net.ErrClosed)
	case n.listeners[addr] != nil:
		return nil, opError("listen", nil, addr, syscall.EADDRINUSE)
	}
	l := &listener{net: n, host: h, addr: addr}
	n.listeners[addr] = l
	return l, nil
}

// Dial connects to a service, "host/service". A service that is not open
// refuses at once; while a link between the hosts is cut either way, Dial hangs
// until ctx ends. It errors after the host's crash.
func (h *Host) Dial(ctx context.Context, addr string) (net.Conn, error) {
	n, far := h.net, Addr(addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	near := n.port(h)
	arrival := time.Now().Add(n.delay() + n.delay())
	for {
		if ctx.Err() != nil {
			return nil, opError("dial", near, far, context.Cause(ctx))
		}
		if h.dead {
			return nil, opError("dial", near, far, net.ErrClosed)
		}
		links := n.links.watch()
		if n.down(link{h.name, far.host()}) || n.down(link{far.host(), h.name}) {
			n.wait(links, ctx.Done(), time.Time{})
			continue
		}
		if time.Now().Before(arrival) {
			n.wait(links, ctx.Done(), arrival)
			continue
		}
		l := n.listeners[far]
		if l == nil {
			return nil, opError("dial", near, far, syscall.ECONNREFUSED)
		}
		return l.connect(h, near), nil
	}
}

// Dialer returns a dial function for libraries that bring an address of their
// own, such as http.Transport's DialContext: it always dials addr.
func (h *Host) Dialer(addr string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx, addr) }
}

// port makes the near address of a dialled connection.
func (n *Network) port(h *Host) Addr {
	n.ports++
	return Addr(fmt.Sprintf("%s/~%d", h.name, n.ports))
}

// listener is one open service. Its fields are guarded by net.mu.
type listener struct {
	net     *Network
	host    *Host
	addr    Addr
	queue   []*conn
	closed  bool
	changed signal
}

// connect makes a connection and queues its far end to be accepted.
func (l *listener) connect(h *Host, near Addr) *conn {
	there := newStream(l.net, link{h.name, l.host.name})
	back := newStream(l.net, link{l.host.name, h.name})
	dialled := &conn{net: l.net, host: h, near: near, far: l.addr, in: back, out: there}
	accepted := &conn{net: l.net, host: l.host, near: l.addr, far: near, in: there, out: back, accepted: true}
	l.net.conns[dialled] = struct{}{}
	l.net.conns[accepted] = struct{}{}
	l.queue = append(l.queue, accepted)
	l.changed.wake()
	return dialled
}

// Accept returns the next connection, or net.ErrClosed after Close or a crash.
func (l *listener) Accept() (net.Conn, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for {
		if l.closed {
			return nil, opError("accept", nil, l.addr, net.ErrClosed)
		}
		if len(l.queue) > 0 {
			c := l.queue[0]
			l.queue = l.queue[1:]
			return c, nil
		}
		l.net.wait(l.changed.watch(), nil, time.Time{})
	}
}

// Close closes the service and resets connections that nobody accepted.
func (l *listener) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.closed {
		return opError("close", nil, l.addr, net.ErrClosed)
	}
	l.shut()
	return nil
}

func (l *listener) shut() {
	l.closed = true
	if l.net.listeners[l.addr] == l {
		delete(l.net.listeners, l.addr)
	}
	for _, c := range l.queue {
		c.abort()
	}
	l.queue = nil
	l.changed.wake()
}

// Addr returns the service's address.
func (l *listener) Addr() net.Addr { return l.addr }

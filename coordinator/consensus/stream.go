package consensus

import (
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// newTransport returns one of the library's own transports, as it is: a wrapper
// would have to repeat their optional interfaces, or pre-vote is off without a
// word. The one with a stream starts a listening goroutine, which Close ends.
func newTransport(c Config, stream *cuttable, logger hclog.Logger) raft.Transport {
	if stream == nil {
		_, t := raft.NewInmemTransport(raft.ServerAddress(c.ID))
		return t
	}
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                  stream,
		MaxPool:                 3,
		Timeout:                 c.RPCTimeout,
		Logger:                  logger,
		MsgpackUseNewTimeFormat: true,
	})
}

// cuttable is a Stream that can be cut for good: the library's transport, once
// closed, still dials, and leaves its connections open.
type cuttable struct {
	Stream

	mu    sync.Mutex
	cut   bool
	conns map[*cuttableConn]struct{}
}

func newCuttable(s Stream) *cuttable {
	return &cuttable{Stream: s, conns: make(map[*cuttableConn]struct{})}
}

func (c *cuttable) Accept() (net.Conn, error) {
	conn, err := c.Stream.Accept()
	if err != nil {
		return nil, err
	}
	return c.admit(conn)
}

// Dial satisfies raft.StreamLayer.
func (c *cuttable) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	if c.isCut() {
		return nil, net.ErrClosed
	}
	conn, err := c.Stream.Dial(string(address), timeout)
	if err != nil {
		return nil, err
	}
	return c.admit(conn)
}

func (c *cuttable) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut
}

// admit keeps track of a connection, or closes it when the stream was cut since
// it was asked for.
func (c *cuttable) admit(conn net.Conn) (net.Conn, error) {
	cc := &cuttableConn{Conn: conn, stream: c}
	c.mu.Lock()
	cut := c.cut
	if !cut {
		c.conns[cc] = struct{}{}
	}
	c.mu.Unlock()
	if cut {
		closeNow(conn)
		return nil, net.ErrClosed
	}
	return cc, nil
}

// Close cuts: no byte leaves or arrives after it returned. It never blocks on a
// peer and may be called at any time, more than once.
func (c *cuttable) Close() error {
	c.mu.Lock()
	c.cut = true
	conns := c.conns
	c.conns = nil
	c.mu.Unlock()
	err := c.Stream.Close()
	for cc := range conns {
		closeNow(cc.Conn)
	}
	return err
}

// closeNow closes what is under TLS first, which would else take its time to say
// goodbye to a peer that does not listen.
func closeNow(conn net.Conn) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		_ = t.NetConn().Close()
	}
	_ = conn.Close()
}

func (c *cuttable) forget(cc *cuttableConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, cc)
}

// cuttableConn is a connection that its stream knows until it is closed.
type cuttableConn struct {
	net.Conn
	stream *cuttable
}

func (c *cuttableConn) Close() error {
	c.stream.forget(c)
	return c.Conn.Close()
}

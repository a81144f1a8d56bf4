package memnet

import (
	"bytes"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// window is how many bytes a direction of a connection holds before writers
// wait: those on their way and those not read yet.
const window = 256 << 10

// stream is one direction of a connection. Its fields are guarded by net.mu.
type stream struct {
	net     *Network
	link    link
	flight  []segment    // sent, not arrived, in order
	ready   bytes.Buffer // arrived, not read
	size    int          // bytes in flight and ready
	eof     bool         // the sender's end arrived
	reset   bool         // the sender's reset arrived
	deaf    bool         // the reader closed its end
	changed signal
}

// segment is one write on its way.
type segment struct {
	at   time.Time // arrives then, if the link is up
	data []byte
	end  ending
}

// ending is what a segment without data tells.
type ending int

const (
	goesOn ending = iota
	finished
	broken
)

func newStream(n *Network, l link) *stream { return &stream{net: n, link: l} }

// send puts a segment on its way, never to overtake those before it.
func (s *stream) send(data []byte, end ending) {
	at := time.Now().Add(s.net.delay())
	if k := len(s.flight); k > 0 && at.Before(s.flight[k-1].at) {
		at = s.flight[k-1].at
	}
	s.flight = append(s.flight, segment{at, data, end})
	s.size += len(data)
	s.changed.wake()
}

// settle delivers the segments that have arrived by now.
func (s *stream) settle(now time.Time) {
	if s.net.down(s.link) {
		return
	}
	for len(s.flight) > 0 && !s.flight[0].at.After(now) {
		seg := s.flight[0]
		s.flight = s.flight[1:]
		s.ready.Write(seg.data)
		s.eof = s.eof || seg.end == finished
		s.reset = s.reset || seg.end == broken
	}
}

// due returns when the next segment arrives, or zero if nothing is on its way.
func (s *stream) due() time.Time {
	if len(s.flight) == 0 || s.net.down(s.link) {
		return time.Time{}
	}
	return s.flight[0].at
}

// conn is one end of a connection. Its fields are guarded by net.mu.
type conn struct {
	net       *Network
	host      *Host
	near, far Addr
	accepted  bool
	in, out   *stream
	closed    bool
	readBy    time.Time
	writeBy   time.Time
}

// Read reads what has arrived, and waits for something to arrive.
func (c *conn) Read(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	for {
		if err := c.check(c.readBy); err != nil {
			return 0, opError("read", c.near, c.far, err)
		}
		s := c.in
		if s.ready.Len() > 0 || len(p) == 0 {
			n, _ := s.ready.Read(p)
			s.size -= n
			s.changed.wake()
			return n, nil
		}
		if s.eof {
			return 0, io.EOF
		}
		c.net.wait(s.changed.watch(), nil, sooner(c.readBy, s.due()))
	}
}

// Write sends p, and waits while the window is full.
func (c *conn) Write(p []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	sent := 0
	for {
		if err := c.check(c.writeBy); err != nil {
			return sent, opError("write", c.near, c.far, err)
		}
		s := c.out
		if s.deaf && !c.net.down(s.link) && !c.net.down(c.in.link) {
			return sent, opError("write", c.near, c.far, syscall.EPIPE)
		}
		if k := min(window-s.size, len(p)-sent); k > 0 {
			s.send(bytes.Clone(p[sent:sent+k]), goesOn)
			sent += k
		}
		if sent == len(p) {
			return sent, nil
		}
		c.net.wait(s.changed.watch(), nil, sooner(c.writeBy, c.in.due()))
	}
}

// check returns why this end cannot be used, if so, and takes in what has
// arrived.
func (c *conn) check(deadline time.Time) error {
	now := time.Now()
	c.in.settle(now)
	switch {
	case c.closed:
		return net.ErrClosed
	case c.in.reset:
		return syscall.ECONNRESET
	case !deadline.IsZero() && !now.Before(deadline):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Close ends the connection in order: the far end reads what was sent, then
// io.EOF.
func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return opError("close", c.near, c.far, net.ErrClosed)
	}
	c.leave(finished)
	return nil
}

// abort resets the connection from this end: what is on its way is lost.
func (c *conn) abort() {
	if c.closed {
		return
	}
	c.out.flight = nil
	c.leave(broken)
}

func (c *conn) leave(end ending) {
	c.closed = true
	delete(c.net.conns, c)
	c.out.send(nil, end)
	c.in.deaf = true
	c.in.changed.wake()
}

// LocalAddr returns the address of this end.
func (c *conn) LocalAddr() net.Addr { return c.near }

// RemoteAddr returns the address of the far end.
func (c *conn) RemoteAddr() net.Addr { return c.far }

// SetDeadline sets both deadlines; zero removes them.
func (c *conn) SetDeadline(t time.Time) error { return c.setDeadlines(&t, &t) }

// SetReadDeadline sets the deadline of Read, also of one that waits.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(&t, nil) }

// SetWriteDeadline sets the deadline of Write, also of one that waits.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(nil, &t) }

func (c *conn) setDeadlines(read, write *time.Time) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return opError("set", c.near, c.far, net.ErrClosed)
	}
	if read != nil {
		c.readBy = *read
	}
	if write != nil {
		c.writeBy = *write
	}
	c.in.changed.wake()
	c.out.changed.wake()
	return nil
}

// sooner returns the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

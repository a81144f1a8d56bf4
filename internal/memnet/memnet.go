// Package memnet is a network in memory for tests in virtual time. Hosts listen
// and dial by name; links between them can be cut, slowed down and healed, and
// hosts can crash.
//
// Connections are net.Conns with deadlines, flow control and ordered delivery,
// so net/http, crypto/tls and hashicorp/raft run over them. Every wait is on a
// channel of the network: made inside a testing/synctest bubble, a goroutine
// that waits for the network is durably blocked. The package starts no
// goroutines.
//
// A cut link behaves as a partition does, not as a reset: what is sent stalls
// and arrives after the link heals, dials hang until their context ends. A
// crash resets.
package memnet

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Network is a set of hosts and the links between them. All methods may be
// called at any time from any goroutine.
type Network struct {
	mu        sync.Mutex
	rnd       *rand.Rand
	latency   time.Duration
	jitter    time.Duration
	hosts     map[string]*Host
	listeners map[Addr]*listener
	conns     map[*conn]struct{}
	cut       map[link]bool
	isolated  map[string]bool
	ports     int
	links     signal // a link was healed or a host crashed
}

// link is one direction between two hosts.
type link struct{ from, to string }

// New returns a network without hosts, without latency and without faults. The
// seed decides the jitter. Inside a bubble, call New inside it too.
func New(seed uint64) *Network {
	return &Network{
		rnd:       rand.New(rand.NewPCG(seed, seed)),
		hosts:     map[string]*Host{},
		listeners: map[Addr]*listener{},
		conns:     map[*conn]struct{}{},
		cut:       map[link]bool{},
		isolated:  map[string]bool{},
	}
}

// Addr is the address of a service, "host/service", or of a dialled
// connection's near end, "host/~number".
type Addr string

// Network returns "mem".
func (Addr) Network() string { return "mem" }

func (a Addr) String() string { return string(a) }

// host returns the part of the address before the slash.
func (a Addr) host() string {
	h, _, _ := strings.Cut(string(a), "/")
	return h
}

// Host returns the running host of that name, which it boots on first use and
// after a crash.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	if h == nil {
		h = &Host{net: n, name: name}
		n.hosts[name] = h
	}
	return h
}

// SetLatency sets how long bytes travel in one direction, for all links, from
// the next write on. A dial takes a round trip.
func (n *Network) SetLatency(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency = d
}

// SetJitter adds to each write's latency a random part of up to d. Order within
// a connection is kept.
func (n *Network) SetJitter(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.jitter = d
}

// Cut stops all traffic between two hosts.
func (n *Network) Cut(a, b string) { n.change(true, link{a, b}, link{b, a}) }

// CutOneWay stops what is sent from one host to another. Established
// connections still carry bytes the other way; new ones need both.
func (n *Network) CutOneWay(from, to string) { n.change(true, link{from, to}) }

// HealPair undoes Cut and CutOneWay between two hosts. What was sent meanwhile
// arrives.
func (n *Network) HealPair(a, b string) { n.change(false, link{a, b}, link{b, a}) }

// Isolate cuts a host off from all others, also from those that boot later,
// until Rejoin or Heal. It still reaches itself.
func (n *Network) Isolate(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settle()
	n.isolated[host] = true
}

// Rejoin undoes Isolate. Links that were cut one by one stay cut.
func (n *Network) Rejoin(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.isolated, host)
	n.wake()
}

// Heal restores all links. What was sent meanwhile arrives.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	clear(n.isolated)
	n.wake()
}

// Crash stops a host at once: its listeners are gone and its connections are
// reset, at the far end as soon as the reset can travel there. The *Host values
// of before stay dead, so that what is left of a crashed program cannot speak;
// Host boots the next one.
func (n *Network) Crash(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[host]
	if h == nil {
		return
	}
	delete(n.hosts, host)
	h.dead = true
	for a, l := range n.listeners {
		if a.host() == host {
			l.shut()
		}
	}
	for c := range n.conns {
		if c.host == h {
			c.abort()
		}
	}
	n.links.wake()
}

// Conns lists the connections that are open at one end or both, as
// "near > far", sorted: what a test looks at to find leaks.
func (n *Network) Conns() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	open := map[string]bool{}
	for c := range n.conns {
		near, far := c.near, c.far
		if c.accepted {
			near, far = far, near
		}
		open[fmt.Sprintf("%s > %s", near, far)] = true
	}
	return slices.Sorted(maps.Keys(open))
}

func (n *Network) change(cut bool, links ...link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settle()
	for _, l := range links {
		if cut {
			n.cut[l] = true
		} else {
			delete(n.cut, l)
		}
	}
	n.wake()
}

// down reports whether bytes cannot travel over a link now.
func (n *Network) down(l link) bool {
	if l.from == l.to {
		return n.cut[l]
	}
	return n.cut[l] || n.isolated[l.from] || n.isolated[l.to]
}

// settle delivers what has arrived by now, before links go down.
func (n *Network) settle() {
	now := time.Now()
	for c := range n.conns {
		c.in.settle(now)
	}
}

// wake makes everyone who waits look again.
func (n *Network) wake() {
	for c := range n.conns {
		c.in.changed.wake()
		c.out.changed.wake()
	}
	n.links.wake()
}

// delay draws the travel time of one write.
func (n *Network) delay() time.Duration {
	if n.jitter <= 0 {
		return n.latency
	}
	return n.latency + time.Duration(n.rnd.Int64N(int64(n.jitter)))
}

// wait gives up the network's lock until ch is closed or until has come. A zero
// until never comes, a nil ch is never closed.
func (n *Network) wait(ch, done <-chan struct{}, until time.Time) {
	n.mu.Unlock()
	defer n.mu.Lock()
	var timer <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ch:
	case <-done:
	case <-timer:
	}
}

// signal wakes all who wait. It is guarded by the network's lock.
type signal struct{ ch chan struct{} }

// watch returns a channel that the next wake closes.
func (s *signal) watch() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) wake() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// opError wraps an error as package net does.
func opError(op string, near, far net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "mem", Source: near, Addr: far, Err: err}
}

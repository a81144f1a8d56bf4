package coordinator

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/coordinator/rpc"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
)

const (
	// leaderLimit is how long a call waits for somebody to lead: after a start, or between two terms.
	leaderLimit = 10 * time.Second
	// leaderPause is how often it looks.
	leaderPause = 10 * time.Millisecond
)

// errNoLeader answers calls for which nobody was found.
var errNoLeader = errors.New("no coordinator leads at the moment")

// term is what the handlers know of this coordinator's leadership.
type term struct {
	// mu guards over: closed when the term that runs is over, nil while none runs.
	mu   sync.Mutex
	over <-chan struct{}
}

func (t *term) begin(over <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = over
}

func (t *term) end() { t.begin(nil) }

// now returns when the term that runs is over, nil while none runs.
func (t *term) now() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// Which handler a call is for, as the path of one that is passed on begins.
const (
	forUsers  = "/users"
	forAgents = "/agents"
)

// onLeader answers calls where they can be answered: here while this coordinator leads, otherwise where the leader is.
// A call that comes while nobody leads is answered late rather than wrongly.
func (c *Coordinator) onLeader(service string, next http.Handler) http.Handler {
	here, there := c.whileLeading(next), c.passOn(service)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == rpc.HealthPath { // alive is not the same as ready
			next.ServeHTTP(w, r)
			return
		}
		switch leader, err := c.findLeader(r.Context()); {
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case leader == c.cfg.ID:
			here.ServeHTTP(w, r)
		default:
			r.URL.Host = leader
			there.ServeHTTP(w, r)
		}
	})
}

// findLeader waits until somebody leads; it is this coordinator only when its term has begun.
func (c *Coordinator) findLeader(ctx context.Context) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaderLimit)
	defer cancel()
	for {
		if c.term.now() != nil {
			return c.cfg.ID, nil
		}
		if id, _ := c.node.Leader(); c.cfg.Peers != nil && id != "" && id != c.cfg.ID {
			return id, nil
		}
		pause := time.NewTimer(leaderPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return "", errNoLeader
		}
	}
}

// whileLeading ends calls with the term that they came in: what a deposed leader says is old.
func (c *Coordinator) whileLeading(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		over := c.term.now()
		if over == nil {
			http.Error(w, errNoLeader.Error(), http.StatusServiceUnavailable)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			select {
			case <-over:
				cancel()
			case <-ctx.Done():
			}
		}()
		defer func() {
			cancel()
			<-watched
		}()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// toPeers is the transport whose hosts are ids of coordinators.
func (c *Coordinator) toPeers() *http.Transport {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols,
		HTTP2:     &http.HTTP2Config{SendPingTimeout: pingAfter, MaxReceiveBufferPerConnection: connectionWindow, MaxReceiveBufferPerStream: streamWindow},
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			id, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return c.cfg.Peers.Dial(ctx, id)
		},
	}
	c.closers = append(c.closers, transport.CloseIdleConnections)
	return transport
}

// passOn hands calls to the coordinator that r.URL.Host names, together with who made them.
func (c *Coordinator) passOn(service string) http.Handler {
	transport := c.toPeers()
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", p.In.URL.Host
			p.Out.URL.Path = service + p.In.URL.Path
			if err := rpc.ForwardSubject(p.In.Context(), p.Out.Header); err != nil {
				c.cfg.Logger.Error("could not pass a call on", "error", err)
			}
		},
		Transport:     transport,
		FlushInterval: -1, // every message at once
		ErrorLog:      c.cfg.Logger.Named("forward").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "the leader cannot be reached: "+err.Error(), http.StatusServiceUnavailable)
		},
	}
}

// fromPeers serves what peers pass on. It is never passed on again: who asks finds the next leader.
func (c *Coordinator) fromPeers(users, agents http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(forUsers+"/", http.StripPrefix(forUsers, c.whileLeading(users)))
	mux.Handle(forAgents+"/", http.StripPrefix(forAgents, c.whileLeading(agents)))
	top := http.NewServeMux()
	_, taken := stixv1connect.NewAgentDataServiceHandler(copies{c: c})
	top.Handle(forCopies+"/", http.StripPrefix(forCopies, taken))
	top.Handle("/", rpc.PeerSubject(mux))
	return top
}

// receive is the next message of a stream, io.EOF at its end.
func receive[T any](stream *connect.ClientStream[T]) (*T, error) {
	if stream.Receive() {
		return stream.Msg(), nil
	}
	return nil, cmp.Or(stream.Err(), io.EOF)
}

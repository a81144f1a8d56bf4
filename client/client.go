package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/internal/backoff"
	"github.com/stix-run/stix/internal/unixsock"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
)

// Headers that tell the server who calls. They name, they do not prove: on a
// socket of this machine the server checks the peer's uid.
const (
	// HeaderUserName carries the user's name (SKYPILOT_USER of jobs).
	HeaderUserName = "Stix-User-Name"
	// HeaderUserID carries the user's hash, eight hex digits.
	HeaderUserID = "Stix-User-Id"
)

const (
	defaultPatience       = 10 * time.Second
	defaultStreamPatience = 2 * time.Minute
)

// Config says which server is called and how.
type Config struct {
	// Endpoint is "unix:///path/of/socket", "https://host:port" or "http://host:port".
	Endpoint string
	// Transport replaces the HTTP transport, for tests. Nil makes one for the Endpoint.
	Transport http.RoundTripper
	// TLS configures https. Nil means the system's roots.
	TLS *tls.Config
	// UserAgent names the program.
	UserAgent string
	// UserName and UserID are sent with every call when not empty.
	UserName string
	UserID   string
	// Patience is how long a call is tried again while the server cannot be
	// reached. Zero means 10s, negative means one attempt.
	Patience time.Duration
	// StreamPatience is how long a stream that once worked waits for the server
	// to return. It starts anew with every message. Zero means 2 minutes.
	StreamPatience time.Duration
	// Backoff spaces the attempts. The zero value is Min 20ms, Max 1s.
	Backoff backoff.Backoff
	// OnRetry is told of each attempt that failed and will be repeated, so that
	// a program can say why it waits. May be nil.
	OnRetry func(err error)
	// Logger hears of details. Nil is silent.
	Logger hclog.Logger
}

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	_, _, err := splitEndpoint(c.Endpoint)
	return err
}

// Client calls one server. It holds idle connections; Close drops them.
type Client struct {
	cfg       Config
	transport http.RoundTripper

	clusters stixv1connect.ClusterServiceClient
	jobs     stixv1connect.JobServiceClient
	requests stixv1connect.RequestServiceClient
	events   stixv1connect.EventServiceClient
	server   stixv1connect.ServerServiceClient
	blobs    stixv1connect.BlobServiceClient
}

// New returns a client for the server of cfg. It makes no connection.
func New(cfg Config) (*Client, error) {
	base, socket, err := splitEndpoint(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	setDefaults(&cfg)
	transport := cfg.Transport
	if transport == nil {
		transport = newTransport(socket, cfg.TLS)
	}
	httpClient := &http.Client{Transport: transport}
	opts := options(cfg, socket != "")
	return &Client{
		cfg:       cfg,
		transport: transport,
		clusters:  stixv1connect.NewClusterServiceClient(httpClient, base, opts...),
		jobs:      stixv1connect.NewJobServiceClient(httpClient, base, opts...),
		requests:  stixv1connect.NewRequestServiceClient(httpClient, base, opts...),
		events:    stixv1connect.NewEventServiceClient(httpClient, base, opts...),
		server:    stixv1connect.NewServerServiceClient(httpClient, base, opts...),
		blobs:     stixv1connect.NewBlobServiceClient(httpClient, base, opts...),
	}, nil
}

// Endpoint returns the server's address as configured, without a password.
func (c *Client) Endpoint() string { return Redact(c.cfg.Endpoint) }

// Close drops idle connections. Calls that are under way go on.
func (c *Client) Close() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Redact returns an endpoint with its password, if it has one, made unreadable.
func Redact(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.User == nil {
		return endpoint
	}
	if _, ok := u.User.Password(); !ok {
		return endpoint
	}
	name := u.User.Username()
	u.User = nil
	return strings.Replace(u.String(), "://", "://"+name+":<redacted>@", 1)
}

func setDefaults(cfg *Config) {
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.StreamPatience == 0 {
		cfg.StreamPatience = defaultStreamPatience
	}
	if cfg.Backoff == (backoff.Backoff{}) {
		cfg.Backoff = backoff.Backoff{Min: 20 * time.Millisecond, Max: time.Second}
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
}

// splitEndpoint returns the base URL of calls and, for a unix socket, its path.
func splitEndpoint(endpoint string) (base, socket string, err error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", "", fmt.Errorf("parse endpoint %q: %w", endpoint, err)
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return "http://stixd", u.Path, nil
	case (u.Scheme == "https" || u.Scheme == "http") && u.Host != "":
		return strings.TrimRight(endpoint, "/"), "", nil
	}
	return "", "", fmt.Errorf("endpoint %q: want unix:///path, https://host:port or http://host:port", Redact(endpoint))
}

func newTransport(socket string, tlsConfig *tls.Config) *http.Transport {
	t := &http.Transport{
		Protocols:       new(http.Protocols),
		IdleConnTimeout: 90 * time.Second,
		TLSClientConfig: tlsConfig,
	}
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(true)
	if socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return unixsock.Dial(ctx, socket)
		}
		return t
	}
	t.Proxy = http.ProxyFromEnvironment
	t.TLSHandshakeTimeout = 10 * time.Second
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	// Over a network a peer may vanish without a word; a stream would wait for ever.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second}
	return t
}

func options(cfg Config, local bool) []connect.ClientOption {
	opts := []connect.ClientOption{connect.WithInterceptors(identity{cfg})}
	if local {
		// Compressing what stays on this machine costs more than it saves.
		opts = append(opts, connect.WithAcceptCompression("gzip", nil, nil))
	}
	return opts
}

// identity puts the caller's name on every call.
type identity struct{ cfg Config }

func (i identity) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		i.set(req.Header())
		return next(ctx, req)
	}
}

func (i identity) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		i.set(conn.RequestHeader())
		return conn
	}
}

func (i identity) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func (i identity) set(h http.Header) {
	for name, value := range map[string]string{
		HeaderUserName: i.cfg.UserName, HeaderUserID: i.cfg.UserID, "User-Agent": i.cfg.UserAgent,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
}

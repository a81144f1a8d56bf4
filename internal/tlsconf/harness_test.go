package tlsconf_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/internal/memnet"
	"github.com/stix-run/stix/internal/tlsconf"
)

// server accepts one connection after the other and remembers what it saw.
type server struct {
	t        *testing.T
	host     *memnet.Host
	addr     string
	states   chan tls.ConnectionState
	received int
}

// serve runs a server until the test ends.
func serve(t *testing.T, conf tlsconf.ServerConfig) *server {
	t.Helper()
	tc, err := tlsconf.Server(conf)
	if err != nil {
		t.Fatal(err)
	}
	n := memnet.New(1)
	l, err := n.Host("coord-1").Listen("agents")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, host: n.Host("node"), addr: l.Addr().String(), states: make(chan tls.ConnectionState, 1)}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.serve(tls.Server(c, tc))
		}
	}()
	return s
}

func (s *server) serve(c *tls.Conn) {
	defer c.Close()
	if c.Handshake() != nil {
		return
	}
	s.states <- c.ConnectionState()
	// The answer carries the session ticket to the client as well.
	io.WriteString(c, "hello")
	got, _ := io.ReadAll(c)
	s.received += len(got)
}

// connect dials, says something, and returns what the server saw of the client.
func (s *server) connect(conf *tls.Config) (tls.ConnectionState, error) {
	s.t.Helper()
	raw, err := s.host.Dial(s.t.Context(), s.addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	c := tls.Client(raw, conf)
	defer synctest.Wait()
	defer c.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.WriteString(c, "secret"); err != nil {
		return tls.ConnectionState{}, err
	}
	return <-s.states, nil
}

func newCA(t *testing.T, cluster string) *tlsconf.CA {
	t.Helper()
	ca, err := tlsconf.NewCA(cluster, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := tlsconf.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

func coordinatorCert(t *testing.T, ca *tlsconf.CA) *tls.Certificate {
	t.Helper()
	cert, err := ca.CoordinatorCert("coord-1", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func nodeCert(t *testing.T, ca *tlsconf.CA, uid string) *tls.Certificate {
	t.Helper()
	return nodeCertFor(t, ca, uid, time.Now(), time.Hour)
}

func nodeCertFor(t *testing.T, ca *tlsconf.CA, uid string, now time.Time, ttl time.Duration) *tls.Certificate {
	t.Helper()
	key := newKey(t)
	req, err := tlsconf.NodeRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, err := ca.SignNode(req, uid, now, ttl)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tlsconf.NodeCert(certPEM, key)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// selfAsNode presents the CA's own certificate and key.
func selfAsNode(t *testing.T, ca *tlsconf.CA) *tls.Certificate {
	t.Helper()
	keyPEM, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	key, err := tlsconf.ParseKey(keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{pemDER(t, ca.CertPEM())}, PrivateKey: key}
}

// mismatched presents a node's certificate without having its key.
func mismatched(t *testing.T, ca *tlsconf.CA) *tls.Certificate {
	t.Helper()
	cert := nodeCert(t, ca, nodeUID)
	if _, err := tlsconf.NodeCert(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), newKey(t)); err == nil {
		t.Fatal("a certificate for another key was accepted")
	}
	return &tls.Certificate{Certificate: cert.Certificate, PrivateKey: newKey(t)}
}

func serverConfig(t *testing.T, ca *tlsconf.CA) tlsconf.ServerConfig {
	t.Helper()
	cert := coordinatorCert(t, ca)
	return tlsconf.ServerConfig{
		Cluster:     ca.Cluster(),
		Certificate: func() (*tls.Certificate, error) { return cert, nil },
		Pool:        ca.Pool,
		Now:         time.Now,
	}
}

func withCert(conf tlsconf.ServerConfig, chain [][]byte, cert *tls.Certificate) tlsconf.ServerConfig {
	conf.Certificate = func() (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: chain, PrivateKey: cert.PrivateKey}, nil
	}
	return conf
}

func expired(t *testing.T, ca *tlsconf.CA) tlsconf.ServerConfig {
	t.Helper()
	cert, err := ca.CoordinatorCert("coord-1", time.Now().Add(-2*time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return withCert(serverConfig(t, ca), cert.Certificate, cert)
}

func clientConfig(t *testing.T, ca *tlsconf.CA, cert *tls.Certificate) *tls.Config {
	t.Helper()
	conf, err := tlsconf.Client(tlsconf.ClientConfig{
		Cluster:     ca.Cluster(),
		Pool:        ca.Pool,
		Certificate: func() (*tls.Certificate, error) { return cert, nil },
		Now:         time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func pemDER(t *testing.T, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("not PEM")
	}
	return block.Bytes
}

func parse(t *testing.T, certPEM []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(pemDER(t, certPEM))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

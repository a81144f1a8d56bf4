package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ServerConfig says how a coordinator serves agents and other coordinators.
type ServerConfig struct {
	// Cluster is the id that verified clients must belong to.
	Cluster string
	// Certificate returns the certificate to present now.
	Certificate func() (*tls.Certificate, error)
	// Pool returns the CAs to trust now.
	Pool func() *x509.CertPool
	// Now tells the time against which certificates are checked.
	Now func() time.Time
	// Verify may refuse a connection whose certificate is good: a revoked
	// node's, say. It is called for each handshake, also a resumed one and one
	// without a client certificate. Nil refuses none.
	Verify func(tls.ConnectionState) error
}

// Validate returns what is missing.
func (c ServerConfig) Validate() error {
	if c.Cluster == "" || c.Certificate == nil || c.Pool == nil || c.Now == nil {
		return errors.New("tls server: Cluster, Certificate, Pool and Now are required")
	}
	return nil
}

// Server returns a configuration that accepts clients without a certificate and
// those with one from the pool for this cluster, over TLS 1.3 and HTTP/2. Ask
// PeerNode and PeerCoordinator who a client is.
func Server(c ServerConfig) (*tls.Config, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	conf := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		ClientAuth: tls.VerifyClientCertIfGiven,
		Time:       c.Now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.Certificate()
		},
		VerifyConnection: c.verify,
	}
	// The pool may change with every handshake. Session tickets stay valid: a
	// configuration without ticket keys uses those of the first one.
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := conf.Clone()
		now.GetConfigForClient = nil
		now.ClientCAs = c.Pool()
		return now, nil
	}
	return conf, nil
}

func (c ServerConfig) verify(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) > 0 {
		cluster, kind, _, ok := peer(cs)
		if !ok || kind == "" || cluster != c.Cluster {
			return errors.New("client certificate is not of this cluster")
		}
	}
	if c.Verify == nil {
		return nil
	}
	return c.Verify(cs)
}

// ClientConfig says how an enrolled agent, or a coordinator, dials a
// coordinator.
type ClientConfig struct {
	// Cluster is the id that the coordinator must belong to.
	Cluster string
	// Pool returns the CAs to trust now.
	Pool func() *x509.CertPool
	// Certificate returns the certificate to present now.
	Certificate func() (*tls.Certificate, error)
	// Now tells the time against which certificates are checked.
	Now func() time.Time
}

// Validate returns what is missing.
func (c ClientConfig) Validate() error {
	if c.Cluster == "" || c.Certificate == nil || c.Pool == nil || c.Now == nil {
		return errors.New("tls client: Cluster, Certificate, Pool and Now are required")
	}
	return nil
}

// Client returns a configuration for dialling coordinators of the cluster. It
// resumes sessions, so that reconnecting after a restart costs the coordinator
// little.
func Client(c ClientConfig) (*tls.Config, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	conf := dialing(c.Now)
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return c.Certificate()
	}
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		return verifyCoordinator(cs, c.Pool(), c.Cluster, c.Now())
	}
	return conf, nil
}

// Enrolment returns a configuration for a machine that knows nothing of the
// cluster but its CA's pin. The handshake fails, before anything is sent, unless
// the coordinator presents the pinned CA and a good certificate from it. It
// sends no client certificate.
func Enrolment(pin string, now func() time.Time) (*tls.Config, error) {
	if !ValidPin(pin) {
		return nil, fmt.Errorf("bad CA pin %q: want sha256: and 64 hex digits", pin)
	}
	conf := dialing(now)
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		pool := x509.NewCertPool()
		cluster, found := "", false
		for _, cert := range cs.PeerCertificates {
			id, kind, _, ok := parseIdentity(cert)
			if ok && kind == "" && cert.IsCA && PinKey(cert) == pin {
				pool.AddCert(cert)
				cluster, found = id, true
			}
		}
		if !found {
			return errors.New("coordinator does not present the pinned CA")
		}
		return verifyCoordinator(cs, pool, cluster, now())
	}
	return conf, nil
}

// dialing returns what all clients share. InsecureSkipVerify is set because the
// standard check knows neither pins nor pools that change: VerifyConnection,
// which each caller sets, does the whole check, also on resumed sessions.
func dialing(now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"h2"},
		ServerName:         ServerName,
		Time:               now,
		InsecureSkipVerify: true,
	}
}

// verifyCoordinator checks that the server is a coordinator of the cluster.
func verifyCoordinator(cs tls.ConnectionState, roots *x509.CertPool, cluster string, now time.Time) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("coordinator presents no certificate")
	}
	leaf := cs.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:       roots,
		DNSName:     ServerName,
		CurrentTime: now,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("verify coordinator: %w", err)
	}
	of, kind, _, ok := parseIdentity(leaf)
	if !ok || kind != "coordinator" || of != cluster {
		return errors.New("verify coordinator: certificate is not of a coordinator of this cluster")
	}
	return nil
}

// PeerNode returns which node is at the other end of a connection that a
// Server configuration accepted. ok is false for a client without a verified
// certificate and for one that is not a node.
func PeerNode(cs tls.ConnectionState) (cluster, uid string, ok bool) {
	cluster, kind, uid, ok := peer(cs)
	return cluster, uid, ok && kind == "node"
}

// PeerCoordinator is PeerNode for coordinators.
func PeerCoordinator(cs tls.ConnectionState) (cluster, id string, ok bool) {
	cluster, kind, id, ok := peer(cs)
	return cluster, id, ok && kind == "coordinator"
}

// peer reads the identity of a certificate that crypto/tls verified.
func peer(cs tls.ConnectionState) (cluster, kind, id string, ok bool) {
	if len(cs.VerifiedChains) == 0 || len(cs.PeerCertificates) == 0 {
		return "", "", "", false
	}
	return parseIdentity(cs.PeerCertificates[0])
}

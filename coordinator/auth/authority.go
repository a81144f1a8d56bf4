package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/tlsconf"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// NodeTTL is the life of a node's certificate; an agent renews at half of it.
const NodeTTL = 24 * time.Hour

// serverTTL is the life of a coordinator's certificate, which is made anew at half of it.
const serverTTL = 24 * time.Hour

// identityUID is the key of the one Identity record.
const identityUID = "self"

// Sealer seals and opens what must not be in clear in the log; seal.Box satisfies it.
type Sealer interface {
	Seal(plaintext, additional []byte) ([]byte, error)
	Open(sealed, additional []byte) ([]byte, error)
}

// AuthorityConfig says where the authority keeps its key.
type AuthorityConfig struct {
	// Store holds the Identity record.
	Store *state.Store
	// Sealer protects the CA's key in the log.
	Sealer Sealer
	// Now is the clock.
	Now func() time.Time
	// CoordinatorID stands in this coordinator's certificate.
	CoordinatorID string
	// NewClusterID makes the id of a new cluster.
	NewClusterID func() string
}

// Authority is the cluster's certificate authority. Its key is in the log, sealed, so that every coordinator that has
// the sealing key can sign. It is ready after Ensure or Load.
type Authority struct {
	cfg AuthorityConfig

	// mu guards the fields below.
	mu   sync.Mutex
	ca   *tlsconf.CA
	cert *tls.Certificate
	// made is when cert was made.
	made time.Time
}

// NewAuthority checks and assembles.
func NewAuthority(cfg AuthorityConfig) (*Authority, error) {
	if cfg.Store == nil || cfg.Sealer == nil || cfg.Now == nil || cfg.CoordinatorID == "" || cfg.NewClusterID == nil {
		return nil, errors.New("authority: every field of AuthorityConfig is needed")
	}
	return &Authority{cfg: cfg}, nil
}

// Ensure makes the identity of a new cluster, once for ever, and loads it. Only a leader may call it.
func (a *Authority) Ensure(ctx context.Context) error {
	if _, ok := a.cfg.Store.Read().Identity.Get(identityUID); !ok {
		if err := a.bootstrap(ctx); err != nil {
			return fmt.Errorf("make the cluster's identity: %w", err)
		}
	}
	return a.Load()
}

func (a *Authority) bootstrap(ctx context.Context) error {
	id := a.cfg.NewClusterID()
	ca, err := tlsconf.NewCA(id, a.cfg.Now())
	if err != nil {
		return err
	}
	key, err := ca.KeyPEM()
	if err != nil {
		return err
	}
	sealed, err := a.cfg.Sealer.Seal(key, []byte("ca/"+id))
	if err != nil {
		return err
	}
	by := state.Actor{Subject: "coordinator/auth", Verb: "bootstrap", Object: "cluster/" + id}
	return a.cfg.Store.Update(ctx, by, func(tx *state.Tx) error {
		if _, ok := tx.Identity.Get(identityUID); ok {
			return nil
		}
		tx.Identity.Put(&stixv1.Identity{
			Meta:          &stixv1.Meta{Uid: identityUID, Name: id},
			ClusterId:     id,
			CaCertificate: ca.CertPEM(),
			SealedCaKey:   sealed,
		})
		return nil
	})
}

// Load reads the identity from the records.
func (a *Authority) Load() error {
	rec, ok := a.cfg.Store.Read().Identity.Get(identityUID)
	if !ok {
		return errors.New("the cluster has no identity yet")
	}
	key, err := a.cfg.Sealer.Open(rec.SealedCaKey, []byte("ca/"+rec.ClusterId))
	if err != nil {
		return fmt.Errorf("open the sealed CA key (is sealing.key the one that this data was written with?): %w", err)
	}
	ca, err := tlsconf.ParseCA(rec.CaCertificate, key)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ca = ca
	return nil
}

// loaded returns the authority. A coordinator that never led reads it from its records when it is first needed.
func (a *Authority) loaded() (*tlsconf.CA, error) {
	a.mu.Lock()
	ca := a.ca
	a.mu.Unlock()
	if ca == nil {
		if err := a.Load(); err != nil {
			return nil, fmt.Errorf("the certificate authority is not ready yet: %w", err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		ca = a.ca
	}
	return ca, nil
}

// ClusterID is empty until the authority is ready.
func (a *Authority) ClusterID() string {
	ca, err := a.loaded()
	if err != nil {
		return ""
	}
	return ca.Cluster()
}

// Pin is what a new node checks the authority against.
func (a *Authority) Pin() (string, error) {
	ca, err := a.loaded()
	if err != nil {
		return "", err
	}
	return ca.Pin(), nil
}

// Pool returns the CAs to trust; empty until the authority is ready.
func (a *Authority) Pool() *x509.CertPool {
	ca, err := a.loaded()
	if err != nil {
		return x509.NewCertPool()
	}
	return ca.Pool()
}

// Certificate is this coordinator's own, made anew at half of its life.
func (a *Authority) Certificate() (*tls.Certificate, error) {
	if _, err := a.loaded(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.cfg.Now()
	if a.cert != nil && now.Sub(a.made) < serverTTL/2 {
		return a.cert, nil
	}
	cert, err := a.ca.CoordinatorCert(a.cfg.CoordinatorID, now, serverTTL)
	if err != nil {
		return nil, err
	}
	a.cert, a.made = cert, now
	return cert, nil
}

// Sign answers a node's request with a certificate for exactly that node, and the CA to trust. Whether the node may
// have one is the caller's decision.
func (a *Authority) Sign(csr []byte, nodeUID string) (*stixv1.EnrolResponse, error) {
	ca, err := a.loaded()
	if err != nil {
		return nil, err
	}
	cert, err := ca.SignNode(csr, nodeUID, a.cfg.Now(), NodeTTL)
	if err != nil {
		return nil, err
	}
	return &stixv1.EnrolResponse{Certificate: cert, CaCertificates: [][]byte{ca.CertPEM()}}, nil
}

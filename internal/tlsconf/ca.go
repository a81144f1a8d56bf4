// Package tlsconf makes the cluster's certificate authority, the certificates
// that it issues, and the TLS configurations that trust nothing else. It holds
// no policy: whom to give a certificate, for how long, and what a verified
// identity may do is decided by its callers, and time is always a parameter.
//
// Identities are SPIFFE URIs in the certificate:
//
//	spiffe://CLUSTER/coordinator/ID   may serve and dial
//	spiffe://CLUSTER/node/UID         may only dial
//
// A pin is "sha256:" and the hex SHA-256 of a public key in DER
// (SubjectPublicKeyInfo). The pin of a CA stays the same when its certificate
// is issued again for the same key.
package tlsconf

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"
)

// ServerName is the DNS name in every coordinator's certificate. Clients verify
// it instead of an address: addresses come and go.
const ServerName = "stix-coordinator"

const (
	caLifetime = 10 * 365 * 24 * time.Hour
	// clockSkew is by how much a certificate begins before it was issued, for
	// machines whose clock is late.
	clockSkew = 5 * time.Minute
)

// CA is the certificate authority of one cluster.
type CA struct {
	cluster string
	cert    *x509.Certificate
	key     crypto.Signer
}

// NewCA makes a CA with a new key for the cluster of that id.
func NewCA(cluster string, now time.Time) (*CA, error) {
	id, err := identity(cluster, "", "")
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	template, err := newTemplate(id, now, now.Add(caLifetime))
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	template.Subject = pkix.Name{CommonName: "stix cluster " + cluster}
	template.IsCA = true
	template.MaxPathLenZero = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	return newCA(der, key)
}

// ParseCA reads a CA back from what CertPEM and KeyPEM gave.
func ParseCA(certPEM, keyPEM []byte) (*CA, error) {
	der, err := decode(certPEM, "CERTIFICATE")
	if err != nil {
		return nil, fmt.Errorf("parse CA certificate: %w", err)
	}
	key, err := ParseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("parse CA key: %w", err)
	}
	ca, err := newCA(der, key)
	if err != nil {
		return nil, fmt.Errorf("parse CA: %w", err)
	}
	return ca, nil
}

func newCA(der []byte, key crypto.Signer) (*CA, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	cluster, kind, _, ok := parseIdentity(cert)
	if !ok || kind != "" || !cert.IsCA {
		return nil, errors.New("certificate is not of a stix CA")
	}
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || !pub.Equal(cert.PublicKey) {
		return nil, errors.New("key does not belong to the certificate")
	}
	return &CA{cluster: cluster, cert: cert, key: key}, nil
}

// Cluster returns the id of the CA's cluster.
func (ca *CA) Cluster() string { return ca.cluster }

// Pin returns the hash that identifies the CA to whom does not know it yet.
func (ca *CA) Pin() string { return PinKey(ca.cert) }

// CertPEM returns the CA's certificate, which is public.
func (ca *CA) CertPEM() []byte { return encode("CERTIFICATE", ca.cert.Raw) }

// KeyPEM returns the CA's key: seal it before it is written anywhere.
func (ca *CA) KeyPEM() ([]byte, error) { return KeyPEM(ca.key) }

// NotAfter returns when the CA ends, and with it all that it issued.
func (ca *CA) NotAfter() time.Time { return ca.cert.NotAfter }

// Pool returns a pool that trusts this CA only.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// CoordinatorCert makes a key and a certificate for a coordinator. The chain
// includes the CA, so that a client which has only the pin can verify it.
func (ca *CA) CoordinatorCert(id string, now time.Time, ttl time.Duration) (*tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("issue certificate of coordinator %s: %w", id, err)
	}
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf, err := ca.issue(subject{"coordinator", id, key.Public(), usage, []string{ServerName}}, now, ttl)
	if err != nil {
		return nil, fmt.Errorf("issue certificate of coordinator %s: %w", id, err)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// SignNode issues the certificate of a node for the key of a request made by
// NodeRequest, and returns it in PEM. Nothing but the key is taken from the
// request.
func (ca *CA) SignNode(requestPEM []byte, uid string, now time.Time, ttl time.Duration) ([]byte, error) {
	req, err := parseRequest(requestPEM)
	if err != nil {
		return nil, fmt.Errorf("issue certificate of node %s: %w", uid, err)
	}
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	leaf, err := ca.issue(subject{"node", uid, req.PublicKey, usage, nil}, now, ttl)
	if err != nil {
		return nil, fmt.Errorf("issue certificate of node %s: %w", uid, err)
	}
	return encode("CERTIFICATE", leaf.Raw), nil
}

// subject is whom a certificate is for.
type subject struct {
	kind, id string
	key      crypto.PublicKey
	usage    []x509.ExtKeyUsage
	names    []string
}

// issue signs a certificate, which ends at the latest with the CA.
func (ca *CA) issue(s subject, now time.Time, ttl time.Duration) (*x509.Certificate, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("lifetime %v is not positive", ttl)
	}
	if now.After(ca.cert.NotAfter) {
		return nil, fmt.Errorf("the CA expired at %v", ca.cert.NotAfter)
	}
	if s.id == "" {
		return nil, errors.New("empty id")
	}
	id, err := identity(ca.cluster, s.kind, s.id)
	if err != nil {
		return nil, err
	}
	end := now.Add(ttl)
	if end.After(ca.cert.NotAfter) {
		end = ca.cert.NotAfter
	}
	template, err := newTemplate(id, now, end)
	if err != nil {
		return nil, err
	}
	template.Subject = pkix.Name{CommonName: s.kind + " " + s.id}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = s.usage
	template.DNSNames = s.names
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, s.key, ca.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func newTemplate(id *url.URL, now, end time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              end,
		URIs:                  []*url.URL{id},
		BasicConstraintsValid: true,
	}, nil
}

func newKey() (crypto.Signer, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

// PinKey returns the pin of a certificate's key.
func PinKey(cert *x509.Certificate) string { return pinDER(cert.RawSubjectPublicKeyInfo) }

func pinDER(spki []byte) string {
	sum := sha256.Sum256(spki)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// ValidPin reports whether text has the form of a pin.
func ValidPin(text string) bool {
	hexes, ok := strings.CutPrefix(text, "sha256:")
	sum, err := hex.DecodeString(hexes)
	return ok && err == nil && len(sum) == sha256.Size && strings.ToLower(text) == text
}

// PinOf returns the pin of the certificate in PEM: an agent compares it with
// the pin it was given before it keeps a CA, a coordinator recognises a node's
// key by it.
func PinOf(certPEM []byte) (string, error) {
	der, err := decode(certPEM, "CERTIFICATE")
	if err != nil {
		return "", fmt.Errorf("parse certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return "", fmt.Errorf("parse certificate: %w", err)
	}
	return PinKey(cert), nil
}

// ParsePool reads the CA certificates of a bundle in PEM. It errors for a
// bundle without any, or with one that is no CA's.
func ParsePool(bundlePEM []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	count := 0
	for rest := bundlePEM; len(bytes.TrimSpace(rest)) > 0; count++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, errors.New("parse CA bundle: not a certificate in PEM")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse CA bundle: %w", err)
		}
		if !cert.IsCA {
			return nil, fmt.Errorf("parse CA bundle: certificate of %q is no CA's", cert.Subject.CommonName)
		}
		pool.AddCert(cert)
	}
	if count == 0 {
		return nil, errors.New("parse CA bundle: empty")
	}
	return pool, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// decode reads the one PEM block of text.
func decode(text []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != kind || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("not one %s in PEM", kind)
	}
	return block.Bytes, nil
}

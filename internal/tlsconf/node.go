package tlsconf

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// NewKey makes a private key for a node.
func NewKey() (crypto.Signer, error) { return newKey() }

// KeyPEM returns a private key in PEM (PKCS #8).
func KeyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return encode("PRIVATE KEY", der), nil
}

// ParseKey reads a private key back from what KeyPEM gave.
func ParseKey(keyPEM []byte) (crypto.Signer, error) {
	der, err := decode(keyPEM, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	if ec, ok := key.(*ecdsa.PrivateKey); ok && ec.Curve == elliptic.P256() {
		return ec, nil
	}
	return nil, errors.New("key is not ECDSA P-256")
}

// NodeRequest makes a certificate request in PEM for a node's key. It proves
// that whoever made it has the key, and names nobody: the coordinator decides
// for which node it is.
func NodeRequest(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return encode("CERTIFICATE REQUEST", der), nil
}

// RequestPin returns the pin of the key that a request is for, after it checked
// that the request is signed with that key.
func RequestPin(requestPEM []byte) (string, error) {
	req, err := parseRequest(requestPEM)
	if err != nil {
		return "", err
	}
	return pinDER(req.RawSubjectPublicKeyInfo), nil
}

// NodeCert joins a node's certificate and key for use in ClientConfig.
func NodeCert(certPEM []byte, key crypto.Signer) (*tls.Certificate, error) {
	der, err := decode(certPEM, "CERTIFICATE")
	if err != nil {
		return nil, fmt.Errorf("parse node certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse node certificate: %w", err)
	}
	pub, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || !pub.Equal(leaf.PublicKey) {
		return nil, errors.New("parse node certificate: it is not for the node's key")
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func parseRequest(requestPEM []byte) (*x509.CertificateRequest, error) {
	der, err := decode(requestPEM, "CERTIFICATE REQUEST")
	if err != nil {
		return nil, fmt.Errorf("parse certificate request: %w", err)
	}
	req, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("parse certificate request: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("parse certificate request: %w", err)
	}
	if pub, ok := req.PublicKey.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		return nil, errors.New("parse certificate request: key is not ECDSA P-256")
	}
	return req, nil
}

// identity makes the SPIFFE URI of a coordinator or node, or of the cluster
// where kind is empty.
func identity(cluster, kind, id string) (*url.URL, error) {
	for _, part := range []string{cluster, kind, id} {
		if strings.Trim(part, letters) != "" {
			return nil, fmt.Errorf("bad character in id %q", part)
		}
	}
	if cluster == "" {
		return nil, errors.New("empty cluster id")
	}
	u := &url.URL{Scheme: "spiffe", Host: cluster}
	if kind != "" {
		u.Path = "/" + kind + "/" + id
	}
	return u, nil
}

// letters are what ids may consist of: those of a host name, so that an id
// means the same in every part of a URI.
const letters = "abcdefghijklmnopqrstuvwxyz0123456789-."

// parseIdentity reads what identity made from a certificate that has exactly
// one URI.
func parseIdentity(cert *x509.Certificate) (cluster, kind, id string, ok bool) {
	if len(cert.URIs) != 1 {
		return "", "", "", false
	}
	u := cert.URIs[0]
	if u.Path != "" {
		kind, id, ok = strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		if !ok || kind == "" || id == "" {
			return "", "", "", false
		}
	}
	want, err := identity(u.Host, kind, id)
	if err != nil || want.String() != u.String() {
		return "", "", "", false
	}
	return u.Host, kind, id, true
}

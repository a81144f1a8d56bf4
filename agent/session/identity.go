package session

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/internal/atomicfile"
	"github.com/stix-run/stix/internal/tlsconf"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
)

// Files of an identity in the agent's directory.
const (
	fileKey         = "node.key"
	fileCertificate = "node.crt"
	fileCAs         = "ca.crt"
)

// identity is the key of a node and its certificate. The key is made once, on the
// node, and never leaves it. A certificate that was issued but not kept, because
// the agent or the answer was lost, is asked for again with the same key.
type identity struct {
	dir string
	key crypto.Signer
	now func() time.Time

	mu   sync.Mutex
	cert *tls.Certificate // nil before the node is enrolled
	pool *x509.CertPool
}

// openIdentity reads what there is in dir, and makes the key where there is none.
func openIdentity(dir string, now func() time.Time) (*identity, error) {
	key, err := loadKey(filepath.Join(dir, fileKey))
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	id := &identity{dir: dir, key: key, now: now}
	cert, err := os.ReadFile(filepath.Join(dir, fileCertificate))
	if errors.Is(err, fs.ErrNotExist) {
		return id, nil
	}
	if err != nil {
		return nil, err
	}
	cas, err := os.ReadFile(filepath.Join(dir, fileCAs))
	if err != nil {
		return nil, err
	}
	return id, id.use(cert, cas)
}

func loadKey(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		return tlsconf.ParseKey(data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := tlsconf.NewKey()
	if err != nil {
		return nil, err
	}
	if data, err = tlsconf.KeyPEM(key); err != nil {
		return nil, err
	}
	return key, atomicfile.Write(path, data, 0o600)
}

// use makes a certificate the present one.
func (id *identity) use(certPEM, casPEM []byte) error {
	cert, err := tlsconf.NodeCert(certPEM, id.key)
	if err != nil {
		return err
	}
	pool, err := tlsconf.ParsePool(casPEM)
	if err != nil {
		return err
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	id.cert, id.pool = cert, pool
	return nil
}

// keep uses a certificate and writes it down: the CAs first, because a
// certificate without them would be of no use.
func (id *identity) keep(resp *stixv1.EnrolResponse) error {
	var cas bytes.Buffer
	for _, ca := range resp.GetCaCertificates() {
		cas.Write(ca)
	}
	cert := resp.GetCertificate()
	if err := id.use(cert, cas.Bytes()); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(id.dir, fileCAs), cas.Bytes(), 0o600); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(id.dir, fileCertificate), cert, 0o600)
}

// checkPin refuses an answer without the CA that this node was told to trust, so
// that nobody but that CA can add another.
func checkPin(resp *stixv1.EnrolResponse, pin string) error {
	for _, ca := range resp.GetCaCertificates() {
		if p, err := tlsconf.PinOf(ca); err == nil && p == pin {
			return nil
		}
	}
	return errors.New("coordinator's answer lacks the pinned CA")
}

func (id *identity) certificate() (*tls.Certificate, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.cert == nil {
		return nil, errors.New("node is not enrolled")
	}
	return id.cert, nil
}

func (id *identity) roots() *x509.CertPool {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.pool
}

// renewAt returns when the certificate is to be renewed, half-way through its
// life, and when it ends. Both are zero before the node is enrolled.
func (id *identity) renewAt() (renew, end time.Time) {
	cert, err := id.certificate()
	if err != nil {
		return time.Time{}, time.Time{}
	}
	from, to := cert.Leaf.NotBefore, cert.Leaf.NotAfter
	return from.Add(to.Sub(from) / 2), to
}

// registrar asks one coordinator for certificates.
type registrar struct {
	identity *identity
	node     string
	token    string
	pin      string
}

// obtain enrols the node, or renews its certificate if it has one. The coordinator
// proves that it has the pinned CA before anything is sent.
func (r registrar) obtain(ctx context.Context, dial Dial, address string) error {
	conf, err := tlsconf.Enrolment(r.pin, r.identity.now)
	if err != nil {
		return err
	}
	p := newPeer(dial, address, conf, &http.HTTP2Config{})
	defer p.close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	resp, err := r.ask(ctx, stixv1connect.NewEnrolmentServiceClient(p, baseURL))
	if err != nil {
		return err
	}
	if err := checkPin(resp, r.pin); err != nil {
		return err
	}
	return r.identity.keep(resp)
}

func (r registrar) ask(ctx context.Context, client stixv1connect.EnrolmentServiceClient) (*stixv1.EnrolResponse, error) {
	request, err := tlsconf.NodeRequest(r.identity.key)
	if err != nil {
		return nil, err
	}
	if cert, err := r.identity.certificate(); err == nil {
		old := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
		return client.Renew(ctx, &stixv1.RenewRequest{NodeUid: r.node, Csr: request, Certificate: old})
	}
	return client.Enrol(ctx, &stixv1.EnrolRequest{NodeUid: r.node, JoinToken: r.token, Csr: request})
}

// refused tells whether a coordinator will not change its mind soon.
func refused(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodePermissionDenied, connect.CodeUnauthenticated, connect.CodeNotFound, connect.CodeInvalidArgument:
		return true
	}
	return false
}

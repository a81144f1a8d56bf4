package tlsconf_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/internal/tlsconf"
)

const (
	clusterID = "0198c0de-0000-7000-8000-000000000001"
	otherID   = "0198c0de-0000-7000-8000-000000000002"
	nodeUID   = "0198c0de-0000-7000-8000-0000000000aa"
)

func TestNodeIsKnownByItsCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, clusterID)
		srv := serve(t, serverConfig(t, ca))
		state, err := srv.connect(clientConfig(t, ca, nodeCert(t, ca, nodeUID)))
		if err != nil {
			t.Fatal(err)
		}
		cluster, uid, ok := tlsconf.PeerNode(state)
		if !ok || cluster != clusterID || uid != nodeUID {
			t.Fatalf("peer is %q %q %v", cluster, uid, ok)
		}
		if state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "h2" {
			t.Fatalf("TLS %x, protocol %q", state.Version, state.NegotiatedProtocol)
		}
		if _, _, ok := tlsconf.PeerCoordinator(state); ok {
			t.Fatal("a node passes for a coordinator")
		}
	})
}

func TestReconnectResumesTheSessionAndKeepsTheIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, clusterID)
		conf := serverConfig(t, ca)
		var revoked bool
		conf.Verify = func(cs tls.ConnectionState) error {
			if _, _, ok := tlsconf.PeerNode(cs); ok && revoked {
				return errors.New("node is revoked")
			}
			return nil
		}
		srv := serve(t, conf)
		client := clientConfig(t, ca, nodeCert(t, ca, nodeUID))
		for i, resumed := range []bool{false, true} {
			state, err := srv.connect(client)
			if err != nil {
				t.Fatal(err)
			}
			if _, uid, ok := tlsconf.PeerNode(state); !ok || uid != nodeUID || state.DidResume != resumed {
				t.Fatalf("connection %d: node %q %v, resumed %v", i, uid, ok, state.DidResume)
			}
		}
		revoked = true
		if _, err := srv.connect(client); err == nil {
			t.Fatal("a revoked node resumed its session")
		}
	})
}

func TestEnrolmentNeedsOnlyThePin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, clusterID)
		srv := serve(t, serverConfig(t, ca))
		conf, err := tlsconf.Enrolment(ca.Pin(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		state, err := srv.connect(conf)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := tlsconf.PeerNode(state); ok {
			t.Fatal("an anonymous client passes for a node")
		}
	})
}

func TestEnrolmentSendsNothingToAnImpostor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, impostor := newCA(t, clusterID), newCA(t, clusterID)
		bad := map[string]tlsconf.ServerConfig{
			"another CA": serverConfig(t, impostor),
			"another CA that appends the pinned one": withCert(serverConfig(t, impostor),
				append(coordinatorCert(t, impostor).Certificate[:1:1], pemDER(t, ca.CertPEM())), coordinatorCert(t, impostor)),
			"a node's certificate": withCert(serverConfig(t, ca),
				append(nodeCert(t, ca, nodeUID).Certificate, pemDER(t, ca.CertPEM())), nodeCert(t, ca, nodeUID)),
			"an expired certificate": expired(t, ca),
		}
		for name, conf := range bad {
			srv := serve(t, conf)
			client, err := tlsconf.Enrolment(ca.Pin(), time.Now)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := srv.connect(client); err == nil {
				t.Errorf("%s: enrolled", name)
			}
			if srv.received != 0 {
				t.Errorf("%s: received %d bytes", name, srv.received)
			}
		}
		for _, pin := range []string{"", "sha256:", "md5:00", ca.Pin()[:20], strings.ToUpper(ca.Pin())} {
			if _, err := tlsconf.Enrolment(pin, time.Now); err == nil {
				t.Errorf("pin %q was accepted", pin)
			}
		}
	})
}

func TestClientRefusesForeignCoordinators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, other := newCA(t, clusterID), newCA(t, otherID)
		client := clientConfig(t, ca, nodeCert(t, ca, nodeUID))
		for name, conf := range map[string]tlsconf.ServerConfig{
			"another cluster's":      serverConfig(t, other),
			"an expired certificate": expired(t, ca),
			"a node's certificate":   withCert(serverConfig(t, ca), nodeCert(t, ca, nodeUID).Certificate, nodeCert(t, ca, nodeUID)),
		} {
			if _, err := serve(t, conf).connect(client); err == nil {
				t.Errorf("%s: connected", name)
			}
		}
	})
}

func TestServerRefusesBadClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, other := newCA(t, clusterID), newCA(t, otherID)
		conf := serverConfig(t, ca)
		both := ca.Pool()
		both.AppendCertsFromPEM(other.CertPEM())
		conf.Pool = func() *x509.CertPool { return both }
		srv := serve(t, conf)

		short := nodeCertFor(t, ca, nodeUID, time.Now().Add(-2*time.Hour), time.Hour)
		future := nodeCertFor(t, ca, nodeUID, time.Now().Add(time.Hour), time.Hour)
		for name, cert := range map[string]*tls.Certificate{
			"unknown CA":            nodeCert(t, newCA(t, clusterID), nodeUID),
			"trusted, but foreign":  nodeCert(t, other, nodeUID),
			"expired":               short,
			"not yet valid":         future,
			"the CA's own":          selfAsNode(t, ca),
			"certificate, no match": mismatched(t, ca),
		} {
			if _, err := srv.connect(clientConfig(t, ca, cert)); err == nil {
				t.Errorf("%s: connected", name)
			}
		}
	})
}

func TestCoordinatorCertificateIsNoNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, clusterID)
		state, err := serve(t, serverConfig(t, ca)).connect(clientConfig(t, ca, coordinatorCert(t, ca)))
		if err != nil {
			t.Fatal(err)
		}
		if _, uid, ok := tlsconf.PeerNode(state); ok {
			t.Fatalf("a coordinator's certificate passes for node %q", uid)
		}
		if _, id, ok := tlsconf.PeerCoordinator(state); !ok || id != "coord-1" {
			t.Fatalf("coordinator %q %v", id, ok)
		}
	})
}

func TestPeerIdentityNeedsVerification(t *testing.T) {
	cert := nodeCert(t, newCA(t, clusterID), nodeUID)
	unverified := tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{cert.Leaf}}
	if _, _, ok := tlsconf.PeerNode(unverified); ok {
		t.Fatal("an unverified certificate is believed")
	}
}

func TestSignNodeTakesOnlyTheKeyOfARequest(t *testing.T) {
	ca := newCA(t, clusterID)
	key := newKey(t)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		DNSNames: []string{tlsconf.ServerName, "evil.example"},
		URIs:     coordinatorCert(t, ca).Leaf.URIs,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	req := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	certPEM, err := ca.SignNode(req, nodeUID, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	leaf := parse(t, certPEM)
	if len(leaf.DNSNames) != 0 || len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://"+clusterID+"/node/"+nodeUID {
		t.Fatalf("issued for %v %v", leaf.DNSNames, leaf.URIs)
	}
	if leaf.IsCA || len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Fatalf("issued as CA %v, usage %v", leaf.IsCA, leaf.ExtKeyUsage)
	}
	reqPin, err := tlsconf.RequestPin(req)
	if err != nil {
		t.Fatal(err)
	}
	if certPin, err := tlsconf.PinOf(certPEM); err != nil || certPin != reqPin {
		t.Fatalf("pin of the certificate %s, of the request %s, %v", certPin, reqPin, err)
	}
}

func TestSignNodeRefusesBadRequests(t *testing.T) {
	ca, now := newCA(t, clusterID), time.Now()
	good, err := tlsconf.NodeRequest(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weakReq, err := tlsconf.NodeRequest(weak)
	if err != nil {
		t.Fatal(err)
	}
	tampered := pemDER(t, good)
	tampered[len(tampered)-1] ^= 1
	for name, req := range map[string][]byte{
		"empty":     nil,
		"not PEM":   []byte("hello"),
		"weak key":  weakReq,
		"signature": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: tampered}),
		"two":       append(append([]byte{}, good...), good...),
	} {
		if _, err := ca.SignNode(req, nodeUID, now, time.Hour); err == nil {
			t.Errorf("%s: signed", name)
		}
		if _, err := tlsconf.RequestPin(req); err == nil {
			t.Errorf("%s: has a pin", name)
		}
	}
	for _, uid := range []string{"", "a/b", "../coordinator/x", "UPPER", "a b", "a?x=1"} {
		if _, err := ca.SignNode(good, uid, now, time.Hour); err == nil {
			t.Errorf("uid %q: signed", uid)
		}
	}
	if _, err := ca.SignNode(good, nodeUID, now, 0); err == nil {
		t.Error("no lifetime: signed")
	}
	if _, err := ca.SignNode(good, nodeUID, ca.NotAfter().Add(time.Second), time.Hour); err == nil {
		t.Error("expired CA: signed")
	}
	certPEM, err := ca.SignNode(good, nodeUID, ca.NotAfter().Add(-time.Minute), time.Hour)
	if err != nil || parse(t, certPEM).NotAfter.After(ca.NotAfter()) {
		t.Errorf("outlives its CA: %v", err)
	}
}

func TestCASurvivesEncoding(t *testing.T) {
	ca := newCA(t, clusterID)
	keyPEM, err := ca.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := tlsconf.ParseCA(ca.CertPEM(), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if again.Pin() != ca.Pin() || again.Cluster() != clusterID {
		t.Fatalf("read back %s of %s", again.Pin(), again.Cluster())
	}
	if pin, err := tlsconf.PinOf(ca.CertPEM()); err != nil || pin != ca.Pin() || !tlsconf.ValidPin(pin) {
		t.Fatalf("PinOf = %q, %v", pin, err)
	}
	if _, err := tlsconf.ParseCA(newCA(t, clusterID).CertPEM(), keyPEM); err == nil {
		t.Fatal("certificate and key of two CAs were accepted")
	}
	nodePEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: nodeCert(t, ca, nodeUID).Certificate[0]})
	if _, err := tlsconf.ParseCA(nodePEM, keyPEM); err == nil {
		t.Fatal("a node's certificate was accepted as a CA")
	}
	if _, err := tlsconf.ParsePool(append(ca.CertPEM(), newCA(t, otherID).CertPEM()...)); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{nil, []byte("x"), nodePEM, append(ca.CertPEM(), 'x')} {
		if _, err := tlsconf.ParsePool(bad); err == nil {
			t.Fatalf("pool of %q was accepted", bad)
		}
	}
	if _, err := tlsconf.NewCA("not/an id", time.Now()); err == nil {
		t.Fatal("bad cluster id was accepted")
	}
}

func FuzzParse(f *testing.F) {
	key, err := tlsconf.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	req, err := tlsconf.NodeRequest(key)
	if err != nil {
		f.Fatal(err)
	}
	keyPEM, err := tlsconf.KeyPEM(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(req)
	f.Add(keyPEM)
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _ = tlsconf.RequestPin(text)
		_, _ = tlsconf.PinOf(text)
		_, _ = tlsconf.ParsePool(text)
		_, _ = tlsconf.ParseCA(text, text)
		_, _ = tlsconf.NodeCert(text, key)
	})
}

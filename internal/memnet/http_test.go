package memnet_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/internal/memnet"
	"github.com/stix-run/stix/internal/tlsconf"
)

const clusterID = "test-cluster"

// TestHTTP2OverTLSInVirtualTime is what the rest of the code relies on: a
// server and a client of net/http with client certificates, a stream that
// outlives a partition, and a call that times out in one.
func TestHTTP2OverTLSInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		n.SetLatency(5 * time.Millisecond)
		ca, err := tlsconf.NewCA(clusterID, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		stop := serveHTTP(t, n, ca)
		defer stop()
		client := httpClient(t, n, ca)
		defer client.CloseIdleConnections()

		res := call(t, client, t.Context(), "/who", nil)
		if res.proto != "HTTP/2.0" || res.body != "node-7" {
			t.Fatalf("%s %q", res.proto, res.body)
		}

		// A bidirectional stream: the echo arrives before the body ends.
		in, out := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://c/echo", in)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		echo(t, out, stream.Body, "one")
		n.Cut("node", "coord")
		time.AfterFunc(10*time.Second, n.Heal)
		start := time.Now()
		echo(t, out, stream.Body, "two")
		if d := time.Since(start); d < 10*time.Second || d > 11*time.Second {
			t.Fatalf("echo over a partition took %v", d)
		}

		n.Cut("node", "coord")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, _ = http.NewRequestWithContext(ctx, http.MethodGet, "https://c/who", nil)
		if _, err := client.Do(req); err == nil {
			t.Fatal("a call went through a partition")
		}
		n.Heal()
		out.Close()
		stream.Body.Close()
		if got := call(t, client, t.Context(), "/who", nil).body; got != "node-7" {
			t.Fatalf("after healing: %q", got)
		}
	})
}

func serveHTTP(t *testing.T, n *memnet.Network, ca *tlsconf.CA) (stop func()) {
	t.Helper()
	cert, err := ca.CoordinatorCert("coord", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := tlsconf.Server(tlsconf.ServerConfig{
		Cluster:     clusterID,
		Certificate: func() (*tls.Certificate, error) { return cert, nil },
		Pool:        ca.Pool,
		Now:         time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/who", func(w http.ResponseWriter, r *http.Request) {
		_, uid, _ := tlsconf.PeerNode(*r.TLS)
		io.WriteString(w, uid)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 64)
		http.NewResponseController(w).Flush()
		for {
			k, err := r.Body.Read(buf)
			w.Write(buf[:k])
			http.NewResponseController(w).Flush()
			if err != nil {
				return
			}
		}
	})
	srv := &http.Server{Handler: mux, TLSConfig: conf}
	l := listen(t, n, "coord", "agents")
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(l, "", "") }()
	return func() {
		srv.Close()
		<-done
	}
}

func httpClient(t *testing.T, n *memnet.Network, ca *tlsconf.CA) *http.Client {
	t.Helper()
	key, err := tlsconf.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	req, err := tlsconf.NodeRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, err := ca.SignNode(req, "node-7", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tlsconf.NodeCert(certPEM, key)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := tlsconf.Client(tlsconf.ClientConfig{
		Cluster:     clusterID,
		Pool:        ca.Pool,
		Certificate: func() (*tls.Certificate, error) { return cert, nil },
		Now:         time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: &http.Transport{
		DialContext:       n.Host("node").Dialer("coord/agents"),
		TLSClientConfig:   conf,
		ForceAttemptHTTP2: true,
	}}
}

type answer struct{ proto, body string }

func call(t *testing.T, client *http.Client, ctx context.Context, path string, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://c"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.Proto, string(text)}
}

func echo(t *testing.T, out io.Writer, in io.Reader, word string) {
	t.Helper()
	if _, err := io.Copy(out, strings.NewReader(word)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(in, got); err != nil || string(got) != word {
		t.Fatalf("echoed %q, %v; want %q", got, err, word)
	}
}

package bootstrap_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stix-run/stix/internal/bootstrap"
)

func sample() bootstrap.Bootstrap {
	return bootstrap.Bootstrap{
		NodeUID: "n1", ClusterID: "c1", ClusterName: "demo", CAPin: "sha256:00", JoinToken: "secret",
		Coordinators: []string{"unix:///run/agents.sock", "10.0.0.1:7443"}, Home: "/root", Env: []string{"A=b"},
	}
}

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	data, err := bootstrap.Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	got, err := bootstrap.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Fatal(diff)
	}
}

func TestNewerVersionIsRefusedByName(t *testing.T) {
	data, err := bootstrap.Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.Replace(string(data), `"version": 1`, `"version": 2`, 1)
	if _, err := bootstrap.Decode([]byte(newer)); !errors.Is(err, bootstrap.ErrNewer) {
		t.Fatalf("got %v", err)
	}
	if _, err := bootstrap.Decode([]byte(`{"version": 1}`)); err == nil {
		t.Fatal("a file without the magic was read")
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	for want, change := range map[string]func(*bootstrap.Bootstrap){
		"node_uid":     func(b *bootstrap.Bootstrap) { b.NodeUID = "" },
		"cluster_id":   func(b *bootstrap.Bootstrap) { b.ClusterID = "" },
		"ca_hash":      func(b *bootstrap.Bootstrap) { b.CAPin = "" },
		"coordinators": func(b *bootstrap.Bootstrap) { b.Coordinators = nil },
		"host:port":    func(b *bootstrap.Bootstrap) { b.Coordinators = []string{"nohost"} },
		"not absolute": func(b *bootstrap.Bootstrap) { b.Home = "home" },
	} {
		b := sample()
		change(&b)
		if _, err := bootstrap.Encode(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, err := bootstrap.Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"magic":"stix-bootstrap","version":99}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := bootstrap.Decode(data)
		if err == nil && b.Validate() != nil {
			t.Fatal("decoded what does not validate")
		}
	})
}

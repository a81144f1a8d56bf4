package all_test

import (
	"path/filepath"
	"testing"

	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/provider/all"
	"github.com/stix-run/stix/provider/fake"
	"github.com/stix-run/stix/provider/local"
)

func TestDriversAreThoseAskedFor(t *testing.T) {
	f, err := fake.New(fake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := &local.Config{Dir: filepath.Join(t.TempDir(), "local"), AgentPath: "/usr/bin/stix-agent"}
	for _, c := range []struct {
		cfg  all.Config
		want []string
	}{
		{all.Config{}, nil},
		{all.Config{Local: cfg}, []string{"local"}},
		{all.Config{Local: cfg, Fake: f}, []string{"local", "fake"}},
	} {
		drivers, err := all.Drivers(c.cfg)
		if err != nil || len(drivers) != len(c.want) {
			t.Fatalf("%v, %v; want %v", drivers, err, c.want)
		}
		for _, name := range c.want {
			if _, err := provider.NewCloud(provider.Config{Name: name, Driver: drivers[name]}); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := all.Drivers(all.Config{Local: &local.Config{}}); err == nil {
		t.Error("a local cloud without a place was accepted")
	}
}

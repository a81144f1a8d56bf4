// Package all is the registry of drivers: a value, built by whoever starts a coordinator.
package all

import (
	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/provider/fake"
	"github.com/stix-run/stix/provider/local"
)

// Config says which clouds there are. A nil entry leaves its cloud out.
type Config struct {
	// Local makes machines on this computer.
	Local *local.Config
	// Fake is a cloud under test control.
	Fake *fake.Cloud
}

// Drivers returns the drivers by the name of their cloud.
func Drivers(cfg Config) (map[string]provider.Driver, error) {
	drivers := make(map[string]provider.Driver)
	if cfg.Local != nil {
		d, err := local.New(*cfg.Local)
		if err != nil {
			return nil, err
		}
		drivers[local.Name] = d
	}
	if cfg.Fake != nil {
		drivers[fake.Name] = cfg.Fake.Driver()
	}
	return drivers, nil
}

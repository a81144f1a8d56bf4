package coordinator

import (
	"maps"
	"slices"

	"github.com/stix-run/stix/coordinator/clusters"
	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/sched"
)

// newClouds puts what is the same for all clouds around their drivers.
func (c *Coordinator) newClouds() error {
	c.clouds = map[string]clusters.Cloud{}
	for name, driver := range c.cfg.Drivers {
		cloud, err := provider.NewCloud(provider.Config{Name: name, Driver: driver, Now: c.cfg.Now, Logger: c.cfg.Logger.Named(name)})
		if err != nil {
			return err
		}
		c.clouds[name] = cloud
	}
	return nil
}

// offers are what the clouds themselves know to rent; the catalog will add the rest.
func (c *Coordinator) offers() []sched.Offer {
	var out []sched.Offer
	for _, name := range slices.Sorted(maps.Keys(c.clouds)) {
		for _, t := range c.clouds[name].Capabilities().Types {
			out = append(out, sched.Offer{
				Cloud: name, InstanceType: t.Name, VCPUs: float64(t.VCPUs), MemoryGiB: float64(t.MemoryBytes) / (1 << 30),
			})
		}
	}
	return out
}

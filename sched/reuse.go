package sched

import (
	"fmt"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Reusable tells why a task does not fit a cluster that exists; empty when it does. The rules are SkyPilot's: cpus,
// memory, disk and labels are not compared, the place and the accelerators are.
func Reusable(c *stixv1.Cluster, have Offer, t *stixv1.Task) string {
	if t.NumNodes > c.NumNodes {
		return fmt.Sprintf("the task needs %d nodes, the cluster has %d", t.NumNodes, c.NumNodes)
	}
	reason := ""
	for _, r := range t.Resources {
		placed := &stixv1.Resources{
			Cloud: r.Cloud, Region: r.Region, Zone: r.Zone, InstanceType: r.InstanceType,
			Accelerators: r.Accelerators, UseSpot: r.UseSpot,
		}
		if reason = Unfit(have, placed); reason == "" {
			return ""
		}
	}
	return reason
}

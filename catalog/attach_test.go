package catalog

import (
	"slices"
	"strings"
	"testing"
)

// assembledPairs makes all pairs of a host and an accelerator in the plainest way.
func assembledPairs(c *Catalog, q Query) int {
	pairs := 0
	for part := range c.Offers(Query{Clouds: []string{"gcp"}, Accelerator: q.Accelerator, Count: q.Count}) {
		for host := range c.Offers(Query{Clouds: []string{"gcp"}, Region: part.Region, NoAccelerator: true, VCPUs: q.VCPUs}) {
			if part.Attachable() && strings.HasPrefix(host.InstanceType, "n1-") && !strings.Contains(host.InstanceType, "mega") &&
				!strings.Contains(host.InstanceType, "ultra") && slices.Contains(host.Zones, part.Zones[0]) &&
				limitFor(part.Accelerator, part.Count).allows(host.Machine) {
				pairs++
			}
		}
	}
	return pairs
}

func TestAssembledOffersAreHostAndAcceleratorTogether(t *testing.T) {
	c := open(t)
	q := Query{Clouds: []string{"gcp"}, Accelerator: "T4", Count: 2 * One, Assemble: true}
	n := 0
	for o := range c.Offers(q) {
		n++
		part := slices.Collect(c.Offers(Query{Clouds: q.Clouds, Region: o.Region, Zone: o.Zones[0], Accelerator: "T4", Count: o.Count}))
		host := slices.Collect(c.Offers(Query{Clouds: q.Clouds, Region: o.Region, Zone: o.Zones[0], InstanceType: o.InstanceType}))
		if len(part) != 1 || len(host) != 1 || o.Price != part[0].Price+host[0].Price || o.Spot != part[0].Spot+host[0].Spot {
			t.Fatalf("%+v in %s: %v and %v", *o.Machine, o.Zones, part, host)
		}
		if o.Attachable() || o.VCPUs != host[0].VCPUs || o.AcceleratorGiB != 16*One || o.Count != 2*One || host[0].Accelerator != "" {
			t.Fatalf("%+v", *o.Machine)
		}
	}
	if want := assembledPairs(c, q); n != want || n == 0 {
		t.Errorf("%d pairs, %d can be made", n, want)
	}
}

func TestAssembledPriceByHand(t *testing.T) {
	// 0.35 for the T4 and 0.379998 for the host.
	q := Query{Clouds: []string{"gcp"}, Region: "us-central1", Zone: "us-central1-a", InstanceType: "n1-standard-8", Accelerator: "T4", Count: One, Assemble: true}
	got := slices.Collect(open(t).Offers(q))
	if len(got) != 1 || got[0].Price != money(t, "0.729998") {
		t.Errorf("%+v", got)
	}
}

func TestHostsAreNotTooLargeForTheirAccelerators(t *testing.T) {
	c := open(t)
	for _, part := range []struct {
		name  string
		count Quantity
		zone  string
		most  Quantity
	}{
		{"V100", One, "", 12 * One}, {"P4", One, "", 24 * One}, {"T4", 4 * One, "", 96 * One},
		{"P100", 4 * One, "europe-west1-b", 64 * One}, {"P100", 4 * One, "us-central1-c", 96 * One},
	} {
		largest := Quantity(0)
		for o := range c.Offers(Query{Clouds: []string{"gcp"}, Accelerator: part.name, Count: part.count, Zone: part.zone, Assemble: true}) {
			largest = max(largest, o.VCPUs)
		}
		if largest == 0 || largest > part.most {
			t.Errorf("%s: a host with %v vCPUs", part.name, largest)
		}
	}
}

func TestAssembleKeepsToTheQuery(t *testing.T) {
	c := open(t)
	for o := range c.Offers(Query{Accelerator: "V100", Renting: Spot, MaxHourly: Dollar, VCPUs: Exactly(8 * One), MemoryPerVCPU: 3 * One, Assemble: true}) {
		if o.Attachable() || o.Accelerator != "V100" || o.VCPUs != 8*One || o.Spot > Dollar || o.MemoryGiB < 24*One {
			t.Errorf("%+v at %s", *o.Machine, o.Spot)
		}
	}
	// Accelerators that come with their machine are what they are without Assemble.
	if plain, assembled := (Query{Accelerator: "L4"}), (Query{Accelerator: "L4", Assemble: true}); count(c, plain) != count(c, assembled) {
		t.Error("L4 is not sold by itself")
	}
	for _, none := range []Query{{NoAccelerator: true, Accelerator: "T4", Assemble: true}, {Accelerator: "T4", Clouds: []string{"gcp"}, Arch: "arm64", Assemble: true},
		{Accelerator: "T4", Clouds: []string{"gcp"}, Assemble: true, Where: func(*Machine) bool { return false }}} {
		if n := count(c, none); n > 0 {
			t.Errorf("%+v: %d offers", none, n)
		}
	}
	for range c.Offers(Query{Accelerator: "T4", Clouds: []string{"gcp"}, Assemble: true}) {
		break
	}
}

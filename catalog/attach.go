package catalog

import (
	"slices"
	"sort"
	"strings"
)

// Some accelerators of gcp are sold by themselves and attached to an N1 machine, which must not be too large for them.

// isHost reports whether machines of the type take accelerators.
func isHost(instanceType string) bool {
	family, ok := strings.CutPrefix(instanceType, "n1-")
	return ok && (strings.HasPrefix(family, "standard-") || strings.HasPrefix(family, "highmem-") || strings.HasPrefix(family, "highcpu-"))
}

// hostLimit is the largest host for a number of accelerators, in vCPUs and GiB (cloud.google.com/compute/docs/gpus).
type hostLimit struct{ vcpus, memory Quantity }

func (l hostLimit) allows(m *Machine) bool {
	return m.VCPUs <= l.vcpus*One && m.MemoryGiB <= l.memory*One
}

func limitFor(accelerator string, count Quantity) hostLimit {
	type ask struct {
		accelerator string
		count       Quantity
	}
	return map[ask]hostLimit{
		{"P4", 1}: {24, 156}, {"P4", 2}: {48, 312}, {"P4", 4}: {96, 624},
		{"P100", 1}: {16, 104}, {"P100", 2}: {32, 208}, {"P100", 4}: {96, 624},
		{"T4", 1}: {48, 312}, {"T4", 2}: {48, 312}, {"T4", 4}: {96, 624},
		{"V100", 1}: {12, 78}, {"V100", 2}: {24, 156}, {"V100", 4}: {48, 312}, {"V100", 8}: {96, 624},
	}[ask{accelerator, count / One}]
}

// tooLargeFor knows the exception: in three zones four P100 take smaller hosts than elsewhere.
func tooLargeFor(m *Machine, zones []string) bool {
	if m.Accelerator != "P100" || m.Count != 4*One || (hostLimit{64, 208}).allows(m) {
		return false
	}
	return slices.ContainsFunc(zones, func(z string) bool { return z == "europe-west1-b" || z == "europe-west1-d" || z == "us-east1-c" })
}

// assembled yields hosts with the accelerators that q asks for attached to them, priced together: by accelerator and
// count, then by host, then by place.
func (c *cloud) assembled(q *Query, yield func(Offer) bool) bool {
	if q.Accelerator == "" || q.NoAccelerator {
		return true
	}
	hosts := c.hosts(q)
	for _, part := range c.byAccelerator[q.Accelerator] {
		m := &c.machines[part]
		if !m.Attachable() || !q.takesCount(m.Count) {
			continue
		}
		limit := limitFor(m.Accelerator, m.Count)
		for _, host := range hosts {
			if limit.allows(&c.machines[host]) && !c.attach(q, part, host, yield) {
				return false
			}
		}
	}
	return true
}

func (c *cloud) hosts(q *Query) []int {
	var hosts []int
	for i := range c.machines {
		m := &c.machines[i]
		fits := m.Accelerator == "" && (q.InstanceType == "" || m.InstanceType == q.InstanceType) && q.takesSize(m)
		if fits && isHost(m.InstanceType) {
			hosts = append(hosts, i)
		}
	}
	return hosts
}

func (c *cloud) attach(q *Query, part, host int, yield func(Offer) bool) bool {
	m := c.machines[host]
	p := &c.machines[part]
	m.Accelerator, m.Count, m.AcceleratorGiB = p.Accelerator, p.Count, p.AcceleratorGiB
	if q.Arch != "" && q.Arch != m.Arch || q.Where != nil && !q.Where(&m) {
		return true
	}
	for row := c.firstRow[part]; row < c.firstRow[part+1]; row++ {
		o := c.offer(part, row)
		if q.Region != "" && q.Region != o.Region || q.Zone != "" && !slices.Contains(o.Zones, q.Zone) || tooLargeFor(&m, o.Zones) {
			continue
		}
		h, ok := c.hostAt(host, c.region.at(row), o.Zones)
		o.Machine, o.Price, o.Spot = &m, plus(o.Price, h.Price), plus(o.Spot, h.Spot)
		if ok && q.affords(o.Price, o.Spot) && !yield(o) {
			return false
		}
	}
	return true
}

// hostAt finds the offer of a host that is for sale in all the given zones of a region. The rows of a machine are sorted
// by region.
func (c *cloud) hostAt(host, region int, zones []string) (Offer, bool) {
	first, end := c.firstRow[host], c.firstRow[host+1]
	row := first + sort.Search(end-first, func(i int) bool { return c.region.at(first+i) >= region })
	for ; row < end && c.region.at(row) == region; row++ {
		sold := c.sets[c.zones.at(row)]
		if !slices.ContainsFunc(zones, func(z string) bool { return !slices.Contains(sold, z) }) {
			return c.offer(host, row), true
		}
	}
	return Offer{}, false
}

// plus adds prices; with one of them unknown the sum is.
func plus(a, b Money) Money {
	if a.Known() && b.Known() {
		return a + b
	}
	return Unpriced
}

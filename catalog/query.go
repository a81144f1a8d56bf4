package catalog

import (
	"iter"
	"slices"
)

// Renting is a way to rent.
type Renting int

const (
	// AnyRenting takes offers whatever prices they have.
	AnyRenting Renting = iota
	// OnDemand takes offers that have a price on demand.
	OnDemand
	// Spot takes offers that have a spot price.
	Spot
)

// countTolerance is how much a number of accelerators may differ: users write 0.33 for a third.
const countTolerance = One / 100

// Query says which offers one wants. Zero values ask for nothing in particular.
type Query struct {
	// Clouds to look at, by name, in the order in which to yield; empty is all. One that is not known offers nothing.
	Clouds []string
	// Region and Zone as the cloud names them. An offer whose zones are not known is taken for every zone of its region.
	Region, Zone string
	// InstanceType as the cloud names it.
	InstanceType string
	// Accelerator in canonical spelling; see Catalog.Canonical. NoAccelerator asks for machines without any.
	Accelerator   string
	NoAccelerator bool
	// Count of accelerators, up to a hundredth; zero is any. AtLeast takes more, too.
	Count   Quantity
	AtLeast bool
	// VCPUs and MemoryGiB are ranges. A TPU's host, whose size is not known, and an accelerator to attach, which has
	// none, are in every range.
	VCPUs, MemoryGiB Range
	// MemoryPerVCPU is what there must be at least for each vCPU.
	MemoryPerVCPU Quantity
	// Arch is "x86_64" or "arm64"; empty is any.
	Arch string
	// Renting says which price there must be, and MaxHourly how high it may be; zero is any. With AnyRenting the lower
	// of the two prices counts.
	Renting   Renting
	MaxHourly Money
	// Assemble yields hosts with the accelerator attached, at the price of both, in place of an accelerator that is sold
	// by itself. They come after the other offers of their cloud. It needs an Accelerator.
	Assemble bool
	// Where takes a machine or not, after everything above. It is called once for a machine, not for each of its offers.
	Where func(*Machine) bool

	// below is what a price must be less than; zero is any. Cheapest lowers it while it looks.
	below Money
}

// Range is a lower and an upper bound, both allowed; a Max of zero is no bound.
type Range struct{ Min, Max Quantity }

// Exactly is the range of one value.
func Exactly(q Quantity) Range { return Range{q, q} }

func (r Range) has(q Quantity) bool { return q >= r.Min && (r.Max == 0 || q <= r.Max) }

// Offers yields what meets the query: cloud after cloud, in each by instance type and then by region. The order is
// always the same.
func (c *Catalog) Offers(q Query) iter.Seq[Offer] {
	return func(yield func(Offer) bool) {
		for _, cl := range c.opened(q.Clouds) {
			if !cl.answer(&q, yield) {
				return
			}
		}
	}
}

// Machines yields the machines of which at least one offer meets the query, in the order of Offers.
func (c *Catalog) Machines(q Query) iter.Seq[*Machine] {
	return func(yield func(*Machine) bool) {
		var last *Machine
		for o := range c.Offers(q) {
			if o.Machine == last {
				continue
			}
			if last = o.Machine; !yield(last) {
				return
			}
		}
	}
}

// answer yields the cloud's offers, and reports whether more are wanted.
func (c *cloud) answer(q *Query, yield func(Offer) bool) bool {
	return c.offers(q, yield) && (!q.Assemble || c.assembled(q, yield))
}

func (c *cloud) offers(q *Query, yield func(Offer) bool) bool {
	region := -1
	if q.Region != "" {
		if region = slices.Index(c.names, q.Region); region < 0 {
			return true
		}
	}
	for i := range c.candidates(q) {
		if !q.takes(&c.machines[i]) {
			continue
		}
		for row := c.firstRow[i]; row < c.firstRow[i+1]; row++ {
			if region >= 0 && c.region.at(row) != region || !c.meets(q, row) {
				continue
			}
			if !yield(c.offer(i, row)) {
				return false
			}
		}
	}
	return true
}

// candidates are the machines that the indexes leave.
func (c *cloud) candidates(q *Query) iter.Seq[int] {
	switch {
	case q.InstanceType != "":
		return slices.Values(c.byType[q.InstanceType])
	case q.Accelerator != "":
		return slices.Values(c.byAccelerator[q.Accelerator])
	}
	return func(yield func(int) bool) {
		for i := range c.machines {
			if !yield(i) {
				return
			}
		}
	}
}

func (q *Query) takes(m *Machine) bool {
	switch {
	case q.Assemble && m.Attachable(),
		q.NoAccelerator && m.Accelerator != "",
		q.Accelerator != "" && m.Accelerator != q.Accelerator,
		!q.takesCount(m.Count),
		q.Arch != "" && m.Arch != q.Arch,
		!q.takesSize(m):
		return false
	}
	return q.Where == nil || q.Where(m)
}

func (q *Query) takesCount(n Quantity) bool {
	if q.Count == 0 {
		return true
	}
	return n >= q.Count-countTolerance && (q.AtLeast || n <= q.Count+countTolerance)
}

func (q *Query) takesSize(m *Machine) bool {
	if m.VCPUs == 0 && m.MemoryGiB == 0 {
		return true
	}
	// Divided rather than multiplied: exact all the same, and a wish that is absurdly large does not overflow.
	enough := m.VCPUs == 0 || m.MemoryGiB*One/m.VCPUs >= q.MemoryPerVCPU
	return q.VCPUs.has(m.VCPUs) && q.MemoryGiB.has(m.MemoryGiB) && enough
}

func (c *cloud) meets(q *Query, row int) bool {
	return q.affords(c.prices[c.price.at(row)], c.prices[c.spot.at(row)]) && (q.Zone == "" || c.inZone(q.Zone, row))
}

func (q *Query) affords(price, spot Money) bool {
	paid := q.Renting.of(price, spot)
	return paid.Known() && (q.MaxHourly == 0 || paid <= q.MaxHourly) && (q.below == 0 || paid < q.below)
}

// of is the price that counts.
func (r Renting) of(price, spot Money) Money {
	switch {
	case r == OnDemand, r == AnyRenting && !spot.Known():
		return price
	case r == Spot, !price.Known():
		return spot
	}
	return min(price, spot)
}

func (c *cloud) inZone(zone string, row int) bool {
	if zones := c.sets[c.zones.at(row)]; len(zones) > 0 {
		return slices.Contains(zones, zone)
	}
	zones := c.places()[c.names[c.region.at(row)]]
	return len(zones) == 0 || slices.Contains(zones, zone)
}

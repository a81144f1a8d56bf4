package catalog

import (
	"cmp"
	"slices"
	"strings"
)

// Quantity is a number of something in millionths, so that a fraction of an accelerator or of a vCPU is exact.
type Quantity int64

// One is the quantity one.
const One Quantity = microsPerUnit

// ParseQuantity reads a decimal number ("0.125").
func ParseQuantity(s string) (Quantity, error) {
	n, err := parseMicros(s)
	return Quantity(n), err
}

// QuantityOf is the quantity nearest to f.
func QuantityOf(f float64) Quantity {
	if f < 0 {
		return -QuantityOf(-f)
	}
	return Quantity(f*microsPerUnit + 0.5)
}

// Float is the quantity as a number: the one that the decimal text stands for.
func (q Quantity) Float() float64 { return float64(q) / microsPerUnit }

// String writes all digits that count ("0.125").
func (q Quantity) String() string {
	if q < 0 {
		return "-" + formatMicros(-int64(q))
	}
	return formatMicros(int64(q))
}

// Machine is what is rented: one size of one cloud, the same wherever it is sold. A cloud can sell machines that differ
// under one instance type (a marketplace does). The catalog's own are shared between all who ask: never change one.
type Machine struct {
	// Cloud is the name in infra strings ("aws").
	Cloud string
	// InstanceType as the cloud names it. It is empty for an accelerator that is attached to a machine; see Attachable.
	InstanceType string
	// Arch is "x86_64" or "arm64".
	Arch string
	// VCPUs and MemoryGiB of the machine; zero where they are not known (a TPU's host) or come with the host.
	VCPUs, MemoryGiB Quantity
	// Accelerator is the canonical name, empty without any.
	Accelerator string
	// Count of accelerators; less than one for a slice of a shared one.
	Count Quantity
	// AcceleratorGiB is the memory of one accelerator as it is sold here, or of the slice; zero where it is not known.
	AcceleratorGiB Quantity
}

// Attachable reports whether this is only an accelerator, whose price comes on top of the price of a host.
func (m *Machine) Attachable() bool { return m.InstanceType == "" }

// Offer is a machine for rent at a place.
type Offer struct {
	*Machine
	// Region as the cloud names it.
	Region string
	// Zones are the region's zones in which this price holds, sorted. Empty says that the facts do not tell: the cloud
	// has no zones, or not all is known. Shared: never change it.
	Zones []string
	// Price by the hour on demand; Spot where the cloud may take the machine away. Either can be Unpriced.
	Price, Spot Money
}

// Hourly is the price in one of the two ways of renting.
func (o Offer) Hourly(spot bool) Money {
	if spot {
		return o.Spot
	}
	return o.Price
}

// SpotDearer reports the oddity that the spot price is above the price on demand: true in some lists, by rounding or at
// a bad hour, and never a reason to rent spot.
func (o Offer) SpotDearer() bool { return o.Price.Known() && o.Spot > o.Price }

// compare is the order in which a catalog keeps and yields the offers of a cloud.
func (o Offer) compare(p Offer) int {
	return cmp.Or(o.Machine.compare(p.Machine), strings.Compare(o.Region, p.Region), slices.Compare(o.Zones, p.Zones))
}

func (m *Machine) compare(n *Machine) int {
	return cmp.Or(
		strings.Compare(m.InstanceType, n.InstanceType),
		strings.Compare(m.Accelerator, n.Accelerator),
		cmp.Compare(m.Count, n.Count),
		cmp.Compare(m.AcceleratorGiB, n.AcceleratorGiB),
		strings.Compare(m.Arch, n.Arch),
		cmp.Compare(m.VCPUs, n.VCPUs),
		cmp.Compare(m.MemoryGiB, n.MemoryGiB),
	)
}

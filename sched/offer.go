package sched

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Offer is something that can be rented: an instance type at a place, at a price.
type Offer struct {
	// Cloud is the provider's name ("local").
	Cloud string
	// Region and Zone are empty where the cloud has none.
	Region, Zone string
	// InstanceType as the cloud names it.
	InstanceType string
	// VCPUs of one machine.
	VCPUs float64
	// MemoryGiB of one machine.
	MemoryGiB float64
	// DiskGiB that one machine can have at most; 0 is unknown.
	DiskGiB int64
	// Accelerators by canonical name.
	Accelerators map[string]float64
	// Spot says that the price is for an instance that may be taken away.
	Spot bool
	// HourlyUSD of one machine.
	HourlyUSD float64
}

// Infra is the place as users write it ("aws/us-east-1").
func (o Offer) Infra() string {
	return strings.Join(slices.DeleteFunc([]string{o.Cloud, o.Region, o.Zone}, func(s string) bool { return s == "" }), "/")
}

// Exclusion tells why an offer does not do for a candidate.
type Exclusion struct {
	Offer  Offer
	Reason string
}

// InfeasibleError is returned when no offer meets any candidate.
type InfeasibleError struct {
	// Request is the first candidate as text.
	Request string
	// Exclusions has one reason for each offer, at most.
	Exclusions []Exclusion
	// Known are the clouds that were considered.
	Known []string
}

// Error says what was asked for and, for each place, why it does not do.
func (e *InfeasibleError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no resources satisfy the request %s", e.Request)
	for _, x := range e.Exclusions {
		fmt.Fprintf(&b, "; %s: %s", x.Offer.Infra(), x.Reason)
	}
	if len(e.Exclusions) == 0 {
		fmt.Fprintf(&b, ": this infra is not enabled here (enabled: %s)", cmp.Or(strings.Join(e.Known, ", "), "none"))
	}
	return b.String()
}

// Choose returns the cheapest offer that meets a candidate, and the candidate. With ordered set, an earlier candidate
// wins over a cheaper later one. Ties go to the smaller machine, then by name, so that the choice is the same everywhere.
func Choose(offers []Offer, candidates []*stixv1.Resources, ordered bool) (Offer, *stixv1.Resources, error) {
	if len(candidates) == 0 {
		candidates = []*stixv1.Resources{{}}
	}
	var best Offer
	var by *stixv1.Resources
	var out []Exclusion
	for _, c := range candidates {
		for _, o := range offers {
			if reason := Unfit(o, c); reason != "" {
				if c.Cloud == "" || c.Cloud == o.Cloud { // others were not asked for
					out = append(out, Exclusion{o, reason})
				}
				continue
			}
			if by == nil || compareOffers(o, best) < 0 {
				best, by = o, c
			}
		}
		if ordered && by != nil {
			break
		}
	}
	if by == nil {
		return Offer{}, nil, &InfeasibleError{Request: Describe(candidates[0]), Exclusions: out, Known: clouds(offers)}
	}
	return best, by, nil
}

func compareOffers(a, b Offer) int {
	return cmp.Or(
		cmp.Compare(a.HourlyUSD, b.HourlyUSD),
		cmp.Compare(a.VCPUs, b.VCPUs),
		cmp.Compare(a.MemoryGiB, b.MemoryGiB),
		cmp.Compare(a.Infra(), b.Infra()),
		cmp.Compare(a.InstanceType, b.InstanceType),
	)
}

// Unfit tells why an offer does not meet a candidate; empty when it does.
func Unfit(o Offer, r *stixv1.Resources) string {
	switch {
	case r.Cloud != "" && r.Cloud != o.Cloud:
		return fmt.Sprintf("the request is for %s", r.Cloud)
	case r.Region != "" && r.Region != o.Region:
		return fmt.Sprintf("it has no region %s", r.Region)
	case r.Zone != "" && r.Zone != o.Zone:
		return fmt.Sprintf("it has no zone %s", r.Zone)
	case r.InstanceType != "" && r.InstanceType != o.InstanceType:
		return fmt.Sprintf("it has no instance type %s", r.InstanceType)
	case r.UseSpot != nil && *r.UseSpot && !o.Spot:
		return "it has no spot instances"
	case r.DiskSize > 0 && o.DiskGiB > 0 && r.DiskSize > o.DiskGiB:
		return fmt.Sprintf("%d GB of disk are asked for, it has %d", r.DiskSize, o.DiskGiB)
	}
	if reason := unfitQuantity("vCPUs", r.Cpus, o.VCPUs, 0); reason != "" {
		return reason
	}
	if reason := unfitQuantity("GB of memory", r.Memory, o.MemoryGiB, o.VCPUs); reason != "" {
		return reason
	}
	return unfitAccelerators(r.Accelerators, o.Accelerators)
}

// unfitQuantity treats "N" as at least N: an exact size is a wish about price, and the machines of this release are owned,
// not chosen from a list.
func unfitQuantity(what string, q *stixv1.Quantity, have, cpus float64) string {
	if q == nil {
		return ""
	}
	want := q.Value
	if q.PerCpu {
		want *= cpus
	}
	if have+1e-9 < want {
		return fmt.Sprintf("%s %s are asked for, it has %s", number(want), what, number(have))
	}
	return ""
}

func unfitAccelerators(want, have map[string]float64) string {
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if have[name]+1e-9 < want[name] {
			return fmt.Sprintf("%s:%s is asked for, it has %s", name, number(want[name]), number(have[name]))
		}
	}
	return ""
}

// Describe is a candidate as users write it, for messages.
func Describe(r *stixv1.Resources) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+value)
		}
	}
	add("infra", Offer{Cloud: r.Cloud, Region: r.Region, Zone: r.Zone}.Infra())
	add("instance_type", r.InstanceType)
	add("cpus", QuantityText(r.Cpus))
	add("mem", QuantityText(r.Memory))
	names := make([]string, 0, len(r.Accelerators))
	for name := range r.Accelerators {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		add("accelerators", name+":"+number(r.Accelerators[name]))
	}
	if r.UseSpot != nil && *r.UseSpot {
		add("use_spot", "true")
	}
	if r.DiskSize > 0 {
		add("disk", strconv.FormatInt(r.DiskSize, 10))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// QuantityText is a quantity as users write it ("4+"); empty for nil.
func QuantityText(q *stixv1.Quantity) string {
	switch {
	case q == nil:
		return ""
	case q.PerCpu:
		return number(q.Value) + "x"
	case q.AtLeast:
		return number(q.Value) + "+"
	}
	return number(q.Value)
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func clouds(offers []Offer) []string {
	var out []string
	for _, o := range offers {
		out = append(out, o.Cloud)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

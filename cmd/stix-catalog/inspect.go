package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stix-run/stix/catalog"
)

// maxComplaints is how much a person reads about one trap.
const maxComplaints = 10

// inspect returns the marks of known mistakes in a table: what a fetcher got wrong at some time, or a source has wrong.
// The catalog's own check (nothing twice, no impossible price) comes on top.
func inspect(t catalog.Table, accelerators []catalog.Accelerator) error {
	known := map[string]bool{"": true}
	for _, a := range accelerators {
		known[a.Name] = true
	}
	complaints := each(t.Offers, func(o catalog.Offer) error {
		if !known[o.Accelerator] {
			return fmt.Errorf("%s has the accelerator %q, which %s has not", o.InstanceType, o.Accelerator, acceleratorFacts)
		}
		return nil
	})
	for _, trap := range traps() {
		if trap.cloud == t.Cloud || trap.cloud == "" {
			complaints = append(complaints, each(t.Offers, trap.springs)...)
		}
	}
	complaints = append(complaints, spotAbove(t)...)
	complaints = append(complaints, listPrices(t)...)
	if err := errors.Join(complaints...); err != nil {
		return fmt.Errorf("inspect the facts about %s: %w", t.Cloud, err)
	}
	return nil
}

func each(offers []catalog.Offer, problem func(catalog.Offer) error) []error {
	var found []error
	for _, o := range offers {
		if err := problem(o); err != nil && len(found) < maxComplaints {
			found = append(found, err)
		}
	}
	return found
}

// trap is a mistake that can be seen in a single offer.
type trap struct {
	// cloud that it is about; empty is every cloud.
	cloud   string
	springs func(catalog.Offer) error
}

func traps() []trap {
	return []trap{
		{"gcp", calendarModePrice},
		{"gcp", placeholderPrice},
		{"gcp", tpuIsNoTPUVM},
		{"azure", missingAzureGPU},
		{"azure", windowsPrice},
		{"", memoryIsNotOfOne},
	}
}

// calendarModePrice finds reserved capacity taken for capacity on demand, a third or half of the true price.
func calendarModePrice(o catalog.Offer) error {
	floors := map[string]catalog.Money{"A100": 29, "A100-80GB": 45, "H100": 95, "H100-MEGA": 95, "H200": 95}
	floor, bundled := floors[o.Accelerator]
	floor *= catalog.Dollar / 10
	if bundled && o.Price.Known() && !o.Attachable() && o.Price*catalog.Money(catalog.One)/catalog.Money(o.Count) < floor {
		return fmt.Errorf("%s in %s at %s is no price on demand", o.InstanceType, o.Region, o.Price)
	}
	if o.Accelerator == "B200" && o.Price.Known() {
		return fmt.Errorf("%s in %s at %s: no price on demand is public", o.InstanceType, o.Region, o.Price)
	}
	return nil
}

// placeholderPrice finds the 700 dollars that stand for "no price" of some TPUs.
func placeholderPrice(o catalog.Offer) error {
	const placeholder = 700 * catalog.Dollar
	if strings.HasPrefix(o.Accelerator, "tpu-v6e") && (o.Price == placeholder || o.Spot == placeholder) {
		return fmt.Errorf("%s in %s at %s is a placeholder", o.Accelerator, o.Region, o.Price)
	}
	return nil
}

// tpuIsNoTPUVM finds TPUs that are sold as anything but whole slices.
func tpuIsNoTPUVM(o catalog.Offer) error {
	if strings.HasPrefix(o.Accelerator, "tpu-") != (o.InstanceType == "TPU-VM") || o.InstanceType == "TPU-VM" && o.Count != catalog.One {
		return fmt.Errorf("%s of type %q in %s is no slice", o.Accelerator, o.InstanceType, o.Region)
	}
	return nil
}

// missingAzureGPU finds the sizes whose GPUs a common source leaves out or counts wrong.
func missingAzureGPU(o catalog.Offer) error {
	type gpus struct {
		name  string
		count catalog.Quantity
	}
	want, special := map[string]gpus{
		"Standard_ND128isr_NDR_GB200_v6": {"GB200", 4 * catalog.One},
		"Standard_ND96is_MI300X_v5":      {"MI300X", 8 * catalog.One},
		"Standard_NV4as_v4":              {"MI25", catalog.One / 8},
		"Standard_NV8as_v4":              {"MI25", catalog.One / 4},
		"Standard_NV16as_v4":             {"MI25", catalog.One / 2},
	}[o.InstanceType]
	if special && (o.Accelerator != want.name || o.Count != want.count) {
		return fmt.Errorf("%s has %v %q instead of %v %s", o.InstanceType, o.Count, o.Accelerator, want.count, want.name)
	}
	return nil
}

// windowsPrice finds machines with a Windows licence, of those sizes whose Linux price is the same in a whole series.
func windowsPrice(o catalog.Offer) error {
	const linux = 48_000
	if o.Region == "eastus" && strings.HasPrefix(o.InstanceType, "Standard_D") && strings.HasSuffix(o.InstanceType, "s_v5") &&
		o.MemoryGiB == 4*o.VCPUs && o.Arch == "x86_64" && !strings.ContainsAny(o.InstanceType[len("Standard_D"):len(o.InstanceType)-len("s_v5")], "abcdelp") {
		if want := linux * catalog.Money(o.VCPUs/catalog.One); o.Price != want {
			return fmt.Errorf("%s at %s instead of %s is the price with a Windows licence", o.InstanceType, o.Price, want)
		}
	}
	return nil
}

// memoryIsNotOfOne finds the memory of several accelerators, or of a whole one where a slice is sold.
func memoryIsNotOfOne(o catalog.Offer) error {
	const most = 300
	if o.AcceleratorGiB > gib(most) || o.Count > 0 && o.Count < catalog.One && o.AcceleratorGiB > gib(most)*o.Count/catalog.One {
		return fmt.Errorf("%s: one %s has no %v GiB", o.InstanceType, o.Accelerator, o.AcceleratorGiB)
	}
	return nil
}

// spotAbove finds spot prices above the price on demand, but for the few that are known to be so in the source.
func spotAbove(t catalog.Table) []error {
	allowed := []string{"p4d.24xlarge eu-central-1", "p4de.24xlarge ap-southeast-1"}
	var found []error
	for _, o := range t.Dearer() {
		if t.Cloud != "aws" || !slices.Contains(allowed, o.InstanceType+" "+o.Region) {
			found = append(found, errors.New(describe(o)))
		}
	}
	return found[:min(len(found), maxComplaints)]
}

// listPrices compares with prices that the clouds themselves publish. A table that misses one of them mixes something in.
func listPrices(t catalog.Table) []error {
	var found []error
	for _, p := range published() {
		if p.cloud == t.Cloud {
			found = append(found, p.compare(t))
		}
	}
	return found
}

package catalog

import (
	"errors"
	"fmt"
	"slices"
)

// Table is all that is known about one cloud: what a generator or a fetcher writes.
type Table struct {
	// Cloud is the name in infra strings.
	Cloud string
	// Date of the facts: a day or a month, with a remark where it is not certain.
	Date string
	// Source says where the facts come from.
	Source string
	// Note says what the facts do not tell, for people.
	Note string
	// Free says that a price of zero is meant. Without it zero is taken for a missing price, and refused.
	Free bool
	// Offers in any order.
	Offers []Offer
}

// maxComplaints bounds what one Check says about a table that is wrong from top to bottom.
const maxComplaints = 10

// place is what may be sold once only: a second row with another price would make the choice depend on the order.
type place struct {
	region, instanceType, accelerator, zone string
	count, memory                           Quantity
}

// Check returns what makes the table unfit for use: a missing name, an impossible number, a price of nothing, something
// that is sold twice at one place.
func (t Table) Check() error {
	var found []error
	complain := func(err error) {
		if err != nil && len(found) < maxComplaints {
			found = append(found, err)
		}
	}
	if t.Cloud == "" || t.Date == "" || t.Source == "" {
		complain(errors.New("the name of the cloud, the date or the source is missing"))
	}
	places := make(map[place]bool, len(t.Offers))
	for _, o := range t.Offers {
		complain(t.checkOffer(o))
		if o.Machine != nil {
			complain(occupy(places, o))
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("check table of %q: %w", t.Cloud, errors.Join(found...))
	}
	return nil
}

// Dearer lists the offers whose spot price is above the price on demand.
func (t Table) Dearer() []Offer {
	return slices.DeleteFunc(slices.Clone(t.Offers), func(o Offer) bool { return !o.SpotDearer() })
}

func (t Table) checkOffer(o Offer) error {
	switch {
	case o.Machine == nil:
		return errors.New("an offer without a machine")
	case o.Cloud != t.Cloud:
		return fmt.Errorf("%s in %s is of cloud %q", o.InstanceType, o.Region, o.Cloud)
	case o.Region == "":
		return fmt.Errorf("%s has no region", o.InstanceType)
	case o.InstanceType == "" && o.Accelerator == "":
		return fmt.Errorf("an offer in %s has neither instance type nor accelerator", o.Region)
	case (o.Accelerator == "") != (o.Count == 0):
		return fmt.Errorf("%s in %s has %v accelerators named %q", o.InstanceType, o.Region, o.Count, o.Accelerator)
	case min(o.VCPUs, o.MemoryGiB, o.Count, o.AcceleratorGiB) < 0:
		return fmt.Errorf("%s in %s has less than nothing of something", o.InstanceType, o.Region)
	case !slices.IsSorted(o.Zones):
		return fmt.Errorf("the zones of %s in %s are not sorted", o.InstanceType, o.Region)
	}
	return t.checkPrices(o)
}

func (t Table) checkPrices(o Offer) error {
	switch {
	case min(o.Price, o.Spot) < Unpriced:
		return fmt.Errorf("%s in %s has a negative price", o.InstanceType, o.Region)
	case !o.Price.Known() && !o.Spot.Known():
		return fmt.Errorf("%s in %s has no price at all", o.InstanceType, o.Region)
	case !t.Free && (o.Price == 0 || o.Spot == 0):
		return fmt.Errorf("%s in %s would be free", o.InstanceType, o.Region)
	}
	return nil
}

// occupy marks the zones of o as taken. A price for the whole region takes the zone "".
func occupy(places map[place]bool, o Offer) error {
	zones := o.Zones
	if len(zones) == 0 {
		zones = []string{""}
	}
	for _, zone := range zones {
		p := place{o.Region, o.InstanceType, o.Accelerator, zone, o.Count, o.AcceleratorGiB}
		if places[p] {
			return fmt.Errorf("%s %s in %s %s is sold twice", o.InstanceType, o.Accelerator, o.Region, zone)
		}
		places[p] = true
	}
	return nil
}

package provider

import (
	"sync"
	"time"
)

// dryness remembers what was sold out. It is a hint that orders attempts: nothing depends on it, so it is lost with the process.
type dryness struct {
	coolDown time.Duration
	now      func() time.Time

	mu    sync.Mutex
	until map[Offering]time.Time
}

func newDryness(coolDown time.Duration, now func() time.Time) *dryness {
	return &dryness{coolDown: coolDown, now: now, until: make(map[Offering]time.Time)}
}

// note remembers the failure of a launch, if it says that there is none to be had, and tells whether it did.
func (d *dryness) note(o Offering, err error) bool {
	kind, scope := Classify(err)
	if kind != KindCapacity && kind != KindQuota {
		return false
	}
	switch scope {
	case ScopeMachine, ScopeZone:
	case ScopeRegion:
		o.Zone = ""
	case ScopeCloud:
		o.Region, o.Zone = "", ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for k, t := range d.until {
		if !now.Before(t) {
			delete(d.until, k)
		}
	}
	d.until[o] = now.Add(d.coolDown)
	return true
}

// is looks for the offering itself and for the wider places that contain it.
func (d *dryness) is(o Offering) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for _, k := range widening(o) {
		if t, ok := d.until[k]; ok && now.Before(t) {
			return true
		}
	}
	return false
}

// clear forgets what a successful launch has disproved.
func (d *dryness) clear(o Offering) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range widening(o) {
		delete(d.until, k)
	}
}

func widening(o Offering) [3]Offering {
	region, cloud := o, o
	region.Zone = ""
	cloud.Region, cloud.Zone = "", ""
	return [3]Offering{o, region, cloud}
}

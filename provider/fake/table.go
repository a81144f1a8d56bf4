package fake

import (
	"maps"
	"slices"
	"time"

	"github.com/stix-run/stix/provider"
)

// table is everything the cloud knows that must outlive it: plain data, so that it can be written down as it is.
type table map[string]*row

// row is one machine. Its state is From before At and To from then on.
type row struct {
	Instance  provider.Instance // State is not used
	UserData  []byte
	Ports     []provider.PortRange
	VisibleAt time.Time
	From, To  provider.State
	At        time.Time
}

func (r *row) state(now time.Time) provider.State {
	if now.Before(r.At) {
		return r.From
	}
	return r.To
}

// move begins a transition that is over after d.
func (r *row) move(from, to provider.State, now time.Time, d time.Duration) {
	r.From, r.To, r.At = from, to, now.Add(d)
}

// view is the machine as the cloud shows it; the caller owns it.
func (r *row) view(now time.Time) provider.Instance {
	inst := r.Instance
	inst.Tags = maps.Clone(inst.Tags)
	inst.State = r.state(now)
	if inst.State.Gone() || inst.State == provider.StateStopped {
		inst.PublicIP = ""
	}
	return inst
}

// holds tells whether the machine takes up capacity.
func (r *row) holds(now time.Time) bool {
	switch r.state(now) {
	case provider.StatePending, provider.StateRunning, provider.StateStopping:
		return true
	}
	return false
}

func (r *row) offering() provider.Offering {
	i := r.Instance
	return provider.Offering{Region: i.Region, Zone: i.Zone, InstanceType: i.InstanceType, UseSpot: i.UseSpot}
}

// forget drops machines that were terminated long ago, and their tokens.
func (c *Cloud) forget(now time.Time) {
	for id, r := range c.table {
		if r.state(now) == provider.StateTerminated && now.Sub(r.At) > c.cfg.Remember {
			delete(c.table, id)
			delete(c.byToken, r.Instance.Token)
			delete(c.running, id)
		}
	}
}

// sorted returns the rows in the order of launch.
func (t table) sorted() []*row {
	rows := slices.Collect(maps.Values(t))
	slices.SortFunc(rows, func(a, b *row) int {
		if d := a.Instance.LaunchedAt.Compare(b.Instance.LaunchedAt); d != 0 {
			return d
		}
		if a.Instance.ID < b.Instance.ID {
			return -1
		}
		return 1
	})
	return rows
}

// covers tells whether offering o falls under the pattern, whose empty fields stand for anything.
func covers(pattern, o provider.Offering) bool {
	return (pattern.Region == "" || pattern.Region == o.Region) &&
		(pattern.Zone == "" || pattern.Zone == o.Zone) &&
		(pattern.InstanceType == "" || pattern.InstanceType == o.InstanceType) &&
		pattern.UseSpot == o.UseSpot
}

// shortage is the reason why the offering cannot be had, or nil.
func (c *Cloud) shortage(o provider.Offering, now time.Time) error {
	for pattern, limit := range c.capacity {
		if covers(pattern, o) && c.count(now, func(r *row) bool { return covers(pattern, r.offering()) }) >= limit {
			return &apiError{code: capacityCode(pattern), message: "there is no more " + o.InstanceType + " in " + o.Zone}
		}
	}
	if limit, ok := c.quota[o.Region]; ok {
		if c.count(now, func(r *row) bool { return r.Instance.Region == o.Region }) >= limit {
			return &apiError{code: "QuotaExceeded", message: "the account's quota in " + o.Region + " is used up"}
		}
	}
	return nil
}

func (c *Cloud) count(now time.Time, match func(*row) bool) (n int) {
	for _, r := range c.table {
		if r.holds(now) && match(r) {
			n++
		}
	}
	return n
}

func capacityCode(pattern provider.Offering) string {
	switch {
	case pattern.Zone != "":
		return "InsufficientZoneCapacity"
	case pattern.Region != "":
		return "InsufficientRegionCapacity"
	}
	return "InsufficientCapacity"
}

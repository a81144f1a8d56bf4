package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stix-run/stix/provider"
)

// Driver is one coordinator's way to the cloud.
type Driver struct {
	cloud *Cloud
}

var _ provider.Driver = (*Driver)(nil)

// call is what every call to the API does: it takes its time, may fail before its effect, and may lose the answer after it.
func (d *Driver) call(ctx context.Context, op provider.Op, effect func(now time.Time) error) error {
	c := d.cloud
	half := c.callLatency() / 2
	if err := wait(ctx, half); err != nil {
		return err
	}
	if err := c.apply(op, effect); err != nil {
		return err
	}
	if err := wait(ctx, half); err != nil {
		return err
	}
	return c.fault(op, true)
}

func (c *Cloud) apply(op provider.Op, effect func(now time.Time) error) error {
	c.mu.Lock()
	c.calls[op]++
	c.mu.Unlock()
	if err := c.fault(op, false); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	c.forget(now)
	return effect(now)
}

func (c *Cloud) callLatency() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg.Latency.Call
}

func wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Launch brings up a machine.
func (d *Driver) Launch(ctx context.Context, req provider.LaunchRequest) (inst provider.Instance, err error) {
	err = d.call(ctx, provider.OpLaunch, func(now time.Time) error {
		inst, err = d.cloud.launch(req, now)
		return err
	})
	if err != nil {
		return provider.Instance{}, err
	}
	return inst, nil
}

func (c *Cloud) launch(req provider.LaunchRequest, now time.Time) (provider.Instance, error) {
	if r, ok := c.table[c.byToken[req.Token]]; ok {
		if s := r.state(now); s.Gone() {
			return provider.Instance{}, badState(r.Instance.ID, s)
		}
		return r.view(now), nil
	}
	o, err := c.place(req, now)
	if err != nil {
		return provider.Instance{}, err
	}
	r := c.create(req, o, now)
	c.boot(r, now)
	return r.view(now), nil
}

func (c *Cloud) create(req provider.LaunchRequest, o provider.Offering, now time.Time) *row {
	c.launched++
	n := c.launched
	r := &row{
		Instance: provider.Instance{
			ID: fmt.Sprintf("i-%06d", n), Token: req.Token, Name: req.Name, Tags: maps.Clone(req.Tags),
			PrivateIP: fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255),
			PublicIP:  fmt.Sprintf("198.18.%d.%d", n>>8&255, n&255),
			Region:    o.Region, Zone: o.Zone, InstanceType: o.InstanceType, UseSpot: o.UseSpot, LaunchedAt: now,
		},
		UserData:  slices.Clone(req.UserData),
		VisibleAt: now.Add(c.cfg.ListDelay),
	}
	c.table[r.Instance.ID] = r
	c.byToken[req.Token] = r.Instance.ID
	c.running[r.Instance.ID] = &conduct{cloud: c}
	return r
}

// place completes the request to an offering that is to be had.
func (c *Cloud) place(req provider.LaunchRequest, now time.Time) (provider.Offering, error) {
	o := req.Offering()
	if err := c.refuse(req); err != nil {
		return o, err
	}
	if o.InstanceType == "" {
		o.InstanceType = c.cfg.Types[0].Name
	}
	if o.Region == "" {
		o.Region = c.cfg.Regions[0].Name
	}
	region := slices.IndexFunc(c.cfg.Regions, func(r Region) bool { return r.Name == o.Region })
	if region < 0 {
		return o, &apiError{code: "InvalidParameter", message: "no such region: " + o.Region}
	}
	zones := c.cfg.Regions[region].Zones
	if o.Zone != "" && !slices.Contains(zones, o.Zone) {
		return o, &apiError{code: "InvalidParameter", message: "no such zone: " + o.Zone}
	}
	if o.Zone != "" {
		return o, c.shortage(o, now)
	}
	var err error
	for _, o.Zone = range zones {
		if err = c.shortage(o, now); err == nil {
			return o, nil
		}
	}
	return o, err
}

func (c *Cloud) refuse(req provider.LaunchRequest) error {
	known := func(t provider.InstanceType) bool { return t.Name == req.InstanceType }
	switch {
	case req.UseSpot && c.cfg.Without.Spot:
		return unsupported("spot machines")
	case req.DiskGiB > 0 && c.cfg.Without.Disk:
		return unsupported("choosing the disk")
	case req.InstanceType != "" && !slices.ContainsFunc(c.cfg.Types, known):
		return &apiError{code: "InvalidParameter", message: "no such instance type: " + req.InstanceType}
	}
	return nil
}

func unsupported(what string) error {
	return &apiError{code: "UnsupportedOperation", message: what + ": not here"}
}

// List returns the machines that match and that the cloud's index has caught up with.
func (d *Driver) List(ctx context.Context, f provider.Filter) (all []provider.Instance, err error) {
	err = d.call(ctx, provider.OpList, func(now time.Time) error {
		all = nil
		for _, r := range d.cloud.table.sorted() {
			if !now.Before(r.VisibleAt) && f.Match(r.Instance.Tags) {
				all = append(all, r.view(now))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Start starts a stopped machine.
func (d *Driver) Start(ctx context.Context, id string) error {
	return d.change(ctx, provider.OpStart, id, func(r *row, now time.Time) error {
		c := d.cloud
		switch s := r.state(now); s {
		case provider.StatePending, provider.StateRunning:
			return nil
		case provider.StateStopped:
			if err := c.shortage(r.offering(), now); err != nil {
				return err
			}
			c.boot(r, now)
			return nil
		default:
			return badState(id, s)
		}
	})
}

// Stop stops a machine.
func (d *Driver) Stop(ctx context.Context, id string) error {
	return d.change(ctx, provider.OpStop, id, func(r *row, now time.Time) error {
		c := d.cloud
		switch s := r.state(now); s {
		case provider.StateStopping, provider.StateStopped:
			return nil
		case provider.StatePending, provider.StateRunning:
			c.halt(r, now)
			return nil
		default:
			return badState(id, s)
		}
	})
}

// change applies a change of state to a machine, on a cloud that can stop machines.
func (d *Driver) change(ctx context.Context, op provider.Op, id string, do func(*row, time.Time) error) error {
	return d.call(ctx, op, func(now time.Time) error {
		if d.cloud.cfg.Without.Stop {
			return unsupported(string(op))
		}
		r, ok := d.cloud.table[id]
		if !ok {
			return notFound(id)
		}
		return do(r, now)
	})
}

// Terminate ends a machine.
func (d *Driver) Terminate(ctx context.Context, id string) error {
	return d.call(ctx, provider.OpTerminate, func(now time.Time) error {
		if r, ok := d.cloud.table[id]; ok && !r.state(now).Gone() {
			d.cloud.end(r, now)
		}
		return nil
	})
}

// SetPorts notes which ports are open.
func (d *Driver) SetPorts(ctx context.Context, id string, ports []provider.PortRange) error {
	return d.call(ctx, provider.OpSetPorts, func(now time.Time) error {
		if d.cloud.cfg.Without.Ports {
			return unsupported("opening ports")
		}
		r, ok := d.cloud.table[id]
		if !ok || r.state(now).Gone() {
			return notFound(id)
		}
		r.Ports = slices.Clone(ports)
		return nil
	})
}

// Capabilities says which features the test left in.
func (d *Driver) Capabilities() provider.Capabilities {
	cfg := d.cloud.cfg
	caps := provider.Capabilities{
		Stop: !cfg.Without.Stop, Spot: !cfg.Without.Spot, Disk: !cfg.Without.Disk, Ports: provider.PortsManaged,
		ListDelay: cfg.ListDelay, MaxUserData: 16 << 10, Types: slices.Clone(cfg.Types),
	}
	if cfg.Without.Ports {
		caps.Ports = provider.PortsNone
	}
	return caps
}

// Check succeeds unless a fault was injected.
func (d *Driver) Check(ctx context.Context) error {
	return d.call(ctx, provider.OpCheck, func(time.Time) error { return nil })
}

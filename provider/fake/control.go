package fake

import (
	"slices"
	"time"

	"github.com/stix-run/stix/provider"
)

// fault is an injected failure of the next calls.
type fault struct {
	op    provider.Op
	kind  provider.Kind
	after bool
	left  int
}

// Fail makes the next n calls of op fail with an error of that kind, before they have any effect.
func (c *Cloud) Fail(op provider.Op, kind provider.Kind, n int) { c.inject(op, kind, n, false) }

// FailAfter makes the next n calls of op that have their effect lose the answer: the caller gets an error of that kind.
func (c *Cloud) FailAfter(op provider.Op, kind provider.Kind, n int) { c.inject(op, kind, n, true) }

func (c *Cloud) inject(op provider.Op, kind provider.Kind, n int, after bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 {
		c.faults = append(c.faults, &fault{op: op, kind: kind, after: after, left: n})
	}
}

// fault uses up one injected failure, if there is one for this call.
func (c *Cloud) fault(op provider.Op, after bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.faults, func(f *fault) bool { return f.op == op && f.after == after })
	if i < 0 {
		return nil
	}
	f := c.faults[i]
	if f.left--; f.left == 0 {
		c.faults = slices.Delete(c.faults, i, i+1)
	}
	return &apiError{code: codes[f.kind], message: "injected fault"}
}

// SetCapacity limits how many machines of the offering can run at once, now and in future; empty fields of it stand for any value,
// and a negative n lifts the limit. Machines that run already stay.
func (c *Cloud) SetCapacity(o provider.Offering, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < 0 {
		delete(c.capacity, o)
		return
	}
	c.capacity[o] = n
}

// SetQuota limits how many machines the account may run in a region; a negative n lifts the limit.
func (c *Cloud) SetQuota(region string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < 0 {
		delete(c.quota, region)
		return
	}
	c.quota[region] = n
}

// Preempt takes a machine away, as clouds do with spot machines; false if there is none to take.
func (c *Cloud) Preempt(id string) bool { return c.take(id, true) }

// Kill ends a machine behind stix's back, as a person at the cloud's console does; false if there is none.
func (c *Cloud) Kill(id string) bool { return c.take(id, false) }

func (c *Cloud) take(id string, preempted bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	r, ok := c.table[id]
	if !ok || r.state(now).Gone() {
		return false
	}
	r.Instance.Preempted = preempted
	c.end(r, now)
	return true
}

// Instances returns every machine that the cloud remembers, in the order of launch, without delay.
func (c *Cloud) Instances() []provider.Instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	var all []provider.Instance
	for _, r := range c.table.sorted() {
		all = append(all, r.view(now))
	}
	return all
}

// Live returns the machines that cost money: all that are not over or about to be.
func (c *Cloud) Live() []provider.Instance {
	return slices.DeleteFunc(c.Instances(), func(i provider.Instance) bool { return i.State.Gone() })
}

// Ports returns the open ports of a machine.
func (c *Cloud) Ports(id string) []provider.PortRange {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.table[id]; ok {
		return slices.Clone(r.Ports)
	}
	return nil
}

// Calls tells how often op was called, failed calls included.
func (c *Cloud) Calls(op provider.Op) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[op]
}

// SetCallLatency changes how long each call takes from now on.
func (c *Cloud) SetCallLatency(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cfg.Latency.Call = d
}

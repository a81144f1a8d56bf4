package fake

import (
	"slices"
	"time"

	"github.com/stix-run/stix/provider"
)

// conduct is what a machine does by itself, as opposed to what is known about it: it boots after a time and calls hooks. All of
// it is under the lock of the cloud.
type conduct struct {
	cloud    *Cloud
	timer    *time.Timer
	booted   bool
	events   []func()
	draining bool
}

// boot begins to start the machine.
func (c *Cloud) boot(r *row, now time.Time) {
	r.move(provider.StatePending, provider.StateRunning, now, c.cfg.Latency.Boot)
	m := c.running[r.Instance.ID]
	m.timer = time.AfterFunc(c.cfg.Latency.Boot, func() { m.onBoot(r) })
}

// onBoot runs when the machine has booted, unless it was stopped, ended or started anew meanwhile.
func (m *conduct) onBoot(r *row) {
	m.cloud.mu.Lock()
	defer m.cloud.mu.Unlock()
	now := m.cloud.cfg.Now()
	if m.booted || r.state(now) != provider.StateRunning {
		return
	}
	m.booted = true
	if hook := m.cloud.cfg.OnBoot; hook != nil {
		inst, data := r.view(now), slices.Clone(r.UserData)
		m.post(func() { hook(inst, data) })
	}
}

// halt begins to stop the machine: what runs on it ends at once.
func (c *Cloud) halt(r *row, now time.Time) {
	r.move(provider.StateStopping, provider.StateStopped, now, c.cfg.Latency.Stop)
	m := c.running[r.Instance.ID]
	m.stop()
	if hook := c.cfg.OnStop; hook != nil && m.booted {
		inst := r.view(now)
		m.post(func() { hook(inst) })
	}
	m.booted = false
}

// end begins to terminate the machine: what runs on it ends at once.
func (c *Cloud) end(r *row, now time.Time) {
	r.move(provider.StateTerminating, provider.StateTerminated, now, c.cfg.Latency.Terminate)
	m := c.running[r.Instance.ID]
	m.stop()
	m.booted = false
	if hook := c.cfg.OnTerminate; hook != nil {
		inst := r.view(now)
		m.post(func() { hook(inst) })
	}
}

func (m *conduct) stop() {
	if m.timer != nil {
		m.timer.Stop()
	}
}

// post has a hook called after those before it.
func (m *conduct) post(hook func()) {
	if m.cloud.closed {
		return
	}
	m.events = append(m.events, hook)
	if !m.draining {
		m.draining = true
		m.cloud.hooks.Go(m.drain)
	}
}

func (m *conduct) drain() {
	for {
		m.cloud.mu.Lock()
		if len(m.events) == 0 || m.cloud.closed {
			m.draining = false
			m.cloud.mu.Unlock()
			return
		}
		hook := m.events[0]
		m.events = m.events[1:]
		m.cloud.mu.Unlock()
		hook()
	}
}

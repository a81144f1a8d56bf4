// Package local is the cloud that needs nothing: its machines are directories on this computer, each with a supervisor process
// that keeps an agent running (package internal/machine).
//
// The table of machines is a directory that any number of coordinators of one user may share:
//
//	table.json          format, version and the table's own id
//	machines/ID/        a machine
//	addresses/IP        symbolic link to the id of the machine that has the address
//	gone/ID             mark of a machine that was terminated: its token is used up
//	building/           machines that are being made
//	trash/              machines that are being deleted
//
// Everything appears and disappears by an atomic rename or link; a machine is changed under its own lock. A machine's id follows
// from its launch token, which makes Launch idempotent with no other index.
//
// Each half-done step is finished or undone by whoever comes next: a machine without supervisor gets one from the next Launch of
// the same token or the next List that selects it; a stop or termination that was begun is in the machine's record and goes on
// with the next call, or the next List if no call is at it; what lies in building or trash, and addresses of machines that do not
// exist, are removed by List.
package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/shirou/gopsutil/v3/mem"

	"github.com/stix-run/stix/internal/machine"
	"github.com/stix-run/stix/provider"
)

// Name of the cloud, of its only region, and of the only type of machine in it.
const Name = "local"

// Config of a Driver. Zero values mean the defaults given.
type Config struct {
	// Dir is where the table lives. Created when it is needed.
	Dir string
	// AgentPath is the stix-agent program.
	AgentPath string
	// Environ is the environment of the user; the machines get what they need of it (PATH, USER, language, time zone).
	Environ []string
	// CPUs and MemoryBytes are the size of a machine; default this computer's.
	CPUs        int
	MemoryBytes int64
	// HostBoot names this boot of the computer; default machine.BootID.
	HostBoot func() (string, error)
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger takes what the driver mends; nil discards.
	Logger hclog.Logger
}

// Validate reports what is missing or makes no sense.
func (c Config) Validate() error {
	switch {
	case !filepath.IsAbs(c.Dir):
		return errors.New("local: the table needs an absolute path")
	case !filepath.IsAbs(c.AgentPath):
		return errors.New("local: the agent's program needs an absolute path")
	case c.CPUs < 0, c.MemoryBytes < 0:
		return errors.New("local: negative size of machine")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.CPUs == 0 {
		c.CPUs = runtime.NumCPU()
	}
	if c.MemoryBytes == 0 {
		if m, err := mem.VirtualMemory(); err == nil {
			c.MemoryBytes = int64(m.Total)
		}
	}
	if c.HostBoot == nil {
		c.HostBoot = machine.BootID
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Driver runs machines on this computer.
type Driver struct {
	cfg  Config
	boot string
	env  []string

	mu    sync.Mutex
	swept time.Time
	table *table         // nil until the first call
	ours  map[int]string // supervisors that we started and have to reap: process id to machine
}

var _ provider.Driver = (*Driver)(nil)

// New makes a driver. It touches nothing yet.
func New(cfg Config) (*Driver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	boot, err := cfg.HostBoot()
	if err != nil {
		return nil, err
	}
	return &Driver{cfg: cfg, boot: boot, env: machineEnv(cfg.Environ), ours: make(map[int]string)}, nil
}

// kept are the variables that a machine inherits from its user, besides LC_*.
var kept = []string{"PATH", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"}

func machineEnv(environ []string) []string {
	env := []string{}
	path := false
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "LC_") || slices.Contains(kept, name) {
			env = append(env, kv)
			path = path || name == "PATH"
		}
	}
	if !path {
		env = append(env, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")
	}
	return env
}

// Capabilities says what this cloud can do.
func (d *Driver) Capabilities() provider.Capabilities {
	return provider.Capabilities{
		Stop: true, Ports: provider.PortsShared,
		Types: []provider.InstanceType{{Name: Name, VCPUs: d.cfg.CPUs, MemoryBytes: d.cfg.MemoryBytes}},
	}
}

// SetPorts has nothing to do: every port of the machine is one of this computer.
func (d *Driver) SetPorts(ctx context.Context, id string, _ []provider.PortRange) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t, err := d.open()
	if err != nil {
		return err
	}
	r, err := t.load(id)
	if err == nil && r.State == machine.Terminating {
		return notFound(id)
	}
	return err
}

// open opens the table, and makes it first if need be.
func (d *Driver) open() (*table, error) {
	d.mu.Lock()
	t := d.table
	d.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t, err := openTable(d.cfg.Dir)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.table = t
	return t, nil
}

// instance is the machine as a cloud shows it.
func (d *Driver) instance(t *table, r machine.Record) provider.Instance {
	return provider.Instance{
		ID: r.ID, Token: r.Token, Name: r.Name, Tags: r.Tags, State: d.state(r), PrivateIP: r.IP,
		Region: Name, InstanceType: Name, LaunchedAt: r.LaunchedAt, Home: t.dir(r.ID).Home(),
	}
}

// state of the machine. One that was on when the computer went off is off.
func (d *Driver) state(r machine.Record) provider.State {
	switch r.State {
	case machine.Running:
		if r.HostBoot == d.boot {
			return provider.StateRunning
		}
		return provider.StateStopped
	case machine.Stopping:
		if r.HostBoot == d.boot {
			return provider.StateStopping
		}
		return provider.StateStopped
	case machine.Terminating:
		return provider.StateTerminating
	}
	return provider.StateStopped
}

// power gives the machine a supervisor if it has none. The caller holds its lock. A machine keeps the agent's program that it was
// started with, unless that is no more.
func (d *Driver) power(dir machine.Dir, r machine.Record) error {
	if r.Agent != d.cfg.AgentPath && !exists(r.Agent) {
		r.Agent = d.cfg.AgentPath
		if err := dir.Save(r); err != nil {
			return err
		}
	}
	pid, err := dir.Power(r)
	if pid != 0 {
		d.mu.Lock()
		d.ours[pid] = r.ID
		d.mu.Unlock()
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

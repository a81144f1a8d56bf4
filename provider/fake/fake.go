// Package fake is a cloud under test control: it sells machines that exist only in a table, and has the bad manners of real
// clouds at a switch: capacity, quota, shortage, latency, preemption, lists that lag behind, calls that fail before or after
// their effect.
//
// A [Cloud] outlives coordinators, as a real one does; each coordinator gets a [Driver] of it. All time is read from the clock of
// the Config and waited for with package time, so in a testing/synctest bubble the cloud lives in virtual time.
//
// Everything there is to know about a machine is plain data in one row of one table, and what state it is in follows from the
// row and the clock. Hooks tell a test harness when to run or end whatever stands for the machine.
package fake

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stix-run/stix/provider"
)

// Name of the cloud.
const Name = "fake"

// Config of a Cloud. The zero value is a cloud with one region, unlimited capacity, no delays and all features.
type Config struct {
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Regions and their zones; default one region "fake-1" with the zones "fake-1a" and "fake-1b".
	Regions []Region
	// Types sold in every zone; default one, "fake-small".
	Types []provider.InstanceType
	// Latency of the cloud's operations.
	Latency Latency
	// ListDelay is how long List lags behind Launch.
	ListDelay time.Duration
	// Without takes features away.
	Without Without
	// Remember is how long a terminated machine is listed and its token refused; default one hour.
	Remember time.Duration

	// OnBoot is told when a machine has started to run, first or again; OnStop when it stops, by request or preemption; OnTerminate
	// when it ends, by request, preemption or Kill. For one machine they are called in order, one at a time, on a goroutine of the
	// cloud; they may call the cloud, but not Close.
	OnBoot      func(inst provider.Instance, userData []byte)
	OnStop      func(inst provider.Instance)
	OnTerminate func(inst provider.Instance)
}

// Region is a place with zones.
type Region struct {
	Name  string
	Zones []string
}

// Latency is how long things take.
type Latency struct {
	// Call is the time of any call, half of it before its effect and half after.
	Call time.Duration
	// Boot is from launch or start until the machine runs; Stop and Terminate likewise.
	Boot      time.Duration
	Stop      time.Duration
	Terminate time.Duration
}

// Without names features that the cloud does not have.
type Without struct {
	Stop  bool
	Spot  bool
	Disk  bool
	Ports bool
}

// Validate reports what makes no sense.
func (c Config) Validate() error {
	l := c.Latency
	if l.Call < 0 || l.Boot < 0 || l.Stop < 0 || l.Terminate < 0 || c.ListDelay < 0 || c.Remember < 0 {
		return errors.New("fake: negative duration")
	}
	for _, r := range c.Regions {
		if r.Name == "" || len(r.Zones) == 0 {
			return fmt.Errorf("fake: region %q without name or zones", r.Name)
		}
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if len(c.Regions) == 0 {
		c.Regions = []Region{{Name: "fake-1", Zones: []string{"fake-1a", "fake-1b"}}}
	}
	if len(c.Types) == 0 {
		c.Types = []provider.InstanceType{{Name: "fake-small", VCPUs: 4, MemoryBytes: 16 << 30}}
	}
	if c.Remember == 0 {
		c.Remember = time.Hour
	}
	return c
}

// Cloud is the fake cloud: a table of machines and the switches of the test. All methods may be called concurrently.
type Cloud struct {
	cfg   Config
	hooks sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	table    table
	launched int // machines ever launched: numbers ids and addresses
	byToken  map[string]string
	capacity map[provider.Offering]int
	quota    map[string]int
	faults   []*fault
	calls    map[provider.Op]int
	running  map[string]*conduct
}

// New makes an empty cloud.
func New(cfg Config) (*Cloud, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Cloud{
		cfg:      cfg.withDefaults(),
		table:    make(table),
		byToken:  make(map[string]string),
		capacity: make(map[provider.Offering]int),
		quota:    make(map[string]int),
		calls:    make(map[provider.Op]int),
		running:  make(map[string]*conduct),
	}, nil
}

// Driver returns a coordinator's way to the cloud. All of them see the same machines.
func (c *Cloud) Driver() *Driver { return &Driver{cloud: c} }

// Close ends the cloud's timers and waits for hooks that are running; none is called afterwards.
func (c *Cloud) Close() {
	c.mu.Lock()
	c.closed = true
	for _, m := range c.running {
		m.stop()
	}
	c.mu.Unlock()
	c.hooks.Wait()
}

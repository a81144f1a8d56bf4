package provider

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Config of a Cloud. Zero values mean the defaults given.
type Config struct {
	// Name of the cloud, as users write it.
	Name string
	// Driver is the cloud itself.
	Driver Driver
	// Logger takes retries and dry offerings; nil discards.
	Logger hclog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Rand returns a number in [0,1) for jitter; default math/rand/v2.
	Rand func() float64
	// Attempts is how often a throttled or transient call is made in all; default 5.
	Attempts int
	// Backoff is the longest wait before the second attempt, doubled for each further one up to MaxBackoff; default 250 ms, 10 s.
	Backoff    time.Duration
	MaxBackoff time.Duration
	// Rate is how many calls a second are made in the long run, Burst how many at once; default 50 and 100.
	Rate  float64
	Burst int
	// CoolDown is how long an offering that ran dry is remembered; default 5 minutes.
	CoolDown time.Duration
}

// Validate reports what is missing or makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Name == "":
		return errors.New("provider: a cloud needs a name")
	case c.Driver == nil:
		return errors.New("provider: a cloud needs a driver")
	case c.Attempts < 0, c.Backoff < 0, c.MaxBackoff < 0, c.Rate < 0, c.Burst < 0, c.CoolDown < 0:
		return errors.New("provider: negative limit")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	c.Attempts = orDefault(c.Attempts, 5)
	c.Backoff = orDefault(c.Backoff, 250*time.Millisecond)
	c.MaxBackoff = orDefault(c.MaxBackoff, 10*time.Second)
	c.Rate = orDefault(c.Rate, 50)
	c.Burst = orDefault(c.Burst, 100)
	c.CoolDown = orDefault(c.CoolDown, 5*time.Minute)
	return c
}

func orDefault[T int | float64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Cloud is a driver with everything around it that is the same for all clouds. Its methods may be called concurrently, promise
// what [Driver] promises, and return errors of type [*Error].
type Cloud struct {
	cfg   Config
	caps  Capabilities
	limit *limiter
	dry   *dryness
}

// NewCloud wraps a driver. It calls nothing but Capabilities.
func NewCloud(cfg Config) (*Cloud, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &Cloud{
		cfg:   cfg,
		caps:  cfg.Driver.Capabilities(),
		limit: newLimiter(cfg.Rate, cfg.Burst, cfg.Now),
		dry:   newDryness(cfg.CoolDown, cfg.Now),
	}, nil
}

// Name of the cloud.
func (c *Cloud) Name() string { return c.cfg.Name }

// Capabilities says what the cloud can do.
func (c *Cloud) Capabilities() Capabilities { return c.caps }

// Dry tells whether the offering was sold out, or over quota, a short while ago: try others first.
func (c *Cloud) Dry(o Offering) bool { return c.dry.is(o) }

// Launch brings up one machine, once for each token. See [Driver].
func (c *Cloud) Launch(ctx context.Context, req LaunchRequest) (Instance, error) {
	if err := checkLaunch(req, c.caps); err != nil {
		return Instance{}, c.wrap(OpLaunch, err)
	}
	var inst Instance
	err := c.call(ctx, OpLaunch, func() (err error) {
		inst, err = c.cfg.Driver.Launch(ctx, req)
		return err
	})
	if err != nil {
		if c.dry.note(req.Offering(), err) {
			c.cfg.Logger.Info("offering ran dry", "cloud", c.cfg.Name, "region", req.Region, "zone", req.Zone,
				"type", req.InstanceType, "spot", req.UseSpot, "kind", KindOf(err).String())
		}
		return Instance{}, err
	}
	c.dry.clear(req.Offering())
	return inst, nil
}

// List returns the machines that match, ordered by id.
func (c *Cloud) List(ctx context.Context, f Filter) ([]Instance, error) {
	var all []Instance
	err := c.call(ctx, OpList, func() (err error) {
		all, err = c.cfg.Driver.List(ctx, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// Start starts a stopped machine.
func (c *Cloud) Start(ctx context.Context, id string) error {
	return c.stopStart(ctx, OpStart, id, c.cfg.Driver.Start)
}

// Stop stops a machine and keeps its disk.
func (c *Cloud) Stop(ctx context.Context, id string) error {
	return c.stopStart(ctx, OpStop, id, c.cfg.Driver.Stop)
}

func (c *Cloud) stopStart(ctx context.Context, op Op, id string, do func(context.Context, string) error) error {
	if !c.caps.Stop {
		return c.wrap(op, Errorf(KindUnsupported, ScopeCloud, "machines cannot be stopped and started here"))
	}
	if err := checkID(id); err != nil {
		return c.wrap(op, err)
	}
	return c.call(ctx, op, func() error { return do(ctx, id) })
}

// Terminate ends a machine for good; one that is gone already is success.
func (c *Cloud) Terminate(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return c.wrap(OpTerminate, err)
	}
	return c.call(ctx, OpTerminate, func() error { return c.cfg.Driver.Terminate(ctx, id) })
}

// SetPorts makes exactly these ports reachable.
func (c *Cloud) SetPorts(ctx context.Context, id string, ports []PortRange) error {
	if err := checkPorts(ports, c.caps); err != nil {
		return c.wrap(OpSetPorts, err)
	}
	if err := checkID(id); err != nil {
		return c.wrap(OpSetPorts, err)
	}
	return c.call(ctx, OpSetPorts, func() error { return c.cfg.Driver.SetPorts(ctx, id, ports) })
}

// Check tells whether the cloud can be used. It is not retried: its caller waits for the answer.
func (c *Cloud) Check(ctx context.Context) error {
	if err := c.cfg.Driver.Check(ctx); err != nil {
		return c.wrap(OpCheck, err)
	}
	return nil
}

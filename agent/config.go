package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/agent/exec"
	"github.com/stix-run/stix/agent/logs"
	"github.com/stix-run/stix/internal/bootstrap"
)

// DefaultReserve is the disk space that is left to others: no job begins with less.
const DefaultReserve = 256 << 20

// Config is what an agent needs. Dir, BootID and Logger have no default.
type Config struct {
	// Dir is the state directory of this agent alone.
	Dir string
	// Bootstrap tells where the node belongs. Nil means the file in Dir.
	Bootstrap *bootstrap.Bootstrap
	// Program is the path of the agent's program, which is its own shim. It is
	// required unless Executor is set.
	Program string
	// Home is the $HOME of jobs where the bootstrap file names none.
	Home string
	// Env of jobs, NAME=value.
	Env []string
	// BootID of the machine; a new one means that nothing that ran runs now.
	BootID string
	// Version of the program, for people.
	Version string
	// ReserveBytes is the disk space that is left to others. Zero means
	// DefaultReserve, a negative number none.
	ReserveBytes int64
	// Dial connects to the address of a coordinator. Nil means the network.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Syncer brings files to the node. Nil means from the coordinators' blobs.
	Syncer exec.Syncer
	// Executor runs the jobs and Logs has their logs. Nil means processes of this
	// machine; both are set or none.
	Executor exec.Executor
	Logs     logs.Source
	// Now tells the time. Nil means time.Now.
	Now    func() time.Time
	Logger hclog.Logger
}

// Validate returns what is missing.
func (c Config) Validate() error {
	switch {
	case c.Dir == "" || c.Logger == nil || c.BootID == "":
		return errors.New("agent: Dir, BootID and Logger are required")
	case (c.Executor == nil) != (c.Logs == nil):
		return errors.New("agent: Executor and Logs are set together")
	case c.Executor == nil && c.Program == "":
		return errors.New("agent: Program is required")
	}
	return nil
}

// complete fills in defaults and reads the bootstrap file.
func (c Config) complete() (Config, error) {
	if err := c.Validate(); err != nil {
		return c, err
	}
	if c.Bootstrap == nil {
		b, err := readBootstrap(filepath.Join(c.Dir, bootstrap.FileName))
		if err != nil {
			return c, err
		}
		c.Bootstrap = &b
	}
	if c.Bootstrap.Home != "" {
		c.Home = c.Bootstrap.Home
	}
	if !filepath.IsAbs(c.Home) {
		return c, fmt.Errorf("agent: home directory %q is not absolute", c.Home)
	}
	if c.ReserveBytes == 0 {
		c.ReserveBytes = DefaultReserve
	}
	if c.Dial == nil {
		c.Dial = dialNetwork
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func readBootstrap(path string) (bootstrap.Bootstrap, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return bootstrap.Bootstrap{}, fmt.Errorf("agent: %w", err)
	}
	return bootstrap.Decode(data)
}

// dialTimeout bounds one attempt to connect.
const dialTimeout = 5 * time.Second

func dialNetwork(ctx context.Context, address string) (net.Conn, error) {
	network, addr, err := bootstrap.SplitAddress(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return d.DialContext(ctx, network, addr)
}

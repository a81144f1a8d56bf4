package coordinator

import (
	"errors"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/coordinator/consensus"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/seal"
	"github.com/stix-run/stix/provider"
)

// Config of a Coordinator.
type Config struct {
	// ID of this coordinator among its peers, for all time.
	ID string
	// DataDir holds the log of the consensus (unless Disk is set), blobs and job logs.
	DataDir string
	// Disk replaces the consensus' part of DataDir by memory, for tests.
	Disk *consensus.MemoryDisk
	// Users and Agents are where to serve them. The coordinator closes them.
	Users, Agents net.Listener
	// AgentAddresses are told to nodes: unix:///path or host:port.
	AgentAddresses []string
	// Drivers of the clouds that machines can be rented from, by name.
	Drivers map[string]provider.Driver
	// Box seals secrets before they enter the log.
	Box *seal.Box
	// Version and Build of this program.
	Version, Build string
	// BootID of this machine's kernel: after a reboot, copies of logs are checked for bytes that never reached the disk.
	BootID string
	// PID of this process, for InfoResponse.
	PID int
	// StateDir for InfoResponse.
	StateDir string
	// NewID makes uids, NewToken secrets; both random.
	NewID, NewToken func() string
	// Intercept stands between the store and the log when set: faults, in tests.
	Intercept func(state.Proposer) state.Proposer
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger for operators.
	Logger hclog.Logger
}

// Validate returns what is missing.
func (c Config) Validate() error {
	switch {
	case c.ID == "", c.DataDir == "":
		return errors.New("coordinator: ID and DataDir are needed")
	case c.Users == nil, c.Agents == nil, len(c.AgentAddresses) == 0:
		return errors.New("coordinator: listeners for users and agents, and the agents' addresses, are needed")
	case c.Drivers == nil, c.Box == nil, c.NewID == nil, c.NewToken == nil, c.Logger == nil:
		return errors.New("coordinator: Drivers, Box, NewID, NewToken and Logger are needed")
	}
	return nil
}

package coordinator

import (
	"context"
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
	// Peers are the other coordinators; nil when this is the only one.
	Peers *Peers
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

// Peers is how this coordinator and the others reach one another. Only coordinators of the cluster can be at the other
// ends of these connections: whoever makes them sees to that.
type Peers struct {
	// Stream carries the consensus.
	Stream consensus.Stream
	// Bootstrap is the first membership, the same on each of its voters.
	Bootstrap []consensus.Server
	// Forward is where peers pass calls on. The coordinator closes it.
	Forward net.Listener
	// Dial connects to the Forward listener of the peer with that id.
	Dial func(ctx context.Context, id string) (net.Conn, error)
}

// Validate returns what is missing.
func (p Peers) Validate() error {
	if p.Stream == nil || p.Forward == nil || p.Dial == nil {
		return errors.New("coordinator: Stream, Forward and Dial of Peers are needed")
	}
	return nil
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
	if c.Peers != nil {
		return c.Peers.Validate()
	}
	return nil
}

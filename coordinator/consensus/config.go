package consensus

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Config describes a node. Zero values mean defaults unless stated otherwise.
type Config struct {
	// ID names this node among its peers, for all time. Required.
	ID string
	// FSM is the state machine. Required.
	FSM FSM
	// Dir is the directory of the log and the snapshots; it is created. Exactly one
	// of Dir and Stores is required.
	Dir string
	// Stores replaces Dir by memory that outlives the node, for tests.
	Stores *MemoryDisk
	// Stream connects the node to its peers. Nil makes it the only voter of its
	// cluster, for ever.
	Stream Stream
	// Bootstrap is the first membership, the same on each of its voters. It is
	// ignored once the node has any state. Empty means the node waits to be added
	// by a leader or, without a Stream, is its own cluster.
	Bootstrap []Server

	// Heartbeat is how long a follower waits for its leader before it stands for
	// election. Default 200 ms: disks show fsyncs of up to 190 ms, and an election
	// must not follow from one. Without a Stream 10 s: the only voter does not wait
	// for it (see Node.hasten), and a short one would wake an idle process often.
	Heartbeat time.Duration
	// Election is how long a candidate waits for votes. Default: as Heartbeat.
	Election time.Duration
	// Lease is how long a leader stays one without hearing from a quorum. Default
	// three quarters of Heartbeat.
	Lease time.Duration
	// Commit is how soon followers learn of a commit when nothing follows it.
	// Default 20 ms.
	Commit time.Duration
	// RPCTimeout bounds a request to a peer. Default 2 s.
	RPCTimeout time.Duration
	// StallLimit is how long a write to the log may take before the node gives up
	// its place. Default 1 s, and a minute without a Stream: nobody can take over
	// then, so waiting is better than ending.
	StallLimit time.Duration
	// StopTimeout bounds each step of a clean stop. Default 5 s.
	StopTimeout time.Duration

	// SnapshotInterval is how often the thresholds are looked at. Default 30 s.
	SnapshotInterval time.Duration
	// SnapshotEntries is how many entries past the last snapshot cause the next.
	// Default 8192.
	SnapshotEntries uint64
	// SnapshotBytes is how many bytes of entries cause a snapshot at once. Default
	// 64 MiB.
	SnapshotBytes int64
	// TrailingEntries is how many entries stay behind a snapshot, so that a peer
	// that was away needs no snapshot. Default 8192, and 128 without a Stream.
	TrailingEntries uint64

	// Logger receives the node's own messages and the library's, those at debug
	// level unless an operator should see them. Nil discards.
	Logger hclog.Logger
}

// Validate reports the first thing that is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.ID == "" || strings.ContainsAny(c.ID, " \t\n"):
		return fmt.Errorf("consensus: ID %q is empty or has white space", c.ID)
	case c.FSM == nil:
		return errors.New("consensus: FSM is required")
	case (c.Dir == "") == (c.Stores == nil):
		return errors.New("consensus: exactly one of Dir and Stores is required")
	}
	if err := c.validateBootstrap(); err != nil {
		return err
	}
	d := c.withDefaults()
	if err := raft.ValidateConfig(d.raftConfig(nil)); err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	return nil
}

func (c Config) validateBootstrap() error {
	if c.Stream == nil {
		for _, s := range c.Bootstrap {
			if s.ID != c.ID {
				return fmt.Errorf("consensus: bootstrap with %s needs a Stream", s.ID)
			}
		}
	}
	seen := make(map[string]bool)
	for _, s := range c.Bootstrap {
		if s.ID == "" || seen[s.ID] {
			return fmt.Errorf("consensus: bootstrap server id %q is empty or repeated", s.ID)
		}
		seen[s.ID] = true
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Stream == nil {
		defaultTo(&c.Heartbeat, 10*time.Second)
	}
	defaultTo(&c.Heartbeat, 200*time.Millisecond)
	defaultTo(&c.Election, c.Heartbeat)
	defaultTo(&c.Lease, c.Heartbeat*3/4)
	defaultTo(&c.Commit, 20*time.Millisecond)
	defaultTo(&c.RPCTimeout, 2*time.Second)
	if c.Stream == nil {
		defaultTo(&c.StallLimit, time.Minute)
	}
	defaultTo(&c.StallLimit, time.Second)
	defaultTo(&c.StopTimeout, 5*time.Second)
	defaultTo(&c.SnapshotInterval, 30*time.Second)
	defaultTo(&c.SnapshotEntries, 8192)
	defaultTo(&c.SnapshotBytes, 64<<20)
	if c.Stream == nil {
		defaultTo(&c.TrailingEntries, 128)
	}
	defaultTo(&c.TrailingEntries, 8192)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func defaultTo[T int64 | uint64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// raftConfig is what the library is started with. c has its defaults.
func (c Config) raftConfig(logger hclog.Logger) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.ID)
	rc.HeartbeatTimeout = c.Heartbeat
	rc.ElectionTimeout = c.Election
	rc.LeaderLeaseTimeout = c.Lease
	rc.CommitTimeout = c.Commit
	rc.SnapshotInterval = c.SnapshotInterval
	rc.SnapshotThreshold = c.SnapshotEntries
	rc.TrailingLogs = c.TrailingEntries
	rc.Logger = logger
	// A removed node stays up as a follower without a vote: its coordinator decides
	// what becomes of it.
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	return rc
}

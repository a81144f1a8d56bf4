package state

import (
	"context"
	"errors"

	"github.com/hashicorp/go-hclog"
)

// Proposer puts entries into the replicated log.
type Proposer interface {
	// Propose returns once the entry is committed and Store.Apply has returned for it on this replica.
	Propose(ctx context.Context, data []byte) (index uint64, err error)
}

// Config is what a Store is made from.
type Config struct {
	// Proposer puts entries into the log. Nil for a replica that never leads.
	Proposer Proposer
	// Now is the time of the leader, Unix nanoseconds. Needed to lead.
	Now func() int64
	// NewID makes uids of records. Needed to lead.
	NewID func() string
	// Classify tells what is known after Propose returned an error. Nil: nothing (Unknown).
	Classify func(error) Outcome
	// Barrier returns nil once every entry that was proposed before is applied here or will never be. It is asked after
	// an unknown outcome while the term goes on; nil: then updates wait for the entry or for the end of the term.
	Barrier func(ctx context.Context) error
	// Pause waits before an entry that was not accepted is built again; attempt counts from 1. Nil: no pause.
	Pause func(ctx context.Context, attempt int)
	// MaxRejections in a row make updates fail with ErrNotLeader. Default 8.
	MaxRejections int
	// MaxBatch is the number of updates in an entry. Default 512.
	MaxBatch int
	// MaxBatchBytes closes an entry to further updates. Default 4 MiB.
	MaxBatchBytes int
	// MaxUpdateBytes is the size of the largest update. Default 64 MiB.
	MaxUpdateBytes int
	// RingSize is the number of changes that are kept for watches. Default 65536.
	RingSize int
	// EventsPerObject is how many events an object keeps. Default 50.
	EventsPerObject int
	// Logger gets what an operator would want to see. Nil: nothing.
	Logger hclog.Logger
}

// Validate tells what is wrong with the configuration.
func (c *Config) Validate() error {
	if c.Proposer != nil && (c.Now == nil || c.NewID == nil) {
		return errors.New("state: a store with a proposer needs Now and NewID")
	}
	for _, n := range []int{c.MaxRejections, c.MaxBatch, c.MaxBatchBytes, c.MaxUpdateBytes, c.RingSize, c.EventsPerObject} {
		if n < 0 {
			return errors.New("state: a limit is negative")
		}
	}
	return nil
}

func (c *Config) setDefaults() {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.MaxRejections, 8}, {&c.MaxBatch, 512}, {&c.MaxBatchBytes, 4 << 20}, {&c.MaxUpdateBytes, 64 << 20},
		{&c.RingSize, 65536}, {&c.EventsPerObject, 50},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Classify == nil {
		c.Classify = func(error) Outcome { return Unknown }
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
}

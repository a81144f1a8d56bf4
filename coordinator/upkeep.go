package coordinator

import (
	"context"
	"iter"
	"time"

	"github.com/stix-run/stix/coordinator/state"
)

// upkeepInterval is how often old records, logs and blobs are looked for.
const upkeepInterval = time.Minute

// upkeep keeps what is kept bounded, until the term ends.
func (c *Coordinator) upkeep(ctx context.Context) error {
	tick := time.NewTicker(upkeepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, task := range []struct {
			what string
			do   func(context.Context) error
		}{{"records", c.pruneRecords}, {"blobs", c.collectBlobs}, {"logs", c.collectLogs}} {
			if err := task.do(ctx); err != nil && ctx.Err() == nil {
				c.cfg.Logger.Warn("upkeep failed", "of", task.what, "error", err)
			}
		}
	}
}

// pruneRecords drops what is old, a bounded part in each update, until nothing is left to drop.
func (c *Coordinator) pruneRecords(ctx context.Context) error {
	by := state.Actor{Subject: "coordinator/upkeep", Verb: "prune", Object: "records"}
	for {
		view := c.store.Read()
		if len(state.Retention(&view.Reader, state.Limits{}, c.cfg.Now().UnixNano())) == 0 {
			return nil
		}
		dropped := 0
		err := c.store.Update(ctx, by, func(tx *state.Tx) error {
			dropped = state.Prune(tx, state.Limits{})
			return nil
		})
		if err != nil || dropped == 0 {
			return err
		}
	}
}

func (c *Coordinator) collectBlobs(ctx context.Context) error {
	_, err := c.blobs.Collect(ctx, refs{c.store})
	return err
}

func (c *Coordinator) collectLogs(ctx context.Context) error {
	_, err := c.logs.Collect(ctx, func(jobUID string) bool {
		_, ok := c.store.Read().Jobs.Get(jobUID)
		return ok
	})
	return err
}

// refs are the blobs that records name. Part of blobs.Refs.
type refs struct{ store *state.Store }

// Roots yields the trees of tasks whose jobs may still need them.
func (r refs) Roots() iter.Seq[string] {
	return func(yield func(string) bool) {
		view := r.store.Read()
		for spec := range view.Specs.All() {
			if !needed(view, spec.Meta.Uid) {
				continue
			}
			for _, m := range spec.Mounts {
				if !yield(m.Root) {
					return
				}
			}
		}
	}
}

func needed(view *state.View, specUID string) bool {
	for job := range view.JobsOfSpec(specUID) {
		if job.EndedAt == 0 {
			return true
		}
	}
	return false
}

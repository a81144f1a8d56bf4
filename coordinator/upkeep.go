package coordinator

import (
	"context"
	"time"
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

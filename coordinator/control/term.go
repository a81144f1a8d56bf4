package control

import (
	"context"
	"fmt"
	"sync"
)

// RunTerm runs everything that belongs to a leader's term and returns when all of
// it has returned: then, and not before, the next term may begin. ctx is the
// term's. The first that returns an error ends the term for the others, and that
// error is returned; one that returns nil early is not missed.
func RunTerm(ctx context.Context, term uint64, runners ...Runner) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for _, r := range runners {
		wg.Go(func() {
			if err := r.Run(ctx); err != nil {
				once.Do(func() { first = fmt.Errorf("term %d: %w", term, err) })
				cancel(err)
			}
		})
	}
	wg.Wait()
	return first
}

package machine

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// look again this often while processes are ending
	softLook = 20 * time.Millisecond
	hardLook = 5 * time.Millisecond
	// stubborn is how long SIGKILL may take: a process in the middle of I/O that does not come back cannot be ended at all.
	stubborn = 30 * time.Second
)

// killMarked ends every process that has the machine's mark, with their descendants: SIGTERM, and SIGKILL after the grace.
func killMarked(ctx context.Context, id string) error {
	return ending{crew: crew{marker: EnvMachine + "=" + id}}.run(ctx)
}

// ending is the end of a machine's processes.
type ending struct {
	crew crew
	// ended receives a value when a child has ended; nil if they are nobody's business.
	ended <-chan struct{}
	// reap waits for children that have ended and tells whether there are others; nil if there are none.
	reap func() bool
}

func (e ending) run(ctx context.Context) error {
	for _, p := range e.crew.members() {
		p.signal(unix.SIGTERM)
	}
	over, err := e.wait(ctx, time.Now().Add(grace), softLook, func() {})
	if over || err != nil {
		return err
	}
	over, err = e.wait(ctx, time.Now().Add(stubborn), hardLook, e.kill)
	if over || err != nil {
		return err
	}
	return fmt.Errorf("%d processes do not end", len(e.crew.members()))
}

// wait looks until all have ended, or until the deadline, and does something between two looks.
func (e ending) wait(ctx context.Context, deadline time.Time, every time.Duration, do func()) (bool, error) {
	for {
		if e.over() {
			return true, nil
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		do()
		if err := e.doze(ctx, every); err != nil {
			return false, err
		}
	}
}

func (e ending) doze(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-e.ended:
	case <-t.C:
	}
	return nil
}

// over tells whether nothing is left. It looks twice, because a process that is being started can be missed once.
//
//lint:ignore SA4000 the second look is the point
func (e ending) over() bool { return e.clear() && e.clear() }

func (e ending) clear() bool { return e.alone() && len(e.crew.members()) == 0 }

func (e ending) alone() bool { return e.reap == nil || !e.reap() }

// kill kills what it finds. Processes that start others and end could keep ahead of a look at all processes, but not of one at
// our own children, whom they become.
func (e ending) kill() {
	for range 100 {
		if e.reap == nil || !e.reap() {
			break
		}
		pids := children()
		for _, pid := range pids { // not reaped by anybody but us, so still theirs
			unix.Kill(pid, unix.SIGKILL)
		}
		if len(pids) == 0 {
			break
		}
	}
	for _, p := range e.crew.members() {
		p.signal(unix.SIGKILL)
	}
}

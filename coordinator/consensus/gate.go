package consensus

import (
	"context"
	"sync"
)

// gate counts the calls that wait inside the library, so that a stop can wait for
// them. The library drops futures when it is shut down with some of them queued:
// who waits on those waits for ever.
type gate struct {
	mu      sync.Mutex
	stopped bool
	pauses  int
	running int
	idle    chan struct{} // closed when running falls to zero; nil unless awaited
}

// enter admits a call, or says why not. Each success needs one leave.
func (g *gate) enter(write bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.stopped:
		return ErrNotLeader
	case write && g.pauses > 0:
		return ErrRejected
	}
	g.running++
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	if g.running == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// pause refuses writes until resume. Pauses nest.
func (g *gate) pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pauses++
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pauses--
}

// stop refuses everything from now on.
func (g *gate) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
}

// wait returns when no call is inside, or with an error when ctx is done or giveUp
// is closed.
func (g *gate) wait(ctx context.Context, giveUp <-chan struct{}) error {
	g.mu.Lock()
	if g.running == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-giveUp:
		return ErrStopped
	}
}

package integration

import (
	"context"
	"sync"

	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/provider"
)

// steps counts the coordinator's effects: before and after each entry of the log and each call to the cloud there is
// one step. At the step that it is armed for, the coordinator stands still, as if the processor had stopped, until the
// test has killed it.
type steps struct {
	// reached gets the host that stands still at the armed step.
	reached chan string

	// mu guards the fields below.
	mu    sync.Mutex
	n     int
	armed int
	// names of the steps that were passed.
	names []string
}

func newSteps(armed int) *steps { return &steps{armed: armed, reached: make(chan string, 1)} }

func (s *steps) disarm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = 0
}

func (s *steps) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *steps) name(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 1 || n > len(s.names) {
		return "none"
	}
	return s.names[n-1]
}

// pass passes one step; false when the coordinator stands still here and ctx has ended.
func (s *steps) pass(ctx context.Context, host, name string) bool {
	s.mu.Lock()
	s.n++
	s.names = append(s.names, name)
	here := s.n == s.armed
	s.mu.Unlock()
	if !here {
		return true
	}
	s.reached <- host
	<-ctx.Done()
	return false
}

// around does something between two steps.
func (s *steps) around(ctx context.Context, host, name string, do func() error) error {
	if !s.pass(ctx, host, "before "+name) {
		return errCrashed
	}
	err := do()
	if !s.pass(ctx, host, "after "+name) {
		return errCrashed
	}
	return err
}

// proposer puts steps around the entries of the log.
func (s *steps) proposer(host string, p state.Proposer) state.Proposer {
	return &stepProposer{s, host, p}
}

type stepProposer struct {
	steps *steps
	host  string
	state.Proposer
}

func (p *stepProposer) Propose(ctx context.Context, data []byte) (index uint64, err error) {
	err = p.steps.around(ctx, p.host, "entry", func() (err error) {
		index, err = p.Proposer.Propose(ctx, data)
		return err
	})
	return index, err
}

// driver puts steps around the calls to the cloud that have an effect.
func (s *steps) driver(host string, d provider.Driver) provider.Driver {
	return &stepDriver{d, s, host}
}

type stepDriver struct {
	provider.Driver
	steps *steps
	host  string
}

func (d *stepDriver) Launch(ctx context.Context, req provider.LaunchRequest) (inst provider.Instance, err error) {
	err = d.steps.around(ctx, d.host, "launch", func() (err error) {
		inst, err = d.Driver.Launch(ctx, req)
		return err
	})
	return inst, err
}

func (d *stepDriver) Terminate(ctx context.Context, id string) error {
	return d.steps.around(ctx, d.host, "terminate", func() error { return d.Driver.Terminate(ctx, id) })
}

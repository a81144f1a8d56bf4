package exec

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Config is what a Worker needs.
type Config struct {
	Executor Executor
	Journal  Journal
	Syncer   Syncer
	Observer Observer
	// Home is the $HOME of the jobs.
	Home string
	// Rebooted says that the machine was started anew since the journal was used
	// last: nothing that ran then runs now.
	Rebooted bool
	// Adopted is called when what ran before is taken over: the loss of what a reboot
	// ended is on record then. Nil means that nobody wants to know.
	Adopted func() error
	// Reserve returns an error when there is too little disk to begin a job. Nil
	// means no check.
	Reserve func() error
	// Idle is called when there has been nothing new to do for a while. Nil means that
	// nobody wants to know.
	Idle func()
	// Now tells the time. Nil means time.Now.
	Now    func() time.Time
	Logger hclog.Logger
}

// idleAfter is how long nothing new is to do before a worker is idle.
const idleAfter = 2 * time.Second

// Validate returns what is missing.
func (c Config) Validate() error {
	if c.Executor == nil || c.Journal == nil || c.Syncer == nil || c.Observer == nil || c.Logger == nil || c.Home == "" {
		return errors.New("exec: Executor, Journal, Syncer, Observer, Logger and Home are required")
	}
	return nil
}

// Worker carries out orders.
type Worker struct {
	config Config
	inbox  chan struct{} // a token when queue is not empty

	mu          sync.Mutex
	queue       []instruction
	assignments map[string]*assignment
}

// instruction is one thing that the coordinator said.
type instruction struct {
	orders *stixv1.Orders
	forget []string
}

// New returns a Worker.
func New(c Config) (*Worker, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Reserve == nil {
		c.Reserve = func() error { return nil }
	}
	if c.Idle == nil {
		c.Idle = func() {}
	}
	if c.Adopted == nil {
		c.Adopted = func() error { return nil }
	}
	return &Worker{config: c, inbox: make(chan struct{}, 1), assignments: map[string]*assignment{}}, nil
}

// Orders takes orders in; they are carried out while Run runs.
func (w *Worker) Orders(o *stixv1.Orders) { w.enqueue(instruction{orders: o}) }

// Forget drops assignments whose result and log are safe.
func (w *Worker) Forget(uids []string) { w.enqueue(instruction{forget: uids}) }

func (w *Worker) enqueue(i instruction) {
	w.mu.Lock()
	w.queue = append(w.queue, i)
	w.mu.Unlock()
	select {
	case w.inbox <- struct{}{}:
	default:
	}
}

// Order returns what is remembered of the order of an assignment.
func (w *Worker) Order(uid string) (*stixv1.Order, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.assignments[uid]
	if !ok {
		return nil, false
	}
	return a.job.Order, true
}

// Run adopts what ran before and carries out orders until ctx ends, or with the
// error when nothing can be put on record any more. Jobs run on after it. It is
// called once.
func (w *Worker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	crew := &crew{fail: cancel}
	defer crew.wg.Wait()
	defer cancel(nil)
	if err := w.adopt(ctx, crew); err != nil {
		return fmt.Errorf("adopt jobs: %w", err)
	}
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return crew.cause(ctx)
		case <-idle.C:
			w.config.Idle()
		case <-w.inbox:
			idle.Reset(idleAfter)
			w.mu.Lock()
			queue := w.queue
			w.queue = nil
			w.mu.Unlock()
			if err := w.carryOut(ctx, crew, queue); err != nil {
				return err
			}
		}
	}
}

// crew is the goroutines of the assignments.
type crew struct {
	wg   sync.WaitGroup
	fail context.CancelCauseFunc
}

// errFailed marks a failure within a goroutine of the crew.
var errFailed = errors.New("assignment could not be put on record")

func (c *crew) start(run func() error) {
	c.wg.Go(func() {
		if err := run(); err != nil {
			c.fail(errors.Join(errFailed, err))
		}
	})
}

// cause returns the failure that ended ctx, nil when it ended from outside.
func (c *crew) cause(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, errFailed) {
		return err
	}
	return nil
}

// adopt takes over what the journal knows.
func (w *Worker) adopt(ctx context.Context, c *crew) error {
	err := w.config.Journal.Each(func(o *stixv1.Order, s *stixv1.AssignmentStatus) error {
		w.assignments[o.GetAssignmentUid()] = newAssignment(w, o, s)
		return nil
	})
	if err != nil {
		return err
	}
	keep := func(uid string) bool { return w.assignments[uid] != nil }
	if err := w.config.Executor.Sweep(ctx, keep); err != nil {
		w.config.Logger.Warn("sweep of earlier jobs", "error", err)
	}
	for _, a := range w.assignments {
		if err := w.resume(ctx, c, a); err != nil {
			return err
		}
	}
	return w.config.Adopted()
}

func (w *Worker) resume(ctx context.Context, c *crew, a *assignment) error {
	switch {
	case a.state() == stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED:
		w.config.Observer.Finish(a.uid(), a.current().GetLogBytes())
	case w.config.Rebooted:
		return a.bury(ctx)
	default:
		c.start(func() error { return a.resume(ctx) })
	}
	return nil
}

// carryOut puts all that arrived on record in one commit. New jobs are prepared
// meanwhile, and started after it.
func (w *Worker) carryOut(ctx context.Context, c *crew, queue []instruction) error {
	p := &plan{worker: w, fresh: map[string]*assignment{}}
	for _, i := range queue {
		p.add(i)
	}
	for _, a := range p.fresh {
		if a.state() != stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED {
			c.start(func() error { return a.begin(ctx) })
		}
	}
	if err := p.record(); err != nil {
		return err // ctx of the crew ends with Run
	}
	for _, a := range p.fresh {
		w.add(a)
		close(a.accepted)
	}
	p.finish()
	return nil
}

func (w *Worker) add(a *assignment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.assignments[a.uid()] = a
}

func (w *Worker) drop(uid string) {
	w.mu.Lock()
	delete(w.assignments, uid)
	w.mu.Unlock()
	w.config.Observer.Forget(uid)
	if err := w.config.Executor.Remove(uid); err != nil {
		w.config.Logger.Warn("remove what is left of a job", "assignment", uid, "error", err)
	}
}

// strip returns an order without what is not needed any more once the job is over,
// above all its secrets.
func strip(o *stixv1.Order) *stixv1.Order {
	s := proto.CloneOf(o)
	s.Script, s.Envs, s.Unset, s.Mounts = "", nil, nil, nil
	return s
}

package exec

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// assignment is one order and how far it got. One goroutine carries it out.
type assignment struct {
	worker   *Worker
	job      Job
	accepted chan struct{} // closed when the order is on record
	killed   chan struct{} // closed when its end is wanted
	orphan   atomic.Bool   // to be forgotten at its end

	mu     sync.Mutex
	status *stixv1.AssignmentStatus // replaced, never changed
	grace  time.Duration            // set before killed is closed
	dying  bool
}

func newAssignment(w *Worker, o *stixv1.Order, s *stixv1.AssignmentStatus) *assignment {
	return &assignment{
		worker:   w,
		job:      Job{Order: o, Home: w.config.Home},
		accepted: make(chan struct{}),
		killed:   make(chan struct{}),
		status:   s,
	}
}

func (a *assignment) uid() string { return a.job.UID() }

func (a *assignment) current() *stixv1.AssignmentStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

func (a *assignment) state() stixv1.AssignmentState { return a.current().GetState() }

// kill asks for the end of the job. Only the first call counts.
func (a *assignment) kill(grace time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dying {
		return
	}
	a.dying, a.grace = true, grace
	close(a.killed)
}

// end sets the status of an assignment that nobody else knows yet.
func (a *assignment) end(r Result) { a.status = a.exited(r, Started{}) }

func (a *assignment) exited(r Result, s Started) *stixv1.AssignmentStatus {
	st := proto.CloneOf(a.status)
	st.State = stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED
	st.Outcome, st.ExitCode, st.Message = r.Outcome, r.ExitCode, r.Message
	st.EndedAt, st.LogBytes = r.At, r.LogBytes
	if s.PID != 0 {
		st.Pid, st.StartedAt = s.PID, s.At
	}
	return st
}

// untilKilled returns a context that also ends when the end of the job is wanted.
// The function returned releases it.
func (a *assignment) untilKilled(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-a.killed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(); <-done }
}

// begin carries out a new order. While the order is put on record it prepares the
// job, unless files must be fetched first.
func (a *assignment) begin(ctx context.Context) error {
	var err error
	if len(a.job.Order.GetMounts()) == 0 {
		err = a.worker.config.Executor.Prepare(ctx, a.job)
	}
	select {
	case <-a.accepted:
	case <-ctx.Done():
		return nil
	}
	if err != nil {
		return a.finish(ctx, a.failed(err), Started{})
	}
	return a.start(ctx)
}

// resume carries on with an order of an earlier agent.
func (a *assignment) resume(ctx context.Context) error {
	proc, ok, err := a.worker.config.Executor.Adopt(ctx, a.job)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return a.finish(ctx, lost(a.now(), err.Error()), Started{})
	case ok:
		return a.watch(ctx, proc)
	case a.state() == stixv1.AssignmentState_ASSIGNMENT_STATE_RUNNING:
		return a.finish(ctx, lost(a.now(), "the job's directory is gone"), Started{})
	default:
		return a.start(ctx)
	}
}

// bury puts the end of what a reboot ended on record. A result that was written
// before it is as good as any. Whether a job that left none had begun, nobody
// knows, so it is not started again. It does not wait long: nothing runs.
func (a *assignment) bury(ctx context.Context) error {
	r, s := lost(a.now(), "machine was restarted"), Started{}
	proc, ok, err := a.worker.config.Executor.Adopt(ctx, a.job)
	if err == nil && ok {
		proc.Kill(0)
		found, err := proc.Wait(ctx)
		if err != nil {
			return nil // ctx ended
		}
		r, s = found, proc.Started()
	}
	return a.finish(ctx, r, s)
}

func (a *assignment) now() int64 { return a.worker.config.Now().UnixNano() }

// failed is the result of a job that could not be started: because of err, or
// because it was to be killed, which ends what Start waits for.
func (a *assignment) failed(err error) Result {
	select {
	case <-a.killed:
		return killed(a.now())
	default:
		return notStarted(a.now(), err)
	}
}

// start brings the files, then starts the job. A kill ends either.
func (a *assignment) start(ctx context.Context) error {
	proc, err := a.launch(ctx)
	if err != nil {
		return a.finish(ctx, a.failed(err), Started{})
	}
	return a.watch(ctx, proc)
}

func (a *assignment) launch(ctx context.Context) (Process, error) {
	ctx, release := a.untilKilled(ctx)
	defer release()
	if mounts := a.job.Order.GetMounts(); len(mounts) > 0 {
		if err := a.worker.config.Syncer.Sync(ctx, mounts, a.job.Home); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return a.worker.config.Executor.Start(ctx, a.job)
}

// watch reports that the job runs, and how it ends.
func (a *assignment) watch(ctx context.Context, proc Process) error {
	started := proc.Started()
	if started.PID != 0 && a.state() != stixv1.AssignmentState_ASSIGNMENT_STATE_RUNNING {
		a.worker.config.Observer.Started(a.uid())
		if err := a.running(started); err != nil {
			return err
		}
	}
	r, err := a.wait(ctx, proc)
	if err != nil {
		return nil // the agent ends, the job runs on
	}
	return a.finish(ctx, r, proc.Started())
}

func (a *assignment) wait(ctx context.Context, proc Process) (Result, error) {
	until, release := a.untilKilled(ctx)
	r, err := proc.Wait(until)
	release()
	if err == nil || ctx.Err() != nil {
		return r, err
	}
	a.mu.Lock()
	grace := a.grace
	a.mu.Unlock()
	proc.Kill(grace)
	return proc.Wait(ctx)
}

func (a *assignment) running(s Started) error {
	a.mu.Lock()
	st := proto.CloneOf(a.status)
	a.mu.Unlock()
	st.State = stixv1.AssignmentState_ASSIGNMENT_STATE_RUNNING
	st.Pid, st.StartedAt = s.PID, s.At
	return a.record(nil, st)
}

// finish puts the end of the job on record. If the agent ends right before, the
// next one finds the same result. When it is the agent that ends, a job that did
// not start is none of the results: the next agent starts it.
func (a *assignment) finish(ctx context.Context, r Result, s Started) error {
	if r.Outcome == stixv1.Outcome_OUTCOME_NOT_STARTED && ctx.Err() != nil {
		return nil
	}
	if r.Outcome == stixv1.Outcome_OUTCOME_NOT_STARTED || r.Outcome == stixv1.Outcome_OUTCOME_LOST {
		a.worker.config.Logger.Warn("job did not end by itself", "assignment", a.uid(), "outcome", r.Outcome, "message", r.Message)
	}
	if a.orphan.Load() {
		if err := a.worker.config.Journal.Record(nil, nil, []string{a.uid()}); err != nil {
			return err
		}
		a.worker.drop(a.uid())
		return nil
	}
	a.mu.Lock()
	st := a.exited(r, s)
	a.mu.Unlock()
	if err := a.record([]*stixv1.Order{strip(a.job.Order)}, st); err != nil {
		return err
	}
	a.worker.config.Observer.Finish(a.uid(), r.LogBytes)
	return nil
}

func (a *assignment) record(orders []*stixv1.Order, st *stixv1.AssignmentStatus) error {
	if err := a.worker.config.Journal.Record(orders, []*stixv1.AssignmentStatus{st}, nil); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = st
	return nil
}

package exec

import (
	"context"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Job is what an Executor is to run.
type Job struct {
	// Order as it came, or what the journal kept of it.
	Order *stixv1.Order
	// Home is the $HOME of the job.
	Home string
}

// UID returns the uid of the assignment.
func (j Job) UID() string { return j.Order.GetAssignmentUid() }

// Started tells of the user's shell.
type Started struct {
	PID int64
	At  int64 // Unix nanoseconds
}

// Result tells how a job ended.
type Result struct {
	Outcome  stixv1.Outcome
	ExitCode int32
	Message  string
	At       int64 // Unix nanoseconds
	LogBytes int64
}

// Executor runs jobs, each identified by the uid of its assignment. Its methods
// may be called from several goroutines, for one job from one at a time.
type Executor interface {
	// Prepare makes ready what Start will need. Nothing of the user's runs, and the
	// order may not be on record yet: if the agent ends now, no trace that matters
	// is left.
	Prepare(ctx context.Context, j Job) error
	// Start runs the job, whether or not Prepare was called, and returns when the
	// user's shell runs or the job is over already. An error means that nothing of
	// the user's ran.
	Start(ctx context.Context, j Job) (Process, error)
	// Adopt returns what a Start of an earlier agent began, running or over, or
	// false when nothing of the user's ever ran. A job that was lost is a Process
	// that is over.
	Adopt(ctx context.Context, j Job) (Process, bool, error)
	// Remove forgets a job that is over and removes what was kept of it, save its
	// log.
	Remove(uid string) error
	// Sweep removes what is there of jobs that are not in keep.
	Sweep(ctx context.Context, keep func(uid string) bool) error
}

// Process is a job that was started.
type Process interface {
	// Started tells of the user's shell. It is zero for a job that could not start.
	Started() Started
	// Wait returns when the job is over, or with an error when ctx ends.
	Wait(ctx context.Context) (Result, error)
	// Kill asks for the end of the job: SIGTERM, and after grace SIGKILL to all it
	// started. It returns at once; Wait tells when it is over.
	Kill(grace time.Duration)
}

// Syncer brings the files of a job to the node.
type Syncer interface {
	Sync(ctx context.Context, mounts []*stixv1.Mount, home string) error
}

// Journal is the memory of a Worker, see package agent/journal.
type Journal interface {
	// Record puts orders and statuses on record and forgets assignments, all or
	// nothing, and returns when that is durable.
	Record(orders []*stixv1.Order, statuses []*stixv1.AssignmentStatus, forget []string) error
	// Each calls fn for all that is on record. fn may not call Record.
	Each(fn func(*stixv1.Order, *stixv1.AssignmentStatus) error) error
}

// Observer is told what becomes of the logs.
type Observer interface {
	// Started tells that the log of an assignment exists.
	Started(uid string)
	// Finish tells the final size of a log.
	Finish(uid string, size int64)
	// Forget tells that a log is wanted no more.
	Forget(uid string)
}

// codeKilled is the exit code of what was killed on request.
const codeKilled = 137

func killed(at int64) Result {
	return Result{Outcome: stixv1.Outcome_OUTCOME_KILLED, ExitCode: codeKilled, At: at}
}

func notStarted(at int64, err error) Result {
	return Result{Outcome: stixv1.Outcome_OUTCOME_NOT_STARTED, ExitCode: 1, Message: err.Error(), At: at}
}

func lost(at int64, message string) Result {
	return Result{Outcome: stixv1.Outcome_OUTCOME_LOST, ExitCode: codeKilled, Message: message, At: at}
}

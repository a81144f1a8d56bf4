// Package fakeexec is an exec.Executor for tests in virtual time: a machine in
// memory whose jobs are goroutines that interpret a tiny language. As under real
// shims, jobs outlive the agents that started them and are adopted by the next.
//
// A script is a list of commands, one a line or separated by ";":
//
//	print TEXT, echo TEXT   write a line; $NAME and ${NAME} are replaced
//	sleep 3s                wait (a bare number is seconds)
//	exit N                  end; the end of the script is exit 0
//	hang                    wait until killed
//	stubborn                from here on SIGTERM is ignored: a kill takes its grace
//	crash                   the shim dies: the assignment is lost
//	fill N                  write N bytes
//
// Anything else is "command not found", exit code 127 unless a command follows.
package fakeexec

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stix-run/stix/agent/exec"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Run is one start of a job.
type Run struct {
	UID    string
	Order  *stixv1.Order
	At     time.Time
	Number int // which start of the machine this was, from 1
}

// Machine is a node. Its methods may be called from any goroutine of its bubble.
type Machine struct {
	mu      sync.Mutex
	jobs    map[string]*job
	runs    []Run
	refuse  map[string]error
	pid     int64
	running sync.WaitGroup
}

// NewMachine returns a machine on which nothing runs.
func NewMachine() *Machine {
	return &Machine{jobs: map[string]*job{}, refuse: map[string]error{}, pid: 1000}
}

// Runs returns every start so far, in order.
func (m *Machine) Runs() []Run {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Run(nil), m.runs...)
}

// Alive returns the uids of the jobs that run now.
func (m *Machine) Alive() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var uids []string
	for uid, j := range m.jobs {
		if j.alive() {
			uids = append(uids, uid)
		}
	}
	return uids
}

// Refuse makes the start of jobs fail whose uid or script is what, until err is nil.
func (m *Machine) Refuse(what string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse[what] = err
}

// Reboot ends all jobs without a trace, as a power cut does, and waits for their
// goroutines. No agent may run meanwhile.
func (m *Machine) Reboot() {
	m.mu.Lock()
	for uid, j := range m.jobs {
		if j.alive() {
			j.vanish()
			delete(m.jobs, uid)
		}
	}
	m.mu.Unlock()
	m.running.Wait()
}

// Prepare implements exec.Executor.
func (m *Machine) Prepare(_ context.Context, j exec.Job) error {
	_, err := exec.LogPath(j.Home, j.Order)
	return err
}

// Start implements exec.Executor.
func (m *Machine) Start(ctx context.Context, j exec.Job) (exec.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range []string{j.UID(), j.Order.GetScript()} {
		if err := m.refuse[key]; err != nil {
			return nil, err
		}
	}
	if old := m.jobs[j.UID()]; old != nil && old.began {
		return nil, fmt.Errorf("job %s was started before", j.UID())
	}
	m.pid++
	job := m.job(j.UID())
	job.begin(m.pid)
	m.runs = append(m.runs, Run{UID: j.UID(), Order: j.Order, At: time.Now(), Number: len(m.runs) + 1})
	m.running.Go(func() { job.run(j.Order) })
	return process{job}, nil
}

// job returns the job of a uid, made on first sight: its log may be read before it
// starts. Callers hold mu.
func (m *Machine) job(uid string) *job {
	if m.jobs[uid] == nil {
		m.jobs[uid] = newJob()
	}
	return m.jobs[uid]
}

// Adopt implements exec.Executor.
func (m *Machine) Adopt(_ context.Context, j exec.Job) (exec.Process, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	job := m.jobs[j.UID()]
	if job == nil || !job.began {
		return nil, false, nil
	}
	return process{job}, true, nil
}

// Remove implements exec.Executor.
func (m *Machine) Remove(uid string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if j := m.jobs[uid]; j != nil && j.alive() {
		return errors.New("job still runs")
	}
	delete(m.jobs, uid)
	return nil
}

// Sweep implements exec.Executor.
func (m *Machine) Sweep(_ context.Context, keep func(string) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for uid, j := range m.jobs {
		if !keep(uid) {
			j.vanish()
			delete(m.jobs, uid)
		}
	}
	return nil
}

// OpenLog returns a reader of a job's log, also before the job starts. It is what
// package agent/logs calls a Log.
func (m *Machine) OpenLog(uid string) (*Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.job(uid).open(), nil
}

// Output returns what a job has written.
func (m *Machine) Output(uid string) string {
	m.mu.Lock()
	j := m.jobs[uid]
	m.mu.Unlock()
	if j == nil {
		return ""
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.output)
}

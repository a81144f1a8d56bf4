package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/stix-run/stix/internal/backoff"
	"github.com/stix-run/stix/internal/logcap"
)

const (
	// steady is how long an agent must have run for its end to count as the first.
	steady = 10 * time.Second
	// glance is how often the supervisor looks whether its directory is still there and its log small enough.
	glance = 15 * time.Second
	// strangerLook is how often it looks whether an agent that it did not start has ended.
	strangerLook = 200 * time.Millisecond
)

// Supervise is the supervisor of the machine in dir: it keeps an agent running until ctx ends, it gets SIGTERM, or the machine is
// not to run any more (stopped or terminated in its record, or removed), and then ends all processes of the machine. It returns
// nil at once if there is a supervisor already. It takes over the whole process: orphans become its children, and it reaps all
// children. It logs to standard error.
func Supervise(ctx context.Context, dir string) error {
	d := Dir(dir)
	lock, err := d.takeSupervision()
	if err != nil || lock == nil {
		return err
	}
	defer unlock(lock)
	ctx, stop := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer stop()
	r, err := d.Load()
	if err != nil {
		return err
	}
	if err := adoptOrphans(); err != nil {
		return fmt.Errorf("become the parent of orphans: %w", err)
	}
	s := &supervisor{
		dir: d, record: r, lock: lock, ended: make(chan struct{}, 1),
		restart: backoff.Backoff{Min: 50 * time.Millisecond, Max: 10 * time.Second},
		log:     hclog.New(&hclog.LoggerOptions{Name: "supervisor", Level: hclog.Info, Output: os.Stderr}),
	}
	return s.run(ctx)
}

// takeSupervision returns the lock file that the supervisor holds for life, or nil if another does.
func (d Dir) takeSupervision() (*os.File, error) {
	lock, err := inheritedLock(d)
	if err != nil {
		return nil, err
	}
	if lock == nil {
		if lock, err = os.OpenFile(d.supervisorLock(), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return nil, err
		}
	}
	// On the descriptor of our starter, who has taken the lock, this changes nothing.
	if free, err := tryLock(lock, unix.LOCK_EX); err != nil || !free {
		lock.Close()
		return nil, err
	}
	return lock, noteHolder(lock, os.Getpid())
}

func inheritedLock(d Dir) (*os.File, error) {
	fd, err := strconv.Atoi(os.Getenv(envLock))
	if err != nil {
		return nil, nil
	}
	// First of all: no process of the machine may have it, or the lock would outlive us.
	unix.CloseOnExec(fd)
	lock := os.NewFile(uintptr(fd), d.supervisorLock())
	if lock == nil || !sameFile(lock, d.supervisorLock()) {
		return nil, errors.New("the descriptor handed over is not the supervisor's lock")
	}
	return lock, nil
}

// supervisor has one goroutine that does everything, beside one that forwards SIGCHLD.
type supervisor struct {
	dir     Dir
	record  Record
	lock    *os.File
	log     hclog.Logger
	restart backoff.Backoff
	ended   chan struct{} // a child may have ended

	agent   int       // process id of our agent, 0 if there is none
	started time.Time // when it was
	quick   int       // how often in a row it ended soon
	due     time.Time // when to start the next one
}

func (s *supervisor) run(ctx context.Context) error {
	stop := s.watchChildren()
	defer stop()
	debug.SetGCPercent(25)
	debug.FreeOSMemory() // there is nothing more to allocate for hours
	s.log.Info("machine is on", "machine", s.record.ID, "boot", s.record.Boots)
	for ctx.Err() == nil && s.step(ctx) {
	}
	s.log.Info("machine goes off", "machine", s.record.ID)
	crew := crew{marker: EnvMachine + "=" + s.record.ID, root: os.Getpid()}
	return ending{crew: crew, ended: s.ended, reap: s.reap}.run(context.WithoutCancel(ctx))
}

// watchChildren turns SIGCHLD into values of s.ended until the returned function is called.
func (s *supervisor) watchChildren() (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			select {
			case s.ended <- struct{}{}:
			default:
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// step does what there is to do, and waits for the next thing. It returns false when the machine is not to run any more.
func (s *supervisor) step(ctx context.Context) bool {
	s.reap()
	next := glance
	if s.agent == 0 {
		if !s.wanted() {
			return false
		}
		next = s.startAgent()
	}
	t := time.NewTimer(next)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-s.ended:
	case <-t.C:
		logcap.Cap(s.dir.log())
		return s.wanted()
	}
	return true
}

// wanted looks at the record and whether it is still ours: the directory may have been moved to be deleted.
func (s *supervisor) wanted() bool {
	if !sameFile(s.lock, s.dir.supervisorLock()) {
		return false
	}
	r, err := s.dir.Load()
	if err != nil {
		s.log.Error("record cannot be read", "error", err)
		return !errors.Is(err, os.ErrNotExist)
	}
	if r.ID != s.record.ID || r.State != Running {
		return false
	}
	s.record = r
	return true
}

// startAgent starts an agent if it is time to and none runs, and returns when to look again.
func (s *supervisor) startAgent() time.Duration {
	if wait := time.Until(s.due); wait > 0 {
		return wait
	}
	if lockedElsewhere(s.dir.agentLock()) { // left by a supervisor before us
		return strangerLook
	}
	p, err := s.forkAgent()
	if err != nil {
		s.log.Error("agent does not start", "error", err)
		s.started = time.Now()
		return s.agentEnded()
	}
	s.agent, s.started = p, time.Now()
	return glance
}

func (s *supervisor) forkAgent() (pid int, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	agent := s.record.Agent
	p, err := os.StartProcess(agent, []string{agent, "run", "--dir", s.dir.Agent()}, &os.ProcAttr{
		Dir:   string(s.dir),
		Env:   s.record.Environ(s.dir),
		Files: []*os.File{null, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	pid = p.Pid
	return pid, p.Release()
}

// reap takes notice of every child that has ended, and tells whether there are others.
func (s *supervisor) reap() bool {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil: // ECHILD: there are none
			return false
		case pid == 0:
			return true
		case pid == s.agent:
			s.agent = 0
			s.agentEnded()
			s.log.Warn("agent has ended", "status", describe(status))
		}
	}
}

// agentEnded decides when the next agent is due: soon after one that ran for a while, later and later after others.
func (s *supervisor) agentEnded() time.Duration {
	if time.Since(s.started) >= steady {
		s.quick = 0
	}
	wait := s.restart.Ceiling(s.quick)
	s.quick++
	s.due = time.Now().Add(wait)
	return wait
}

func describe(s unix.WaitStatus) string {
	if s.Signaled() {
		return "killed by " + s.Signal().String()
	}
	return "exit code " + strconv.Itoa(s.ExitStatus())
}

package machine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// grace is how long the machine's processes have from SIGTERM to SIGKILL.
	grace = 2 * time.Second
	// patience is how long a supervisor may take to end its machine before it is taken to hang.
	patience = 5 * time.Second
	// envLock tells a new supervisor the descriptor of its lock, which its starter has taken for it.
	envLock = "STIX_SUPERVISOR_LOCK_FD"
	lockFD  = 3
)

// holder is the content of supervisor.lock: the process that holds it. It is only believed while the lock is held.
type holder struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	PID     int    `json:"pid"`
	Start   uint64 `json:"start"`
}

const holderFormat = "stix supervisor"

// Power starts a supervisor unless there is one. The caller holds the lock, and the machine's state is RUNNING. It returns the
// process id of the new supervisor, which the caller reaps when it ends, or 0.
//
// Crash points: before the process is made, the lock goes with us and nothing was done; after that the supervisor has the lock and
// notes its process id itself, should we not come to it.
func (d Dir) Power(r Record) (pid int, err error) {
	lock, err := os.OpenFile(d.supervisorLock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if free, err := tryLock(lock, unix.LOCK_EX); err != nil || !free {
		return 0, err
	}
	if err := lock.Truncate(0); err != nil { // its last holder is dead
		return 0, err
	}
	log, err := os.OpenFile(d.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	p, err := os.StartProcess(r.Agent, []string{r.Agent, "supervise", string(d)}, &os.ProcAttr{
		Dir:   string(d),
		Env:   append(r.Environ(d), fmt.Sprintf("%s=%d", envLock, lockFD)),
		Files: []*os.File{null, log, log, lock},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start supervisor: %w", err)
	}
	pid = p.Pid
	p.Release()
	return pid, noteHolder(lock, pid)
}

// noteHolder writes who has the lock. Starter and supervisor both write it, the same bytes in one call each.
func noteHolder(lock *os.File, pid int) error {
	p, ok := look(pid)
	if !ok {
		return nil // it has ended already, and the lock with it
	}
	data, err := json.Marshal(holder{Format: holderFormat, Version: 1, PID: pid, Start: p.start})
	if err != nil {
		return err
	}
	_, err = lock.WriteAt(fmt.Appendf(nil, "%-127s\n", data), 0)
	return err
}

func readHolder(lock *os.File) (process, error) {
	buf := make([]byte, 128)
	n, _ := lock.ReadAt(buf, 0)
	h, err := decodeHolder(buf[:n])
	if err != nil {
		return process{}, fmt.Errorf("%s: %w", lock.Name(), err)
	}
	return process{pid: h.PID, start: h.Start}, nil
}

func decodeHolder(data []byte) (holder, error) {
	var h holder
	if err := json.Unmarshal(data, &h); err != nil {
		return holder{}, err
	}
	switch {
	case h.Format != holderFormat:
		return holder{}, fmt.Errorf("format is %q, not %q", h.Format, holderFormat)
	case h.Version != 1:
		return holder{}, fmt.Errorf("version %d is not known", h.Version)
	case h.PID <= 1:
		return holder{}, fmt.Errorf("no process id: %d", h.PID)
	}
	return h, nil
}

// Supervised tells whether the machine has a supervisor. The caller holds the lock.
func (d Dir) Supervised() bool { return lockedElsewhere(d.supervisorLock()) }

// Shutdown ends every process of the machine. The caller holds the lock and has written down why. Called again after a crash or
// an ended context it goes on where it was.
func (d Dir) Shutdown(ctx context.Context, r Record) error {
	if err := d.endSupervisor(ctx); err != nil {
		return fmt.Errorf("end supervisor of %s: %w", r.ID, err)
	}
	// What a supervisor leaves when it is killed or hangs. One that ended by itself has left nothing, and this finds nothing.
	if err := killMarked(ctx, r.ID); err != nil {
		return fmt.Errorf("end processes of %s: %w", r.ID, err)
	}
	return nil
}

// endSupervisor tells the supervisor to end its machine, and waits for that. It gives up on one that hangs.
func (d Dir) endSupervisor(ctx context.Context) error {
	began := time.Now()
	told := false
	for wait := time.Millisecond; d.Supervised() && time.Since(began) < patience; wait = min(2*wait, 25*time.Millisecond) {
		// Just started, it may not have noted its process id yet.
		told = told || d.tellSupervisor(unix.SIGTERM)
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

// tellSupervisor signals the process that holds the lock, and no other: not one that got its number after it died.
func (d Dir) tellSupervisor(sig syscall.Signal) bool {
	f, err := os.Open(d.supervisorLock())
	if err != nil {
		return false
	}
	defer f.Close()
	p, err := readHolder(f)
	return err == nil && p.signal(sig)
}

// Nudge is Shutdown without waiting and without grace: it tells the supervisor, or kills what one has left, and tells whether
// nothing runs any more. The caller holds the lock; the machine was to end before, and whoever waited for it is gone.
func (d Dir) Nudge(r Record) (over bool, err error) {
	if d.Supervised() {
		d.tellSupervisor(unix.SIGTERM)
		return false, nil
	}
	e := ending{crew: crew{marker: EnvMachine + "=" + r.ID}}
	if e.over() {
		return true, nil
	}
	e.kill()
	return e.over(), nil
}

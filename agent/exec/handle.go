package exec

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// shimHandle is a shim as the agent holds it.
type shimHandle struct {
	dir     string
	alive   *os.File  // reading end of the pipe, nil when the shim is gone
	text    string    // read from it already
	cmd     *exec.Cmd // nil for one that an earlier agent started
	stdin   *os.File  // nil once it was told what to run
	release func() bool
}

// aliveFD is where the shim finds the writing end of its pipe.
const aliveFD = 3

// startShim makes the directory of a job and starts a shim that waits there to be
// told what to run. It inherits the writing end of the pipe and no other process
// does, so the pipe ends when the shim does.
func startShim(c ProcessConfig, dir, home, uid string) (*shimHandle, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := syscall.Mkfifo(filepath.Join(dir, fileAlive), 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: dir, Err: err}
	}
	alive, _, _, err := openAlive(dir)
	if err != nil {
		return nil, err
	}
	h := &shimHandle{dir: dir, alive: alive}
	if err := h.spawn(c, home, uid); err != nil {
		alive.Close()
		return nil, err
	}
	return h, nil
}

// openAlive opens the reading end of a shim's pipe, and returns what was written
// into it and whether a shim holds the other end.
func openAlive(dir string) (f *os.File, text string, living bool, err error) {
	f, err = os.OpenFile(filepath.Join(dir, fileAlive), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", false, err
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, "", false, errors.Join(err, f.Close())
	}
	var buf [1024]byte
	n := 0
	readErr := conn.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), buf[:])
		return true
	})
	if readErr != nil {
		return nil, "", false, errors.Join(readErr, f.Close())
	}
	text = string(buf[:max(n, 0)])
	return f, text, n > 0 || errors.Is(err, syscall.EAGAIN), nil
}

func (h *shimHandle) spawn(c ProcessConfig, home, uid string) error {
	writer, err := os.OpenFile(filepath.Join(h.dir, fileAlive), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer writer.Close()
	errs, err := os.OpenFile(filepath.Join(h.dir, fileErrors), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer errs.Close()
	stdin, toShim, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	cmd := &exec.Cmd{
		Path:        c.Shim[0],
		Args:        append(append([]string{}, c.Shim...), h.dir),
		Env:         append(append([]string{}, c.Env...), "HOME="+home, markName+"="+uid),
		Dir:         h.dir,
		Stdin:       stdin,
		Stderr:      errs,
		ExtraFiles:  []*os.File{writer},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		toShim.Close()
		return err
	}
	h.cmd, h.stdin = cmd, toShim
	return nil
}

// tell says what to run.
func (h *shimHandle) tell(p payload) error {
	data, err := p.encode()
	if err != nil {
		return err
	}
	_, err = h.stdin.Write(data)
	h.stdin.Close()
	h.stdin = nil
	return err
}

// abandon ends a shim that was not told what to run.
func (h *shimHandle) abandon() {
	if h.stdin != nil {
		h.stdin.Close()
		h.stdin = nil
	}
	h.signal(syscall.SIGKILL)
	h.close()
}

// close gives up what is held of a shim that is gone.
func (h *shimHandle) close() {
	if h.alive != nil {
		h.alive.Close()
		h.alive = nil
	}
	if h.cmd != nil {
		_ = h.cmd.Wait() // how it ended is in the exit file
		h.cmd = nil
	}
}

// signal signals a shim that lives: one that we started is not reaped yet, and of
// another we hold the living pipe, so that the pid is still its own.
func (h *shimHandle) signal(sig syscall.Signal) {
	if h.cmd != nil {
		_ = h.cmd.Process.Signal(sig)
		return
	}
	if s, err := readStart(h.dir); err == nil && s.ShimPID > 1 {
		_ = syscall.Kill(s.ShimPID, sig)
	}
}

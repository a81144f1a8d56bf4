package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stix-run/stix/config"
	"github.com/stix-run/stix/internal/backoff"
	"github.com/stix-run/stix/internal/buildinfo"
	"github.com/stix-run/stix/internal/filelock"
)

const (
	// startLimit is how long a server may take until it accepts connections.
	startLimit = 15 * time.Second
	// stopLimit is how long a server may take to end after SIGTERM.
	stopLimit = 15 * time.Second
	// logTail is how many lines of a server's log are shown when it does not start.
	logTail = 10
	// autoStartedEnv tells stixd that a command starts it by itself, so that
	// server.json says that commands may replace it.
	autoStartedEnv = "STIX_AUTO_STARTED"
)

// ensureServer sees to it that one's own server runs, and is the build that
// lies beside this program.
func (a *app) ensureServer(ctx context.Context) error {
	s := a.server
	if !answers(ctx, s.endpoint.Socket) {
		return a.startServer(ctx)
	}
	if s.file == nil || s.file.Build == "" {
		return nil
	}
	path, err := a.stixdPath()
	if err != nil {
		return nil // there is nothing to replace it with
	}
	build, err := buildinfo.BuildOf(path)
	if err != nil || build == s.file.Build {
		return nil
	}
	if !s.file.AutoStarted {
		a.notice("Warning: the stix server (pid %d) is another build than %s; restart it when it suits you.", s.file.PID, path)
		return nil
	}
	return a.replaceServer(ctx)
}

// replaceServer ends an auto-started server of another build and starts
// another. Of several programs that do it at once, each ends only the process
// that server.json names, and only while that holds the lock.
func (a *app) replaceServer(ctx context.Context) error {
	old := a.server.file.PID
	stopped, err := a.stopProcess(ctx, old)
	if err != nil {
		return err
	}
	if stopped {
		a.notice("Restarted the stix server: it ran another build (pid %d). Jobs run on.", old)
	}
	return a.startServer(ctx)
}

// stopProcess ends the server with that pid if it holds the lock, and waits for
// its end. It reports whether it was that server.
func (a *app) stopProcess(ctx context.Context, pid int) (bool, error) {
	lock := filepath.Join(a.server.stateDir, lockFile)
	holder, held, err := filelock.Holder(lock)
	if err != nil || !held || holder != pid || pid <= 0 {
		return false, err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, fmt.Errorf("stop the server (pid %d): %w", pid, err)
	}
	ended := func() (bool, error) {
		holder, held, err := filelock.Holder(lock)
		return !held || (holder != 0 && holder != pid), err
	}
	if err := a.poll(ctx, stopLimit, ended); err != nil {
		return false, fmt.Errorf("stop the server (pid %d): %w", pid, err)
	}
	return true, nil
}

var errTooLong = errors.New("it takes too long")

// poll looks again and again until done, at 1 ms first and at 20 ms later.
func (a *app) poll(ctx context.Context, limit time.Duration, done func() (bool, error)) error {
	wait := time.Millisecond
	for end := time.Now().Add(limit); ; {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(end) {
			return errTooLong
		}
		if err := backoff.Sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(wait*2, 20*time.Millisecond)
	}
}

// startServer starts stixd in the background and waits until it accepts
// connections. Where several programs do that at once, stixd's own lock lets
// one server live; the other processes end quietly, and all wait for the same
// socket.
func (a *app) startServer(ctx context.Context) error {
	path, err := a.stixdPath()
	if err != nil {
		return err
	}
	child, err := a.spawn(path)
	if err != nil {
		return err
	}
	defer func() { child.release() }()
	err = a.poll(ctx, startLimit, func() (bool, error) {
		if answers(ctx, a.server.endpoint.Socket) {
			return true, nil
		}
		if err := child.failed(); err != nil || !child.exited {
			return false, err
		}
		// It found another server alive. When that one was about to end, start again.
		if _, held, err := filelock.Holder(filepath.Join(a.server.stateDir, lockFile)); held || err != nil {
			return false, err
		}
		child.release()
		child, err = a.spawn(path)
		return false, err
	})
	if err != nil {
		return a.startError(err)
	}
	if err := a.rereadServerFile(); err != nil {
		return err
	}
	if f := a.server.file; f != nil && f.PID == child.pid {
		a.notice("Started the stix server (pid %d).", child.pid)
	}
	return nil
}

// rereadServerFile takes over what the new server wrote.
func (a *app) rereadServerFile() error {
	_, file, err := readServerFile(a.server.stateDir)
	if err != nil {
		return err
	}
	a.server.file = file
	if file != nil && a.server.source == config.AutoStart {
		a.server.source = config.FromServerFile
	}
	return nil
}

// stixdPath finds the server's program: beside this one, else in PATH.
func (a *app) stixdPath() (string, error) {
	if self, err := a.sys.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		if path := filepath.Join(filepath.Dir(self), "stixd"); isProgram(path) {
			return path, nil
		}
	}
	for _, dir := range filepath.SplitList(a.sys.getenv("PATH")) {
		if path := filepath.Join(dir, "stixd"); filepath.IsAbs(path) && isProgram(path) {
			return path, nil
		}
	}
	return "", &exitWith{
		code:    exitError,
		message: "the stix server is not running, and its program `stixd` is neither beside `stix` nor in PATH",
		hint:    "install stixd next to stix, or name a running server with " + config.StixEnv + ".",
	}
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// child is a server that was just started.
type child struct {
	pid    int
	proc   *os.Process
	exited bool
}

// spawn starts stixd as a process of its own session that outlives this one.
func (a *app) spawn(path string) (*child, error) {
	dir := a.server.stateDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, stateDirError(dir, err)
	}
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, stateDirError(dir, err)
	}
	defer log.Close()
	cmd := exec.Command(path, "serve", "--state-dir", dir)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
	cmd.Env = append(cmd.Environ(), autoStartedEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the stix server: %w", err)
	}
	return &child{pid: cmd.Process.Pid, proc: cmd.Process}, nil
}

func stateDirError(dir string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return &exitWith{
		code:    exitError,
		message: fmt.Sprintf("the state directory %s cannot be used: %v", dir, err),
		hint:    "set " + config.HomeEnv + " to a directory that you may write.",
	}
}

var errServerEnded = errors.New("it ended at once")

// failed errors when the process has ended with a failure. One that ended well
// has found another server alive.
func (c *child) failed() error {
	if c.exited {
		return nil
	}
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(c.pid, &status, syscall.WNOHANG, nil)
	if err != nil || pid != c.pid {
		return nil
	}
	c.exited = true
	if status.Exited() && status.ExitStatus() == 0 {
		return nil
	}
	return errServerEnded
}

func (c *child) release() { c.proc.Release() }

// startError shows the end of the log of a server that did not come up.
func (a *app) startError(err error) error {
	path := filepath.Join(a.server.stateDir, logFile)
	text := fmt.Sprintf("the stix server did not start: %v", err)
	if lines := lastLinesOf(path, logTail); lines != "" {
		text += "\nThe end of " + path + ":\n" + lines
	}
	return &exitWith{code: exitError, message: text, hint: "`stix api start --foreground` shows more."}
}

// lastLinesOf returns the last n lines of a file, indented.
func lastLinesOf(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 64 << 10
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		f.Seek(max(end-most, 0), io.SeekStart)
	}
	data, err := io.ReadAll(f)
	text := strings.TrimRight(string(data), "\n")
	if err != nil || text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	return "  " + strings.Join(lines[max(len(lines)-n, 0):], "\n  ")
}

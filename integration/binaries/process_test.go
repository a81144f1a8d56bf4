//go:build integration && linux

package binaries

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// process is one that runs.
type process struct {
	pid  int
	args string
}

// running returns all processes for which keep is true. Zombies have neither arguments nor an environment, and do not run.
func running(keep func(proc string) bool) []process {
	var found []process
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || !keep(dir) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		found = append(found, process{pid, string(bytes.ReplaceAll(bytes.TrimRight(args, "\x00"), []byte{0}, []byte{' '}))})
	}
	return found
}

// processes returns what runs for this home: what has its path in its environment or arguments, or works below it.
func (h *home) processes() []process {
	mark := []byte(h.root + "/")
	return running(func(proc string) bool {
		for _, name := range []string{"environ", "cmdline"} {
			if data, err := os.ReadFile(filepath.Join(proc, name)); err == nil && bytes.Contains(data, mark) {
				return true
			}
		}
		cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
		return err == nil && strings.HasPrefix(cwd, string(mark))
	})
}

// marked returns the processes that have an argument in which the mark is. A job's process cannot lose it, as it can
// its environment.
func marked(mark string) []process {
	return running(func(proc string) bool {
		data, err := os.ReadFile(filepath.Join(proc, "cmdline"))
		return err == nil && bytes.Contains(data, []byte(mark))
	})
}

// server is the pid of the home's stixd.
func (h *home) server() int {
	h.t.Helper()
	return h.pidIn(filepath.Join(h.dir, "stixd.lock"), "stixd serve")
}

// agent is the pid of a machine's agent, 0 if none runs.
func (h *home) agent(machine string) int {
	h.t.Helper()
	return h.pidIn(filepath.Join(h.dir, "local/machines", machine, "agent/agent.lock"), "stix-agent run")
}

// supervisor is the pid of a machine's supervisor, 0 if none runs.
func (h *home) supervisor(machine string) int {
	h.t.Helper()
	return h.pidIn(filepath.Join(h.dir, "local/machines", machine, "supervisor.lock"), "stix-agent supervise")
}

// pidIn reads the pid in a lock file, and sees that it is the program of this home: pids are used again.
func (h *home) pidIn(file, program string) int {
	h.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	text := strings.TrimSpace(string(data))
	var holder struct{ PID int }
	if json.Unmarshal([]byte(text), &holder) != nil {
		holder.PID, _ = strconv.Atoi(text)
	}
	for _, p := range h.processes() {
		if p.pid == holder.PID && strings.Contains(p.args, program) {
			return p.pid
		}
	}
	return 0
}

// kill kills one process of this home with SIGKILL, and returns when all of it is gone. The lock and the sockets of a process
// with many threads are there until its last thread has ended, a moment after /proc calls it a zombie.
func (h *home) kill(pid int) {
	h.t.Helper()
	if pid == 0 {
		h.t.Fatal("the process to kill does not run")
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		h.t.Fatalf("open process %d: %v", pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		h.t.Fatalf("kill %d: %v", pid, err)
	}
	ended := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for end := time.Now().Add(10 * time.Second); ; {
		n, err := unix.Poll(ended, int(time.Until(end).Milliseconds()))
		if n == 1 {
			return
		}
		if err != unix.EINTR {
			h.t.Fatalf("process %d does not end: %v", pid, err)
		}
	}
}

// follower is a command that runs while the test goes on.
type follower struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string
	seen   []string
	stderr bytes.Buffer
	cancel context.CancelFunc
}

// start starts a command whose output the test follows.
func (h *home) start(args ...string) *follower {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	f := &follower{t: h.t, cmd: h.command(ctx, args...), lines: make(chan string, 1<<16), cancel: cancel}
	f.cmd.Stdout, f.cmd.Stderr = &lineWriter{lines: f.lines}, &f.stderr
	if err := f.cmd.Start(); err != nil {
		cancel()
		h.t.Fatal(err)
	}
	h.t.Cleanup(cancel)
	return f
}

// lineWriter passes lines on as they come.
type lineWriter struct {
	lines chan string
	rest  []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, found := bytes.Cut(w.rest, []byte{'\n'})
		if !found {
			return len(p), nil
		}
		w.lines <- string(line)
		w.rest = rest
	}
}

// until waits for a line in which there is the text.
func (f *follower) until(text string) string {
	f.t.Helper()
	limit := time.NewTimer(settleLimit)
	defer limit.Stop()
	for {
		select {
		case line := <-f.lines:
			f.seen = append(f.seen, line)
			if strings.Contains(line, text) {
				return line
			}
		case <-limit.C:
			f.t.Fatalf("no line with %q within %v in\n%s", text, settleLimit, strings.Join(f.seen, "\n"))
		}
	}
}

// wait returns what the command did, when it has ended.
func (f *follower) wait() result {
	f.t.Helper()
	defer f.cancel()
	err := f.cmd.Wait()
	for len(f.lines) > 0 {
		f.seen = append(f.seen, <-f.lines)
	}
	r := result{f.cmd.Args[1:], strings.Join(append(f.seen, ""), "\n"), f.stderr.String(), f.cmd.ProcessState.ExitCode()}
	if r.code < 0 {
		f.t.Fatalf("the command did not end by itself (%v): %v", err, r)
	}
	return r
}

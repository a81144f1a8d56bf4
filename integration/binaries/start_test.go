//go:build integration && linux

package binaries

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// servers are the processes of the home that serve it.
func (h *home) servers() []process {
	return running(func(proc string) bool {
		data, err := os.ReadFile(filepath.Join(proc, "cmdline"))
		return err == nil && strings.HasSuffix(string(data), "stixd\x00serve\x00--state-dir\x00"+h.dir+"\x00")
	})
}

// infoPID is the pid of the server that answers.
func (h *home) infoPID() int {
	h.t.Helper()
	var info struct {
		Server struct {
			PID int `json:"pid"`
		} `json:"server"`
	}
	h.json(&info, "api", "info")
	return info.Server.PID
}

func TestCommandsAtOnceGetOneServer(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 10} {
		h := newHome(t)
		results := make([]result, n)
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() { results[i] = h.stix("api", "info", "-o", "json") })
		}
		wg.Wait()
		said, pids := 0, map[int]bool{}
		for _, r := range results {
			var info struct{ Server struct{ PID int } }
			if err := json.Unmarshal([]byte(r.stdout), &info); err != nil || r.code != 0 {
				t.Fatalf("%v: %v", err, r)
			}
			pids[info.Server.PID] = true
			said += strings.Count(r.stderr, "Started the stix server")
		}
		if len(pids) != 1 || !pids[h.server()] || said != 1 {
			t.Errorf("%d commands met the servers %v, and %d said that they started one", n, pids, said)
		}
		if !poll(3*time.Second, func() bool { return len(h.servers()) == 1 }) {
			t.Errorf("the servers are %v", h.servers())
		}
		h.end()
	}
}

func TestLeftoversOfADeadServerAreNoticed(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	h.ok("exec", "demo", "echo ran >>"+h.work+"/ran")

	// Sockets and server.json of a server that was killed.
	h.kill(h.server())
	for _, name := range []string{"stixd.sock", "agents.sock", "server.json"} {
		if _, err := os.Lstat(filepath.Join(h.dir, name)); err != nil {
			t.Errorf("a killed server leaves no %s: %v", name, err)
		}
	}
	matches(t, h.ok("status").stderr, `Started the stix server`)

	// A pid that belongs to somebody else by now: this test.
	h.kill(h.server())
	file := filepath.Join(h.dir, "server.json")
	var content map[string]any
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &content)
	}
	if err != nil {
		t.Fatal(err)
	}
	content["pid"] = os.Getpid()
	if data, err = json.Marshal(content); err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(h.dir, "stixd.lock"), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	matches(t, h.ok("api", "stop").stdout, `not running`) // and this test lives
	matches(t, h.ok("queue", "demo").stdout, `(?m)^1 .* SUCCEEDED `)

	// A socket without anything else.
	h.ok("api", "stop")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(h.dir, "stixd.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	h.ok("status")
	if n := len(h.servers()); n != 1 {
		t.Errorf("%d servers", n)
	}
	h.end()
}

// A server that is killed while it starts a machine has its sockets open for a moment longer, in the child that is not yet
// the machine's program: they take connections that nobody accepts.
func TestCommandThatMeetsADyingServerStartsAnother(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.ok("status")
	h.kill(h.server())
	socket := filepath.Join(h.dir, "stixd.sock")
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	f := h.start("status")
	<-time.After(300 * time.Millisecond)
	l.Close()
	if r := f.wait(); r.code != 0 {
		t.Errorf("the command gave up: %v", r)
	}
	h.ok("status")
	h.end()
}

// TestCommandRightAfterAKill is the README's: kill -9, and the next command goes on.
func TestCommandRightAfterAKill(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	h.ok("exec", "demo", "echo hello")
	for range 10 {
		if err := syscall.Kill(h.server(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		matches(t, h.ok("logs", "demo", "1").stdout, `(?m)^\(sky-cmd, pid=\d+\) hello$`)
	}
	h.end()
}

func TestServerInTheForegroundEndsAsAsked(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	f := h.start("api", "start", "--foreground")
	eventually(t, settleLimit, "the server listens", func() bool {
		_, err := os.Lstat(filepath.Join(h.dir, "stixd.sock"))
		return err == nil
	})
	if pid := h.infoPID(); pid != f.cmd.Process.Pid {
		t.Errorf("the server %d answers, not %d", pid, f.cmd.Process.Pid)
	}
	h.code(1, "api", "start", "--foreground") // one is enough
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r := f.wait()
	if r.code != 0 || strings.Contains(r.stdout+r.stderr, "context canceled") {
		t.Errorf("a server that was asked to end: %v", r)
	}
	h.nothingLeft()
}

func TestStopLeavesJobsRunning(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	h.ok("exec", "demo", "-d", "for i in $(seq 1 30); do echo line $i of $$; sleep 0.1; done; echo ran >>"+h.work+"/ran")
	eventually(t, settleLimit, "the job runs", func() bool { return h.job("demo", 1).Status == "RUNNING" })
	matches(t, h.ok("api", "stop").stdout, `Stopped the stix server`)
	if n := len(h.servers()); n != 0 {
		t.Errorf("%d servers after stop", n)
	}
	eventually(t, settleLimit, "the job ends without a server", func() bool { return len(h.read("ran")) == 1 })
	r := h.ok("logs", "demo", "1", "--tail", "0")
	checkLines(t, r.stdout, 30)
	matches(t, r.stdout, `Job finished \(status: SUCCEEDED\)`)
	h.end()
}

func TestUnusableStateDirectoriesAreTold(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	file := h.write("file", "")
	for name, dir := range map[string]string{"a file": file, "below a file": file + "/sub", "no absolute path": "relative"} {
		h.setEnv("STIX_HOME", dir)
		for _, args := range [][]string{{"status"}, {"launch", "-y", "-c", "demo", "--infra", "local", "true"}, {"api", "start"}} {
			r := h.stix(args...)
			if r.code != 1 || !strings.Contains(r.stderr, dir) || strings.Contains(r.stderr, "panic") {
				t.Errorf("%s: %v", name, r)
			}
		}
	}
}

func (h *home) setEnv(name, value string) { h.env = append(h.env, name+"="+value) }

func TestDirectoryThatMayNotBeWrittenIsTold(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	stix := h.forOthers()
	dir := filepath.Join(h.root, "closed")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := h.asNobody(stix, "STIX_HOME="+dir+"/sub", "status")
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out, dir) || !strings.Contains(out, "permission denied") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTooLongPathOfTheStateDirectoryWorks(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.dir = filepath.Join(h.root, strings.Repeat("long/", 40), "h")
	h.setEnv("STIX_HOME", h.dir)
	matches(t, h.ok("launch", "-y", "-c", "demo", "--infra", "local", "echo hello").stdout, `(?m)^\(sky-cmd, pid=\d+\) hello$`)
	sockets := names(t, filepath.Join(h.root, "r"))
	if len(sockets) != 2 {
		t.Errorf("the runtime directory holds %q", sockets)
	}
	for _, name := range sockets {
		info, err := os.Lstat(filepath.Join(h.root, "r", name))
		if err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Errorf("socket %s: %v, %v", name, info.Mode(), err)
		}
	}
	h.kill(h.server())
	h.ok("exec", "demo", "echo again")
	h.end()
}

// nobody is a user without rights.
const nobody = 65534

// forOthers copies the programs to where other users reach them, and lets them through to the state directory, whose own
// mode stays: what is protected is not protected by what is above it. It returns the copy of stix.
func (h *home) forOthers() string {
	h.t.Helper()
	if os.Getuid() != 0 {
		missing(h.t, "only root can act as another user")
	}
	if err := os.Chmod(h.root, 0o755); err != nil {
		h.t.Fatal(err)
	}
	for _, name := range []string{"stix", "stixd", "stix-agent"} {
		data, err := os.ReadFile(program(h.t, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(h.root, name), data, 0o755)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
	return filepath.Join(h.root, "stix")
}

// asNobody runs a program as another user.
func (h *home) asNobody(program, env string, args ...string) (string, error) {
	h.t.Helper()
	cmd := exec.CommandContext(h.ctx(), program, args...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", env}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestAnotherUserGetsNothing(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	stix := h.forOthers()
	h.ok("launch", "-y", "-c", "demo", "--infra", "local", "--secret", "TOKEN=planted", "echo hello")
	socket := filepath.Join(h.dir, "stixd.sock")
	call := func() {
		t.Helper()
		for _, args := range [][]string{{"status"}, {"api", "info"}, {"down", "-y", "-a"}} {
			if out, err := h.asNobody(stix, "STIX_API_SERVER=unix://"+socket, args...); err == nil || strings.Contains(out, "demo") {
				t.Errorf("stix %q as another user: %v: %s", args, err, out)
			}
		}
	}
	call()
	for _, file := range []string{"server.json", "sealing.key", "stixd.log", "server/raft/raft.db", "."} {
		if out, err := h.asNobody("/bin/cat", "X=", filepath.Join(h.dir, file)); err == nil || !strings.Contains(out, "ermission denied") {
			t.Errorf("another user reads %s: %v: %q", file, err, out)
		}
	}
	if out, err := h.asNobody("/bin/ls", "X=", h.dir); err == nil {
		t.Errorf("another user lists the state directory: %q", out)
	}
	// Also with every door open, the server asks who is there.
	for path, mode := range map[string]os.FileMode{h.dir: 0o755, socket: 0o777, filepath.Join(h.dir, "agents.sock"): 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	call()
	h.machinesAreRecorded(1)
	if err := os.Chmod(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	h.end()
}

// A runtime directory that another user owns could have its sockets replaced by that user's.
func TestForeignRuntimeDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.forOthers()
	h.dir = filepath.Join(h.root, strings.Repeat("long/", 40), "h")
	h.setEnv("STIX_HOME", h.dir)
	runtime := filepath.Join(h.root, "r")
	for name, spoil := range map[string]func() error{
		"of another user": func() error { return os.Chown(runtime, nobody, nobody) },
		"open to all":     func() error { return errors.Join(os.Chown(runtime, 0, 0), os.Chmod(runtime, 0o777)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		r := h.stix("status")
		if r.code != 1 || !strings.Contains(r.stderr, runtime) {
			t.Errorf("a runtime directory %s is used: %v", name, fmt.Sprint(r))
		}
		h.stix("api", "stop")
	}
}

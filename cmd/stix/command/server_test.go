package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stix-run/stix/client/clienttest"
	"github.com/stix-run/stix/config"
	"github.com/stix-run/stix/internal/buildinfo"
	"github.com/stix-run/stix/internal/filelock"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// fakeServerEnv makes this test program a server: its value is the build that
// it says it is.
const fakeServerEnv = "STIX_TEST_SERVER"

func TestMain(m *testing.M) {
	if build := os.Getenv(fakeServerEnv); build != "" {
		os.Exit(fakeServer(build, os.Args[len(os.Args)-1]))
	}
	os.Exit(m.Run())
}

// fakeServer does what stixd does as far as commands see it: it takes the lock
// or ends quietly, tells of itself in server.json, and serves until SIGTERM.
func fakeServer(build, dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	lock, err := filelock.TryLock(filepath.Join(dir, lockFile))
	var held *filelock.HeldError
	if errors.As(err, &held) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer lock.Unlock()
	socket := filepath.Join(dir, "stixd.sock")
	os.Remove(socket)
	file, err := config.EncodeServerFile(config.ServerFile{
		Endpoint: config.Endpoint{Socket: socket}, PID: os.Getpid(), Build: build, AutoStarted: os.Getenv(autoStartedEnv) != "",
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "server.json"), file, 0o600)
	}
	l, listenErr := net.Listen("unix", socket)
	if err = errors.Join(err, listenErr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s := clienttest.New()
	s.ServerInfo = &stixv1.InfoResponse{Pid: int64(os.Getpid()), Build: build}
	cut := s.Serve(l)
	<-ctx.Done()
	cut()
	return 0
}

// stixd puts a program of that name beside stix.
func (w *world) stixd(script string) string {
	w.t.Helper()
	w.write("bin/stixd", "#!/bin/sh\n"+script+"\n")
	path := filepath.Join(w.home, "bin", "stixd")
	if err := os.Chmod(path, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// server makes stixd the fake one, of a build that is right unless given.
func (w *world) startable(build string) {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	path := w.stixd("")
	script := func(build string) string {
		return fmt.Sprintf("echo started >> %s/starts\n%s=%s exec %s \"$3\"", w.home, fakeServerEnv, build, self)
	}
	if build == "" {
		// The build of a script is its content, which cannot name itself.
		build = `"$(cat ` + w.home + `/build)"`
	}
	w.stixd(script(build))
	own, err := buildinfo.BuildOf(path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("build", own)
	w.t.Cleanup(w.kill)
}

// kill ends the server that was started, and waits for that.
func (w *world) kill() {
	pid, held, _ := filelock.Holder(filepath.Join(w.state, lockFile))
	if held && pid > 0 {
		a := app{sys: w.sys, server: &server{stateDir: w.state}}
		if _, err := a.stopProcess(context.Background(), pid); err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) pid() int {
	w.t.Helper()
	file, err := config.ParseServerFile([]byte(w.read("state/server.json")))
	if err != nil {
		w.t.Fatal(err)
	}
	return file.PID
}

func TestServerIsStartedWhenItIsNeeded(t *testing.T) {
	w := emptyWorld(t)
	w.startable("")
	stderr := w.expect(0, "Clusters\nNo existing clusters.\n", "status")
	if want := fmt.Sprintf("Started the stix server (pid %d).\n", w.pid()); stderr != want {
		t.Errorf("standard error %q, want %q", stderr, want)
	}
	if stderr := w.expect(0, "Clusters\nNo existing clusters.\n", "status"); stderr != "" {
		t.Errorf("the second command says %q", stderr)
	}
	if starts := w.read("starts"); starts != "started\n" {
		t.Errorf("starts: %q", starts)
	}
	if info, err := os.Stat(filepath.Join(w.state, logFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("server log: %v %v", info, err)
	}
}

func TestTwoCommandsAtOnceGetOneServer(t *testing.T) {
	w := emptyWorld(t)
	w.startable("")
	var said []string
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			one := *w // with streams of its own
			one.out, one.err = &stream{}, &stream{}
			code, out, stderr := one.run("status")
			if code != 0 || out != "Clusters\nNo existing clusters.\n" {
				t.Errorf("exit code %d, output %q, standard error %q", code, out, stderr)
			}
			mu.Lock()
			defer mu.Unlock()
			said = append(said, stderr)
		})
	}
	group.Wait()
	text := strings.Join(said, "")
	if n := strings.Count(text, "Started the stix server"); n != 1 {
		t.Errorf("%d commands say that they started it: %q", n, text)
	}
}

func TestStaleSocketAndDeadPidAreNoticed(t *testing.T) {
	w := emptyWorld(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(w.state, "stixd.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	file, err := config.EncodeServerFile(config.ServerFile{
		Endpoint: config.Endpoint{Socket: filepath.Join(w.state, "stixd.sock")}, PID: 1 << 22, Build: "old", AutoStarted: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.write("state/server.json", string(file))
	w.startable("")
	contains(t, w.expect(0, "Clusters\nNo existing clusters.\n", "status"), "Started the stix server")
}

func TestServerOfAnotherBuildIsReplaced(t *testing.T) {
	w := emptyWorld(t)
	w.startable("an-older-one")
	w.run("status")
	old := w.pid()
	w.startable("")
	stderr := w.expect(0, "Clusters\nNo existing clusters.\n", "status")
	contains(t, stderr, "Restarted the stix server: it ran another build (pid "+strconv.Itoa(old)+"). Jobs run on.", "Started the stix server")
	if w.pid() == old {
		t.Error("it is the same server")
	}
}

func TestServerThatWasNotAutoStartedIsOnlyWarnedAbout(t *testing.T) {
	w := emptyWorld(t)
	w.startable("an-older-one")
	w.run("status")
	old := w.pid()
	w.write("state/server.json", strings.Replace(w.read("state/server.json"), `"auto_started": true`, `"auto_started": false`, 1))
	contains(t, w.expect(0, "Clusters\nNo existing clusters.\n", "status"), "is another build than")
	if w.pid() != old {
		t.Error("it was replaced")
	}
}

func TestServerThatIsNotTheLockHolderIsNotKilled(t *testing.T) {
	w := emptyWorld(t)
	w.startable("an-older-one")
	w.run("status")
	old := w.pid()
	// Somebody else's process by now, for all we know.
	w.write("state/server.json", strings.Replace(w.read("state/server.json"), strconv.Itoa(old), strconv.Itoa(os.Getpid()), 1))
	w.run("status") // it would have ended this test
	if pid, held, err := filelock.Holder(filepath.Join(w.state, lockFile)); err != nil || !held || pid != old {
		t.Errorf("holder %d %v %v", pid, held, err)
	}
}

func TestServerThatDoesNotStartShowsItsLog(t *testing.T) {
	w := emptyWorld(t)
	w.stixd("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done\necho the disk is full >&2\nexit 1")
	stderr := w.expect(1, "", "status")
	contains(t, stderr, "the stix server did not start: it ended at once", "The end of "+w.state+"/stixd.log:", "  line 12\n  the disk is full\n")
	if strings.Contains(stderr, "line 3\n") {
		t.Errorf("more than the end is shown:\n%s", stderr)
	}
}

func TestServerProgramThatIsMissing(t *testing.T) {
	w := emptyWorld(t)
	w.env["PATH"] = w.home
	contains(t, w.expect(1, "", "status"), "its program `stixd` is neither beside `stix` nor in PATH", "Hint: install stixd")
}

func TestServerProgramIsFoundInPath(t *testing.T) {
	w := emptyWorld(t)
	w.startable("")
	w.sys.Executable = func() (string, error) { return "/nowhere/stix", nil }
	w.env["PATH"] = "relative:" + filepath.Join(w.home, "bin")
	w.expect(0, "Clusters\nNo existing clusters.\n", "status")
}

func TestStateDirectoryThatCannotBeWritten(t *testing.T) {
	w := emptyWorld(t)
	w.stixd("exit 0")
	w.write("file", "")
	w.env["STIX_HOME"] = filepath.Join(w.home, "file", "state")
	contains(t, w.expect(1, "", "status"), "the state directory "+w.home+"/file/state cannot be used: not a directory", "set STIX_HOME")
	w.env["STIX_HOME"] = "relative"
	contains(t, w.expect(1, "", "status"), "STIX_HOME has to be an absolute path")
}

func TestConfiguredServerIsNeverStarted(t *testing.T) {
	w := emptyWorld(t)
	w.startable("")
	w.env["STIX_API_SERVER"] = "unix://" + w.home + "/elsewhere.sock"
	// Time flies, so that it soon says that it waits; then it is interrupted.
	var seconds atomic.Int64
	w.sys.Now = func() time.Time { return now.Add(time.Duration(seconds.Add(1)) * time.Second) }
	ctx, interrupt := context.WithCancel(t.Context())
	w.err.watch = func(string) { interrupt() }
	code, _, stderr := w.runIn(ctx, "status")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	contains(t, stderr, "The stix server does not answer; waiting for it to return.", "Interrupted.")
	if _, err := os.Stat(filepath.Join(w.home, "starts")); err == nil {
		t.Error("a server was started")
	}
}

func TestConfigurationNamesTheServer(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	socket := filepath.Join(w.state, "stixd.sock")
	w.env["STIX_HOME"] = filepath.Join(w.home, "other")
	w.write("other/config.yaml", "api_server:\n  endpoint: unix://"+socket+"\n")
	code, out, stderr := w.run("status", "-u")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	contains(t, out, "demo")
	// The id of a new user is made once and kept.
	if id := w.read("other/user_hash"); !userHash.MatchString(strings.TrimSpace(id)) {
		t.Errorf("user id %q", id)
	}
	w.write("other/config.yaml", "api_server:\n  endpoit: x\n")
	contains(t, w.expect(1, "", "status"), "config.yaml:2:3: ")
}

func TestUserCanBeNamed(t *testing.T) {
	w := newWorld(t)
	w.run("status")
	w.env["SKYPILOT_USER"], w.env["SKYPILOT_USER_ID"] = "bob", "89abcdef"
	w.run("status")
	for i, want := range [][2]string{{"ann", "0123abcd"}, {"bob", "89abcdef"}} {
		h := w.server.Calls("ListClusters")[i].Header
		if h.Get("Stix-User-Name") != want[0] || h.Get("Stix-User-Id") != want[1] {
			t.Errorf("user %q %q, want %v", h.Get("Stix-User-Name"), h.Get("Stix-User-Id"), want)
		}
	}
}

func TestServerIsStoppedAndStartedByCommand(t *testing.T) {
	w := emptyWorld(t)
	w.startable("")
	w.expect(0, "The stix server is not running.\n", "api", "stop")
	code, out, stderr := w.run("api", "start")
	pid := w.pid()
	if want := fmt.Sprintf("✓ The stix server runs (pid %d).\n", pid); code != 0 || out != want {
		t.Errorf("exit code %d, output %q, want %q; %s", code, out, want, stderr)
	}
	w.expect(0, fmt.Sprintf("✓ The stix server runs (pid %d).\n", pid), "api", "start")
	contains(t, w.expect(1, "", "api", "start", "--foreground"), "The stix server runs already")
	stderr = w.expect(0, fmt.Sprintf("✓ Stopped the stix server (pid %d).\n", pid), "api", "stop")
	contains(t, stderr, "Machines that are up run on, with their jobs.")
	if _, held, _ := filelock.Holder(filepath.Join(w.state, lockFile)); held {
		t.Error("the server still runs")
	}
}

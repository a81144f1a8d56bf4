package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stix-run/stix/internal/machine"
	"github.com/stix-run/stix/internal/testlog"
	"github.com/stix-run/stix/provider"
)

// The test binary is its own stix-agent: a supervisor that is the real one, and an agent that does as it is told in its bootstrap
// file. The environment cannot say which, since machines do not inherit it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "supervise":
			os.Exit(exitCode(machine.Supervise(context.Background(), os.Args[2])))
		case "run":
			os.Exit(exitCode(stubAgent(os.Args[3])))
		case "fork-daemon":
			os.Exit(exitCode(forkDaemon(os.Args[2], os.Args[3])))
		case "daemon":
			os.Exit(exitCode(daemon(os.Args[2])))
		case "version":
			fmt.Println("stub")
			return
		}
	}
	os.Exit(m.Run())
}

func exitCode(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// orders are what the stub agent finds in its bootstrap file.
type orders struct {
	// Events is a named pipe for lines "WHAT PID".
	Events string
	// Daemon has it start a process that leaves its family and ignores SIGTERM: "keep" its environment or "shed" it.
	Daemon string
}

func stubAgent(dir string) error {
	lock, err := os.OpenFile(filepath.Join(dir, "agent.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, "bootstrap.json"))
	if err != nil {
		return err
	}
	var o orders
	if err := json.Unmarshal(data, &o); err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	if o.Events != "" {
		if err := tell(o.Events, "agent"); err != nil {
			return err
		}
	}
	if o.Daemon != "" {
		if err := exec.Command(os.Args[0], "fork-daemon", o.Events, o.Daemon).Run(); err != nil {
			return err
		}
	}
	<-term
	return nil
}

// forkDaemon starts the daemon in a session of its own, if so wanted without the machine's environment, and leaves it an orphan.
func forkDaemon(events, shed string) error {
	cmd := exec.Command(os.Args[0], "daemon", events)
	if shed == "shed" {
		cmd.Env = []string{"PATH=/bin"}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

func daemon(events string) error {
	signal.Ignore(unix.SIGTERM, unix.SIGHUP, unix.SIGINT)
	if err := tell(events, "daemon"); err != nil {
		return err
	}
	never := make(chan os.Signal, 1)
	signal.Notify(never, unix.SIGUSR2)
	<-never
	return nil
}

func tell(events, what string) error {
	f, err := os.OpenFile(events, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%s %d\n", what, os.Getpid())
	return err
}

// world is a table of machines with drivers that share it.
type world struct {
	*testing.T
	dir    string
	boot   string
	events string
	lines  *bufio.Reader
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dir: filepath.Join(t.TempDir(), "local"), boot: "boot-1"}
	w.events = filepath.Join(filepath.Dir(w.dir), "events")
	if err := unix.Mkfifo(w.events, 0o600); err != nil {
		t.Fatal(err)
	}
	// Open for writing too, so that it has no end; non-blocking, so that reading has a deadline.
	f, err := os.OpenFile(w.events, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	w.lines = bufio.NewReader(f)
	t.Cleanup(func() {
		w.terminateAll()
		f.Close()
	})
	return w
}

func (w *world) driver() *Driver {
	w.Helper()
	self, err := os.Executable()
	w.must(err)
	boot := w.boot
	d, err := New(Config{
		Dir: w.dir, AgentPath: self, Environ: os.Environ(), Logger: testlog.New(w.T),
		HostBoot: func() (string, error) { return boot, nil },
	})
	w.must(err)
	// Under the race detector every program waits for a second before it ends, unless told otherwise.
	d.env = append(d.env, "GORACE=atexit_sleep_ms=0")
	return d
}

// terminateAll leaves no process behind, whatever the test did.
func (w *world) terminateAll() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	d := w.driver()
	all, err := d.List(ctx, provider.Filter{})
	if err != nil {
		w.Error(err)
	}
	for _, inst := range all {
		if err := d.Terminate(ctx, inst.ID); err != nil {
			w.Error(err)
		}
	}
}

func (w *world) request(token string, o orders) provider.LaunchRequest {
	w.Helper()
	o.Events = w.events
	data, err := json.Marshal(o)
	if err != nil {
		w.Fatal(err)
	}
	return provider.LaunchRequest{Token: token, Name: "m", UserData: data, Tags: map[string]string{"owner": "me"}}
}

// launch launches a machine and waits for its agent.
func (w *world) launch(d *Driver, token string, o orders) (inst provider.Instance, agent int) {
	w.Helper()
	inst, err := d.Launch(w.Context(), w.request(token, o))
	w.must(err)
	return inst, w.await("agent")
}

// await reads events until one of that kind and returns its process id.
func (w *world) await(what string) int {
	w.Helper()
	for {
		line, err := w.lines.ReadString('\n')
		if err != nil {
			w.Fatalf("waiting for %s: %v", what, err)
		}
		kind, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if kind != what {
			continue
		}
		pid, err := strconv.Atoi(number)
		w.must(err)
		return pid
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) list(d *Driver) []provider.Instance {
	w.Helper()
	all, err := d.List(w.Context(), provider.Filter{})
	w.must(err)
	return all
}

// supervisor returns the process id of the machine's supervisor.
func (w *world) supervisor(id string) int {
	w.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "machines", id, "supervisor.lock"))
	w.must(err)
	var h struct{ PID int }
	w.must(json.Unmarshal(data, &h))
	return h.PID
}

func (w *world) kill(pid int) {
	w.Helper()
	w.must(unix.Kill(pid, unix.SIGKILL))
	w.awaitExit(pid)
}

func alive(pid int) bool { return !errors.Is(unix.Kill(pid, 0), unix.ESRCH) && !zombie(pid) }

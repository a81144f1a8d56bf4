package machine

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stix-run/stix/internal/ids"
)

// The test binary is its own stix-agent: a real supervisor, and an agent that runs what home/agent.sh says, or just waits.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "supervise":
			if err := Supervise(context.Background(), os.Args[2]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		case "run":
			runAgent(os.Args[3])
			return
		case "sleep":
			fmt.Println("asleep")
			never := make(chan os.Signal, 1)
			signal.Notify(never, unix.SIGUSR2)
			<-never
		}
	}
	os.Exit(m.Run())
}

func runAgent(dir string) {
	lock, err := os.OpenFile(filepath.Join(dir, "agent.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer lock.Close()
	if free, err := tryLock(lock, unix.LOCK_EX); err != nil || !free {
		return
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	script := filepath.Join(os.Getenv("HOME"), "agent.sh")
	cmd := exec.Command("/bin/sh", script)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if _, err := os.Stat(script); err == nil && cmd.Run() != nil {
		return
	}
	<-term
}

// sleeper starts a process with these variables that waits for ever.
func sleeper(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "sleep")
	cmd.Env = append(env, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// powered returns a machine that is on, whose agent runs the script, and whose log can be read as it is written.
func powered(t *testing.T, script string) (Dir, Record, *bufio.Reader) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := record()
	r.ID, r.Agent = "m-"+ids.Random(8), self
	r.Env = []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}
	d := create(t, r)
	// A pipe in place of the log: it is opened for appending like any file.
	if err := unix.Mkfifo(d.log(), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(d.log(), os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if script != "" {
		if err := os.WriteFile(filepath.Join(d.Home(), "agent.sh"), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	power(t, d, r)
	t.Cleanup(func() {
		if err := d.Shutdown(context.Background(), r); err != nil {
			t.Error(err)
		}
		log.Close()
	})
	return d, r, bufio.NewReader(log)
}

func power(t *testing.T, d Dir, r Record) int {
	t.Helper()
	lock, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	pid, err := d.Power(r)
	if err != nil {
		t.Fatal(err)
	}
	if pid != 0 {
		t.Cleanup(func() { unix.Wait4(pid, nil, 0, nil) })
	}
	return pid
}

// awaitLine reads the log until a line has the text.
func awaitLine(t *testing.T, log *bufio.Reader, text string) {
	t.Helper()
	for {
		line, err := log.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", text, err)
		}
		if strings.Contains(line, text) {
			return
		}
	}
}

func members(r Record) []process { return crew{marker: EnvMachine + "=" + r.ID}.members() }

func TestSecondSupervisorIsNotStarted(t *testing.T) {
	t.Parallel()
	d, r, log := powered(t, "echo agent is up; sleep 1000")
	if pid := power(t, d, r); pid != 0 {
		t.Errorf("started another supervisor %d", pid)
	}
	awaitLine(t, log, "agent is up")
	out, err := exec.Command(os.Args[0], "supervise", string(d)).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("a supervisor started by hand: %s %v, want that it leaves at once", out, err)
	}
	if n := len(members(r)); n < 3 {
		t.Errorf("%d processes left", n)
	}
}

func TestAgentThatFailsIsRestartedAgainAndAgain(t *testing.T) {
	t.Parallel()
	_, _, log := powered(t, "echo attempt; exit 1")
	for range 4 {
		awaitLine(t, log, "attempt")
		awaitLine(t, log, "agent has ended")
	}
}

func TestSupervisorEndsWhenTheRecordSaysSo(t *testing.T) {
	t.Parallel()
	d, r, log := powered(t, "echo attempt; sleep 0.1; exit 1")
	awaitLine(t, log, "attempt")
	r.State = Stopping // by somebody who was killed before he could tell the supervisor
	if err := d.Save(r); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, log, "machine goes off")
}

func TestLostAgentProgramDoesNotEndTheSupervisor(t *testing.T) {
	t.Parallel()
	d, r, log := powered(t, "echo attempt; exit 1")
	awaitLine(t, log, "attempt")
	good := r.Agent
	r.Agent = filepath.Join(string(d), "none")
	if err := d.Save(r); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, log, "agent does not start")
	r.Agent = good
	if err := d.Save(r); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, log, "attempt")
}

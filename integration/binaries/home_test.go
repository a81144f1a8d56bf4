//go:build integration && linux

package binaries

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// commandLimit is how long any command may take. It is for hangs, not for speed.
	commandLimit = 60 * time.Second
	// settleLimit is how long what happens by itself may take.
	settleLimit = 45 * time.Second
)

// home is a state directory, with all that a user of it has.
type home struct {
	t *testing.T
	// root holds the other directories. Every process of this home has it in its environment.
	root string
	// dir is STIX_HOME.
	dir string
	// work is where commands are called.
	work string
	// env is the environment of commands.
	env []string
	// crashed says that a server died while it built machines: what it left half built is swept by its age, later than
	// a test waits.
	crashed bool
}

// newHome makes a home that is taken away, with every process of it, when the test ends.
func newHome(t *testing.T) *home {
	t.Helper()
	// Not t.TempDir: the path of a socket has to be short.
	root, err := os.MkdirTemp("", "stx")
	if err != nil {
		t.Fatal(err)
	}
	h := &home{t: t, root: root, dir: filepath.Join(root, "h"), work: filepath.Join(root, "w")}
	for _, name := range []string{"w", "u", "r"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.env = h.environment()
	t.Cleanup(h.remove)
	return h
}

// environment is that of the tests less what would lead stix elsewhere.
func (h *home) environment() []string {
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "STIX_") && !strings.HasPrefix(name, "SKYPILOT_") && !strings.HasPrefix(name, "XDG_") && name != "HOME" {
			env = append(env, e)
		}
	}
	return append(env, "HOME="+filepath.Join(h.root, "u"), "XDG_RUNTIME_DIR="+filepath.Join(h.root, "r"), "STIX_HOME="+h.dir)
}

// remove ends what is left of the home. A test that passed has left nothing.
func (h *home) remove() {
	if h.t.Failed() {
		h.showLogs()
	}
	gone := poll(10*time.Second, func() bool {
		left := h.processes()
		for _, p := range left {
			syscall.Kill(p.pid, syscall.SIGKILL)
		}
		return len(left) == 0
	})
	if !gone {
		h.t.Errorf("processes that cannot be killed: %v", h.processes())
	}
	if err := os.RemoveAll(h.root); err != nil {
		h.t.Errorf("remove the home: %v", err)
	}
}

// showLogs writes the ends of the programs' own logs to the test's.
func (h *home) showLogs() {
	files := []string{filepath.Join(h.dir, "stixd.log")}
	more, _ := filepath.Glob(filepath.Join(h.dir, "local/machines/*/supervisor.log"))
	for _, file := range append(files, more...) {
		data, _ := os.ReadFile(file)
		h.t.Logf("the end of %s:\n%s", file, data[max(len(data)-4000, 0):])
	}
}

// end takes everything down as a user does, and checks that nothing is left.
func (h *home) end() {
	h.t.Helper()
	h.ok("down", "-y", "-a")
	if left := h.machines(); len(left) > 0 {
		h.t.Errorf("machines left after down: %q", left)
	}
	h.ok("api", "stop")
	h.nothingLeft()
}

// nothingLeft checks that no process, socket or machine of the home is left.
func (h *home) nothingLeft() {
	h.t.Helper()
	if !poll(3*time.Second, func() bool { return len(h.processes()) == 0 }) {
		h.t.Errorf("processes left: %v", h.processes())
	}
	dirs := []string{"local/machines", "local/trash"}
	if !h.crashed {
		dirs = append(dirs, "local/addresses", "local/building")
	}
	for _, dir := range dirs {
		if names := names(h.t, filepath.Join(h.dir, dir)); len(names) > 0 {
			h.t.Errorf("left in %s: %q", dir, names)
		}
	}
	filepath.WalkDir(h.root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type()&os.ModeSocket != 0 {
			h.t.Errorf("socket left: %s", path)
		}
		return nil
	})
}

// result is what a command did.
type result struct {
	args           []string
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("stix %q: exit code %d\n--- stdout\n%s--- stderr\n%s", r.args, r.code, r.stdout, r.stderr)
}

// stix runs a command to its end.
func (h *home) stix(args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := h.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := result{args, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	if ctx.Err() != nil {
		h.t.Fatalf("no end after %v: %v", commandLimit, r)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		h.t.Fatalf("run stix: %v", err)
	}
	return r
}

// command is a stix command of this home.
func (h *home) command(ctx context.Context, args ...string) *exec.Cmd {
	h.t.Helper()
	cmd := exec.CommandContext(ctx, program(h.t, "stix"), args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = h.work, h.env, 5*time.Second
	return cmd
}

// ok runs a command that has to succeed.
func (h *home) ok(args ...string) result {
	h.t.Helper()
	return h.code(0, args...)
}

// code runs a command that has to end with that exit code.
func (h *home) code(want int, args ...string) result {
	h.t.Helper()
	r := h.stix(args...)
	if r.code != want {
		h.t.Fatalf("exit code %d wanted: %v", want, r)
	}
	return r
}

// json runs a listing and reads it.
func (h *home) json(into any, args ...string) {
	h.t.Helper()
	r := h.ok(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(r.stdout), into); err != nil {
		h.t.Fatalf("not JSON: %v: %v", err, r)
	}
}

// program is the path of one of stix's programs.
func program(t testing.TB, name string) string {
	t.Helper()
	bin := os.Getenv("STIX_TEST_BIN")
	path := filepath.Join(bin, name)
	if _, err := os.Stat(path); bin == "" || err != nil {
		missing(t, "STIX_TEST_BIN=%q has no %s: run make integration", bin, name)
	}
	return path
}

// missing skips a test that cannot run here. In CI nothing may be missing.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// eventually waits for what the programs do by themselves.
func eventually(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	if !poll(limit, done) {
		t.Fatalf("not within %v: %s", limit, what)
	}
}

// poll looks again and again; false after the limit.
func poll(limit time.Duration, done func() bool) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	again := time.NewTicker(30 * time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-end.C:
			return done()
		case <-again.C:
		}
	}
	return true
}

// seeded returns a source of random numbers that can be repeated: STIX_TEST_SEED overrides the seed.
func seeded(t testing.TB, seed uint64) *rand.Rand {
	t.Helper()
	if s := os.Getenv("STIX_TEST_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("STIX_TEST_SEED: %v", err)
		}
	}
	t.Logf("seed %d (set STIX_TEST_SEED to repeat it)", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// names lists a directory that may not exist.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// read returns the lines of a file that jobs write to; none when there is no file.
func (h *home) read(name string) []string {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(h.work, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return lines(string(data))
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// sorted returns a sorted copy.
func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return s
}

// write makes a file in the directory where commands are called.
func (h *home) write(name, content string) string {
	h.t.Helper()
	path := filepath.Join(h.work, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

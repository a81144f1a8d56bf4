package command

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stix-run/stix/client/clienttest"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// now is the time of all tests with a table.
var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// world is a machine with a fake server, on which commands run.
type world struct {
	t      *testing.T
	server *clienttest.Server
	home   string // also the current directory
	state  string
	env    map[string]string
	sys    System
	stdin  string

	out, err *stream
}

// stream is a stream that tests read while it is written.
type stream struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	watch func(text string)
}

func (o *stream) Write(p []byte) (int, error) {
	o.mu.Lock()
	o.buf.Write(p)
	text, watch := o.buf.String(), o.watch
	o.mu.Unlock()
	if watch != nil {
		watch(text)
	}
	return len(p), nil
}

func (o *stream) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.buf.Reset()
	return o.buf.String()
}

// newWorld makes a machine whose server runs.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	w.server = clienttest.New()
	w.server.Now = func() time.Time { return now }
	l, err := net.Listen("unix", filepath.Join(w.state, "stixd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.server.Serve(l))
	return w
}

// emptyWorld makes a machine on which nothing runs. Its paths are short: they
// hold a socket.
func emptyWorld(t *testing.T) *world {
	t.Helper()
	home, err := os.MkdirTemp("", "stix")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	w := &world{t: t, home: home, state: filepath.Join(home, "state"), out: &stream{}, err: &stream{}}
	if err := os.Mkdir(w.state, 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("state/user_hash", "0123abcd\n")
	w.env = map[string]string{"STIX_HOME": w.state}
	w.sys = System{
		Width:      func() int { return 0 },
		Dir:        home,
		Home:       home,
		UserName:   "ann",
		Executable: func() (string, error) { return filepath.Join(home, "bin", "stix"), nil },
		Exec:       func(string, []string) error { return errors.New("not here") },
		Now:        func() time.Time { return now },
	}
	return w
}

func (w *world) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.home, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.home, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

// run executes a command and returns its exit code and streams.
func (w *world) run(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	return w.runIn(w.t.Context(), args...)
}

func (w *world) runIn(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	sys := w.sys
	sys.Stdin, sys.Stdout, sys.Stderr = strings.NewReader(w.stdin), w.out, w.err
	sys.LookupEnv = func(name string) (string, bool) {
		value, ok := w.env[name]
		return value, ok
	}
	code = Run(ctx, sys, args)
	return code, w.out.take(), w.err.take()
}

// expect runs a command and compares its exit code and its standard output.
func (w *world) expect(code int, stdout string, args ...string) (stderr string) {
	w.t.Helper()
	gotCode, gotOut, gotErr := w.run(args...)
	if gotCode != code || gotOut != stdout {
		w.t.Errorf("stix %s: exit code %d, want %d; output:\n%s\nwant:\n%s\nstandard error:\n%s",
			strings.Join(args, " "), gotCode, code, gotOut, stdout, gotErr)
	}
	return gotErr
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// at is a time before now, in Unix nanoseconds.
func at(before time.Duration) int64 { return now.Add(-before).UnixNano() }

// cluster is one that is UP, of the user.
func cluster(name string, edit func(*stixv1.Cluster)) *stixv1.ClusterView {
	c := &stixv1.Cluster{
		Meta:  &stixv1.Meta{Uid: "uid-" + name, Name: name, Owner: "0123abcd", Workspace: "default"},
		State: stixv1.ClusterState_CLUSTER_STATE_UP, NumNodes: 1, Infra: "local", InstanceType: "local",
		Vcpus: 2, MemoryGib: 7.5, LaunchedAt: at(3 * time.Hour), LastCommand: "stix launch -c " + name,
	}
	if edit != nil {
		edit(c)
	}
	return &stixv1.ClusterView{Cluster: c, Nodes: []*stixv1.Node{{
		Meta: &stixv1.Meta{Uid: "node-" + name}, State: stixv1.NodeState_NODE_STATE_LAUNCHED, Ip: "127.0.0.2", InstanceId: "m-1",
		Agent: &stixv1.Agent{State: stixv1.AgentState_AGENT_STATE_READY},
	}}}
}

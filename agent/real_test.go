package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/agent"
	"github.com/stix-run/stix/agent/session/sessiontest"
	"github.com/stix-run/stix/internal/bootstrap"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// The test binary is the shim of the agents that it tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "shim" {
		if err := agent.Shim(os.Args[2], os.Environ()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// realNode is an agent with real processes and a coordinator on a unix socket.
type realNode struct {
	t           testing.TB
	coordinator *sessiontest.Coordinator
	dir, home   string
	socket      string
	stopAgent   func()
}

func newRealNode(t testing.TB) *realNode {
	t.Helper()
	dir, err := os.MkdirTemp("", "stix") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	c, err := sessiontest.New("token")
	if err != nil {
		t.Fatal(err)
	}
	n := &realNode{t: t, coordinator: c, dir: dir, home: filepath.Join(dir, "home"), socket: filepath.Join(dir, "s")}
	l, err := net.Listen("unix", n.socket)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := c.Serve(l)
	if err != nil {
		t.Fatal(err)
	}
	n.startAgent()
	t.Cleanup(func() {
		n.stopAgent()
		stop()
		os.RemoveAll(dir)
	})
	n.until("session", connected)
	return n
}

func (n *realNode) startAgent() {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	a, err := agent.New(agent.Config{
		Dir: filepath.Join(n.dir, "agent"), Home: n.home, Program: self, BootID: "b", Logger: hclog.NewNullLogger(),
		Env: []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"},
		Bootstrap: &bootstrap.Bootstrap{
			NodeUID: "node-1", ClusterID: sessiontest.Cluster, CAPin: n.coordinator.Pin(), JoinToken: "token",
			Coordinators: []string{"unix://" + n.socket},
		},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	n.stopAgent = func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
	}
}

func (n *realNode) until(what string, done func(sessiontest.Snapshot) bool) sessiontest.Snapshot {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.coordinator.Until(ctx, done); err != nil {
		n.t.Fatalf("%s: %v", what, err)
	}
	return n.coordinator.State()
}

func TestRealJobIsFollowedOverARestartOfTheAgent(t *testing.T) {
	n := newRealNode(t)
	secret := fmt.Sprint("s3cret-", time.Now().UnixNano())
	o := order("a", "for i in $(seq 1 30); do echo line $i; sleep 0.02; done; [ -n \"$TOKEN\" ] && exit 6")
	o.Envs = []*stixv1.Env{{Name: "TOKEN", Value: secret}}
	n.coordinator.Order(o)
	n.coordinator.Follow("a", false)
	n.until("first lines", func(k sessiontest.Snapshot) bool { return bytes.Contains(k.Assignments["a"].Log, []byte("line 2\n")) })
	n.stopAgent()
	n.startAgent()
	n.until("exit", is("a", exited))
	k := n.until("log", complete("a"))
	var want strings.Builder
	for i := 1; i <= 30; i++ {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if a := k.Assignments["a"]; string(a.Log) != want.String() || a.Status.GetExitCode() != 6 || a.Status.GetPid() == 0 {
		t.Errorf("log %q, status %v", a.Log, a.Status)
	}
	err := filepath.WalkDir(n.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s has the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	n.coordinator.Forget("a")
	n.coordinator.Order(order("b", "true"))
	n.until("next job", is("b", exited))
	if _, err := os.Stat(filepath.Join(n.dir, "agent", "jobs", "a")); err == nil {
		t.Error("directory of a forgotten job is left")
	}
}

func TestLargeLogArrivesWhole(t *testing.T) {
	n := newRealNode(t)
	n.coordinator.Order(order("a", "seq -w 1 9999999 | head -c 40000000"))
	n.coordinator.Follow("a", false)
	k := n.until("log", complete("a"))
	if log := k.Assignments["a"].Log; len(log) != 40000000 || !bytes.HasPrefix(log[39999992:], []byte("5000000")[:7]) {
		t.Errorf("%d bytes, end %q", len(log), log[max(0, len(log)-20):])
	}
}

// BenchmarkOrderToFirstByte is the time from an order until the first byte of its
// output is at the coordinator.
func BenchmarkOrderToFirstByte(b *testing.B) {
	n := newRealNode(b)
	i := 0
	for b.Loop() {
		i++
		uid := fmt.Sprint("j", i)
		o := order(uid, "echo hello")
		o.LogFile = uid + ".log"
		n.coordinator.Order(o)
		n.coordinator.Follow(uid, false)
		n.until("first byte", func(k sessiontest.Snapshot) bool { return len(k.Assignments[uid].Log) > 0 })
		b.StopTimer()
		n.until("exit", is(uid, exited))
		n.until("log", complete(uid))
		n.coordinator.Forget(uid)
		b.StartTimer()
	}
}

// BenchmarkCapture is a job that writes as fast as it can, to its log on disk and
// to the coordinator.
func BenchmarkCapture(b *testing.B) {
	n := newRealNode(b)
	const size = 200 << 20
	b.SetBytes(size)
	i := 0
	for b.Loop() {
		i++
		uid := fmt.Sprint("j", i)
		n.coordinator.Order(order(uid, fmt.Sprintf("head -c %d /dev/zero", size)))
		n.until("exit", is(uid, exited))
		n.coordinator.Forget(uid)
	}
}

// BenchmarkFollow is the same job while the coordinator follows it.
func BenchmarkFollow(b *testing.B) {
	n := newRealNode(b)
	const size = 100 << 20
	b.SetBytes(size)
	i := 0
	for b.Loop() {
		i++
		uid := fmt.Sprint("j", i)
		n.coordinator.Order(order(uid, fmt.Sprintf("head -c %d /dev/zero", size)))
		n.coordinator.Follow(uid, false)
		n.until("exit", is(uid, exited))
		n.until("log", complete(uid))
		n.coordinator.Forget(uid)
	}
}

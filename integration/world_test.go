package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/agent"
	"github.com/stix-run/stix/agent/exec/fakeexec"
	"github.com/stix-run/stix/agent/logs"
	"github.com/stix-run/stix/coordinator"
	"github.com/stix-run/stix/coordinator/consensus"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/bootstrap"
	"github.com/stix-run/stix/internal/ids"
	"github.com/stix-run/stix/internal/memnet"
	"github.com/stix-run/stix/internal/seal"
	"github.com/stix-run/stix/internal/testlog"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/provider/fake"
)

// world is everything of one scenario. The test is the user; crash points are its only fault unless it makes others.
type world struct {
	t     *testing.T
	dir   string
	net   *memnet.Network
	cloud *fake.Cloud
	box   *seal.Box
	// hosts of the coordinators: their ids, and their names in the network.
	hosts []string
	// disks by host.
	disks map[string]*consensus.MemoryDisk
	// steps counts what the coordinator does to the log and to the cloud, and crashes it at one of them.
	steps *steps

	// lives guards up: the coordinators that run, by host.
	lives sync.Mutex
	up    map[string]*process

	// mu guards the machines, which the cloud's goroutines change.
	mu       sync.Mutex
	machines map[string]*machine
	// retired are the fake machines of instances that are gone: what ran on them still counts.
	retired []*fakeexec.Machine
}

// process is one life of a coordinator.
type process struct {
	cancel context.CancelFunc
	ended  chan error
}

// machine is an instance of the fake cloud with an agent on it.
type machine struct {
	dir    string
	jobs   *fakeexec.Machine
	boots  int
	cancel context.CancelFunc
	ended  chan error
	data   []byte
}

// inWorld runs a scenario with one coordinator in a bubble and checks, after it, what must hold after every scenario.
func inWorld(t *testing.T, crashAt int, scenario func(w *world)) (steps int) {
	t.Helper()
	return inWorldOf(t, crashAt, []string{"c1"}, scenario)
}

// inWorldOfThree is inWorld with three coordinators.
func inWorldOfThree(t *testing.T, crashAt int, scenario func(w *world)) (steps int) {
	t.Helper()
	return inWorldOf(t, crashAt, []string{"c1", "c2", "c3"}, scenario)
}

func inWorldOf(t *testing.T, crashAt int, hosts []string, scenario func(w *world)) (steps int) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, crashAt)
		w.hosts = hosts
		defer w.close()
		for _, host := range hosts {
			w.disks[host] = consensus.NewMemoryDisk()
			w.start(host)
		}
		scenario(w)
		w.checkInvariants()
		steps = w.steps.count()
	})
	return steps
}

func newWorld(t *testing.T, dir string, crashAt int) *world {
	t.Helper()
	w := &world{
		t: t, dir: dir, net: memnet.New(uint64(crashAt) + 1), box: seal.NewBox(seal.NewKey()),
		disks: map[string]*consensus.MemoryDisk{}, up: map[string]*process{}, machines: map[string]*machine{},
	}
	w.steps = newSteps(crashAt)
	w.net.SetLatency(200 * time.Microsecond)
	var err error
	w.cloud, err = fake.New(fake.Config{
		Latency: fake.Latency{Call: 20 * time.Millisecond, Boot: 300 * time.Millisecond, Terminate: 100 * time.Millisecond},
		OnBoot:  w.boot, OnStop: w.halt, OnTerminate: w.retire,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// start begins a life of a coordinator, on what the last one left on its disk.
func (w *world) start(host string) {
	w.t.Helper()
	cfg := coordinator.Config{
		ID: host, DataDir: filepath.Join(w.dir, host), Disk: w.disks[host], Users: w.listen(host, "users"), Agents: w.listen(host, "agents"),
		Drivers: map[string]provider.Driver{fake.Name: w.steps.driver(host, w.cloud.Driver())}, Peers: w.peers(host),
		Box: w.box, Version: "test", NewID: ids.New, NewToken: ids.Token,
		Intercept: func(p state.Proposer) state.Proposer { return w.steps.proposer(host, p) },
		Logger:    w.logger(host),
	}
	for _, h := range w.hosts {
		cfg.AgentAddresses = append(cfg.AgentAddresses, h+":1")
	}
	c, err := coordinator.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{cancel: cancel, ended: make(chan error, 1)}
	w.lives.Lock()
	w.up[host] = p
	w.lives.Unlock()
	go func() { p.ended <- c.Run(ctx) }()
}

func (w *world) listen(host, service string) net.Listener {
	w.t.Helper()
	l, err := w.net.Host(host).Listen(service)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// peers are how a coordinator reaches the others; nil when there is one.
func (w *world) peers(host string) *coordinator.Peers {
	if len(w.hosts) == 1 {
		return nil
	}
	p := &coordinator.Peers{
		Stream:  stream{w.listen(host, "raft"), w.net.Host(host)},
		Forward: w.listen(host, "forward"),
		Dial: func(ctx context.Context, id string) (net.Conn, error) {
			return w.net.Host(host).Dial(ctx, id+"/forward")
		},
	}
	for _, h := range w.hosts {
		p.Bootstrap = append(p.Bootstrap, consensus.Server{ID: h, Address: h + "/raft"})
	}
	return p
}

// stream carries the consensus over the network in memory.
type stream struct {
	net.Listener
	host *memnet.Host
}

// Dial is part of consensus.Stream.
func (s stream) Dial(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.host.Dial(ctx, address)
}

func (w *world) logger(name string) hclog.Logger { return testlog.New(w.t).Named(name) }

// crash ends a coordinator as kill -9 does: from now on nothing of it reaches disk or network.
func (w *world) crash(host string) {
	survivor := w.disks[host].Clone()
	w.disks[host].Freeze()
	w.net.Crash(host)
	if err := w.take(host); err != nil {
		w.t.Logf("the crashed coordinator ended with: %v", err)
	}
	w.disks[host] = survivor
}

// take ends a life and returns how it ended.
func (w *world) take(host string) error {
	w.lives.Lock()
	p := w.up[host]
	delete(w.up, host)
	w.lives.Unlock()
	if p == nil {
		return nil
	}
	p.cancel()
	return <-p.ended
}

// stop ends all coordinators as SIGTERM does.
func (w *world) stop() {
	for _, host := range w.hosts {
		if err := w.take(host); err != nil {
			w.t.Errorf("coordinator %s: %v", host, err)
		}
	}
}

// close ends everything, so that the bubble can.
//
//stix:bubble
func (w *world) close() {
	w.steps.disarm()
	w.stop()
	w.cloud.Close()
	w.mu.Lock()
	machines := w.machines
	w.machines = map[string]*machine{}
	w.mu.Unlock()
	for _, m := range machines {
		m.stop(w.t)
	}
	for _, host := range w.hosts {
		w.net.Crash(host) // what clients keep for later use
	}
	time.Sleep(time.Second) // ends of connections travel too
}

// boot starts an agent on an instance, as the machine's start does.
func (w *world) boot(inst provider.Instance, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.machines[inst.ID]
	if m == nil {
		m = &machine{dir: filepath.Join(w.dir, inst.ID), jobs: fakeexec.NewMachine(), data: data}
		w.machines[inst.ID] = m
	}
	m.boots++
	w.startAgent(inst.ID, m)
}

func (w *world) startAgent(id string, m *machine) {
	b, err := bootstrap.Decode(m.data)
	if err != nil {
		w.t.Error(err)
		return
	}
	a, err := agent.New(agent.Config{
		Dir: m.dir, Bootstrap: &b, Home: filepath.Join(m.dir, "home"), BootID: fmt.Sprintf("%s-%d", id, m.boots),
		ReserveBytes: -1, Dial: w.dialer("host-" + id), Executor: m.jobs,
		Logs:   logs.SourceFunc(func(uid string) (logs.Log, error) { return m.jobs.OpenLog(uid) }),
		Syncer: noFiles{}, Logger: w.logger("agent." + id),
	})
	if err != nil {
		w.t.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.ended = cancel, make(chan error, 1)
	go func() { m.ended <- a.Run(ctx) }()
}

// noFiles is a syncer for scenarios without files.
type noFiles struct{}

func (noFiles) Sync(context.Context, []*stixv1.Mount, string) error { return nil }

// dialer connects a host to the agents' port of the coordinator with that address.
func (w *world) dialer(host string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		to, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return w.net.Host(host).Dial(ctx, to+"/agents")
	}
}

func (m *machine) stop(t *testing.T) {
	if m.cancel != nil {
		m.cancel()
		if err := <-m.ended; err != nil {
			t.Logf("agent: %v", err)
		}
		m.cancel = nil
	}
	m.jobs.Reboot()
}

func (w *world) halt(inst provider.Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.machines[inst.ID]; m != nil {
		m.stop(w.t)
	}
}

func (w *world) retire(inst provider.Instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.machines[inst.ID]; m != nil {
		m.stop(w.t)
		w.retired = append(w.retired, m.jobs)
		delete(w.machines, inst.ID)
	}
}

// restartAgent ends the agent of an instance and starts it again; its jobs run on.
func (w *world) restartAgent(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.machines[id]
	m.cancel()
	<-m.ended
	w.startAgent(id, m)
}

var errCrashed = errors.New("the coordinator crashed here")

package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Node is one member of a cluster. Its methods may be called from any goroutine,
// before, during and after Run; outside of it they answer ErrNotLeader or zeroes.
type Node struct {
	cfg     Config
	logger  hclog.Logger
	stream  *cuttable // nil without peers
	fault   *fault
	machine *machine
	size    *sizeTrigger

	ran     atomic.Bool
	raft    atomic.Pointer[raft.Raft] // set once, before started is closed
	started chan struct{}
	ending  chan struct{} // closed when Run begins to stop
	ended   chan struct{} // closed when Run has returned

	calls      gate          // calls that wait inside the library
	work       gate          // leadership functions that run
	leads      atomic.Bool   // Lead runs
	leadership leadership    // what the library last said
	barriered  atomic.Uint64 // newest term in which a barrier was passed
}

// New checks the configuration and assembles a node. It opens and starts nothing.
func New(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	n := &Node{
		cfg:     cfg,
		logger:  cfg.Logger,
		size:    newSizeTrigger(cfg.SnapshotBytes),
		started: make(chan struct{}),
		ending:  make(chan struct{}),
		ended:   make(chan struct{}),
	}
	n.leadership.changed = make(chan struct{})
	if cfg.Stream != nil {
		n.stream = newCuttable(cfg.Stream)
	}
	n.fault = newFault(n.mute)
	n.machine = &machine{fsm: cfg.FSM, fault: n.fault}
	return n, nil
}

// Run opens the stores, restores the state machine and takes part in the cluster
// until ctx is done or the node fails. It may be called once.
//
// When ctx is done it refuses new calls, waits for the leadership function and for
// calls under way, hands leadership to another voter, and returns nil with
// everything closed. After a fault (of the state machine, or of the disk) it cuts
// its peers off at once and returns the cause. Only where a disk or a state
// machine does not let go of a goroutine is it left behind, and Run returns an
// error.
func (n *Node) Run(ctx context.Context) error {
	if n.ran.Swap(true) {
		return errors.New("consensus: Run was called before")
	}
	defer close(n.ended)
	s, r, err := n.open()
	if err != nil {
		n.calls.stop()
		n.mute()
		close(n.ending)
		return err
	}
	n.raft.Store(r)
	close(n.started)

	stopWatching := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		n.watch(r, stopWatching)
	}()
	select {
	case <-ctx.Done():
	case <-n.fault.done:
	}
	n.stop(s, r)
	close(stopWatching)
	<-watched
	return n.fault.cause()
}

// Started is closed once Run has restored the state machine and takes part.
func (n *Node) Started() <-chan struct{} { return n.started }

// mute cuts the node off from its peers.
func (n *Node) mute() {
	if n.stream != nil {
		_ = n.stream.Close()
	}
}

// watch passes on what the library says of leadership, and takes the snapshots
// that the log's size asks for.
func (n *Node) watch(r *raft.Raft, stop <-chan struct{}) {
	for {
		select {
		case leading := <-r.LeaderCh():
			n.leadership.set(leading)
		case <-n.size.due:
			n.snapshotInBackground()
		case <-stop:
			n.leadership.set(false)
			return
		}
	}
}

// stop ends the node. Each step is bounded, since a state machine or a disk that
// hangs would hold it for ever; what is still held then is left behind.
func (n *Node) stop(s stores, r *raft.Raft) {
	close(n.ending)
	n.bounded(func(ctx context.Context) error { return n.work.wait(ctx, nil) })
	n.bounded(n.handOver)
	n.calls.stop()
	n.bounded(func(ctx context.Context) error { return n.calls.wait(ctx, nil) })
	if errors.Is(n.fault.cause(), ErrDiskStalled) {
		go n.release(s, r)
		return
	}
	released := make(chan struct{})
	go func() {
		defer close(released)
		n.release(s, r)
	}()
	select {
	case <-released:
	case <-time.After(n.cfg.StopTimeout):
		n.fault.raise(fmt.Errorf("node does not stop in %s", n.cfg.StopTimeout))
	}
}

// bounded gives a step of the stop its time, and none at all while the disk stalls:
// nothing moves then.
func (n *Node) bounded(step func(context.Context) error) {
	if errors.Is(n.fault.cause(), ErrDiskStalled) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.StopTimeout) //stix:shutdown
	defer cancel()
	if err := step(ctx); err != nil {
		n.logger.Debug("stop", "error", err)
	}
}

// release closes everything, as soon as the library lets go of it. The log must
// not be closed under it.
func (n *Node) release(s stores, r *raft.Raft) {
	_ = n.calls.wait(context.Background(), nil) //stix:shutdown
	if err := r.Shutdown().Error(); err != nil {
		n.logger.Debug("shut down", "error", err)
	}
	n.mute()
	if err := s.closer.Close(); err != nil {
		n.logger.Error("cannot close log", "error", err)
	}
}

// handOver gives leadership to another voter, if this node has it and there is
// one, so that the cluster need not wait for an election timeout.
func (n *Node) handOver(ctx context.Context) error {
	if n.fault.cause() != nil || n.Stats().State != raft.Leader.String() || !n.hasOtherVoter() {
		return nil
	}
	return n.TransferLeadership(ctx, "")
}

// open assembles stores, transport and library; on error it has closed them.
func (n *Node) open() (stores, *raft.Raft, error) {
	logger := quiet(n.logger.Named("raft"))
	s, err := n.openStores(logger)
	if err != nil {
		return stores{}, nil, err
	}
	if err := n.bootstrap(s); err != nil {
		return stores{}, nil, errors.Join(fmt.Errorf("bootstrap: %w", err), s.closer.Close())
	}
	r, err := n.startRaft(n.watched(s), logger)
	if err != nil {
		n.mute()
		return stores{}, nil, errors.Join(err, s.closer.Close())
	}
	n.machine.started.Store(true)
	n.hasten(r)
	return s, r, nil
}

func (n *Node) openStores(logger hclog.Logger) (stores, error) {
	if n.cfg.Stores != nil {
		return n.cfg.Stores.stores(), nil
	}
	return openDisk(n.cfg.Dir, n.cfg.ID, logger)
}

// logCacheSize is how many entries are kept in memory for peers to be sent and
// followers to apply. Each may be large.
const logCacheSize = 64

func (n *Node) watched(s stores) stores {
	watch := watchdog{limit: n.cfg.StallLimit, fault: n.fault}
	s.stable = watchedStable{StableStore: s.stable, watch: watch}
	s.log = watchedLog{LogStore: s.log, watch: watch, size: n.size}
	if n.stream != nil {
		// Fails only for a size below one.
		if cache, err := raft.NewLogCache(logCacheSize, s.log); err == nil {
			s.log = cache
		}
	}
	return s
}

// startRaft starts the library. Its constructor panics where the log has a hole,
// which it can only find there; that becomes an error.
func (n *Node) startRaft(s stores, logger hclog.Logger) (r *raft.Raft, err error) {
	trans := newTransport(n.cfg, n.stream, logger)
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("read log: %v", p)
		}
		if c, ok := trans.(raft.WithClose); ok && err != nil {
			_ = c.Close()
		}
	}()
	r, err = raft.NewRaft(n.cfg.raftConfig(logger), n.machine, s.log, s.stable, s.snapshots, trans)
	if err != nil {
		return nil, fmt.Errorf("start raft: %w", err)
	}
	return r, nil
}

// hasten makes the only voter of a cluster stand for election now instead of when
// it has missed the heartbeats of a leader that cannot exist. The library does so
// when its heartbeat timeout is shortened. (Short timeouts would do it too, and
// wake the process a hundred times a second ever after.)
func (n *Node) hasten(r *raft.Raft) {
	if n.hasOtherVoterOf(r) || !n.votesIn(r) {
		return
	}
	was := r.ReloadableConfig()
	longer := was
	longer.HeartbeatTimeout += time.Millisecond
	longer.ElectionTimeout += time.Millisecond
	if err := errors.Join(r.ReloadConfig(longer), r.ReloadConfig(was)); err != nil {
		n.logger.Debug("hasten election", "error", err)
	}
}

// bootstrap writes the first membership into empty stores. The library does it in
// two writes, the term and then the entry; where a crash came between, there is a
// first term and no entry, and it starts anew: nobody votes in that term.
func (n *Node) bootstrap(s stores) error {
	servers := n.cfg.Bootstrap
	if len(servers) == 0 && n.stream == nil {
		servers = []Server{{ID: n.cfg.ID, Address: n.cfg.ID}}
	}
	if len(servers) == 0 {
		return nil
	}
	if err := undoHalfBootstrap(s); err != nil {
		return err
	}
	var configuration raft.Configuration
	for _, server := range servers {
		configuration.Servers = append(configuration.Servers, server.raft())
	}
	cfg := n.cfg.raftConfig(hclog.NewNullLogger())
	err := raft.BootstrapCluster(cfg, s.log, s.stable, s.snapshots, nil, configuration)
	if errors.Is(err, raft.ErrCantBootstrap) {
		return nil
	}
	return err
}

func undoHalfBootstrap(s stores) error {
	term, err := s.stable.GetUint64(keyTerm)
	if err != nil && err.Error() != "not found" { // the library's own test for it
		return err
	}
	last, err := s.log.LastIndex()
	if err != nil {
		return err
	}
	if term != 1 || last != 0 {
		return nil
	}
	return s.stable.SetUint64(keyTerm, 0)
}

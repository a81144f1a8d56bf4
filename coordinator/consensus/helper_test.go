package consensus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stix-run/stix/internal/memnet"
	"github.com/stix-run/stix/internal/testlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is a state machine that keeps the entries it applied.
type journal struct {
	mu      sync.Mutex
	entries []string
	index   uint64
	poison  string        // an entry that cannot be applied
	hold    chan struct{} // when not nil, Apply waits for it
}

func (j *journal) Apply(index, _ uint64, data []byte) error {
	j.mu.Lock()
	hold := j.hold
	j.mu.Unlock()
	if hold != nil {
		<-hold
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if index <= j.index {
		return fmt.Errorf("entry %d after %d", index, j.index)
	}
	if j.poison != "" && string(data) == j.poison {
		return errors.New("cannot decode")
	}
	j.index = index
	j.entries = append(j.entries, string(data))
	return nil
}

func (j *journal) list() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.entries)
}

// block makes Apply wait until release is called.
func (j *journal) block() (release func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	hold := make(chan struct{})
	j.hold = hold
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.hold = nil
		close(hold)
	}
}

func (j *journal) has(entry string) bool { return slices.Contains(j.list(), entry) }

func (j *journal) Snapshot() (Snapshot, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return journalSnapshot{index: j.index, entries: slices.Clone(j.entries)}, nil
}

func (j *journal) Restore(r io.Reader) error {
	var head [16]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.index = binary.BigEndian.Uint64(head[:])
	j.entries = nil
	for range binary.BigEndian.Uint64(head[8:]) {
		var n [4]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return err
		}
		entry := make([]byte, binary.BigEndian.Uint32(n[:]))
		if _, err := io.ReadFull(r, entry); err != nil {
			return err
		}
		j.entries = append(j.entries, string(entry))
	}
	return nil
}

type journalSnapshot struct {
	index   uint64
	entries []string
}

func (s journalSnapshot) WriteTo(w io.Writer) (int64, error) {
	b := binary.BigEndian.AppendUint64(nil, s.index)
	b = binary.BigEndian.AppendUint64(b, uint64(len(s.entries)))
	for _, e := range s.entries {
		b = binary.BigEndian.AppendUint32(b, uint32(len(e)))
		b = append(b, e...)
	}
	n, err := w.Write(b)
	return int64(n), err
}

func (journalSnapshot) Release() {}

// memStream is a Stream on a host of an in-memory network.
type memStream struct {
	net.Listener
	host *memnet.Host
}

func (s memStream) Dial(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.host.Dial(ctx, address)
}

// member is a running node with what it stands on.
type member struct {
	*Node
	id      string
	disk    *MemoryDisk
	journal *journal
	cancel  context.CancelFunc
	done    chan struct{} // closed when Run and Lead have returned
	err     error         // of Run, once done

	mu      sync.Mutex
	terms   []uint64 // in which it led
	leading int
	fail    atomic.Bool // makes its leadership function fail
}

// startMember runs a node and its leadership function until stop.
func startMember(t *testing.T, cfg Config) *member {
	t.Helper()
	m := &member{id: cfg.ID, disk: cfg.Stores, done: make(chan struct{})}
	if cfg.FSM == nil {
		cfg.FSM = &journal{}
	}
	m.journal, _ = cfg.FSM.(*journal)
	if cfg.Logger == nil {
		cfg.Logger = testlog.New(t).Named(cfg.ID)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Node = n
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	led := make(chan error, 1)
	go func() { led <- n.Lead(ctx, m.lead) }()
	go func() {
		defer close(m.done)
		m.err = n.Run(ctx)
		if err := <-led; err != nil && ctx.Err() == nil && m.err == nil {
			m.err = fmt.Errorf("lead: %w", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-m.done
	})
	return m
}

func (m *member) lead(ctx context.Context, term uint64) error {
	if m.fail.Load() {
		return errors.New("told to fail")
	}
	m.mu.Lock()
	m.terms = append(m.terms, term)
	m.leading++
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	m.leading--
	m.mu.Unlock()
	return nil
}

// leads reports whether the leadership function runs.
func (m *member) leads() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leading > 0
}

func (m *member) stop() error {
	m.cancel()
	<-m.done
	return m.err
}

// put proposes an entry and fails the test unless it is committed.
func (m *member) put(t *testing.T, entry string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	index, err := m.Propose(ctx, []byte(entry))
	if err != nil {
		t.Fatalf("%s: propose %q: %v", m.id, entry, err)
	}
	return index
}

// cluster is a number of members on a network. It is for use in a bubble.
type cluster struct {
	t       *testing.T
	net     *memnet.Network
	servers []Server
	members map[string]*member
	tweak   func(*Config)
}

func newCluster(t *testing.T, size int, tweak func(*Config)) *cluster {
	c := &cluster{t: t, net: memnet.New(1), members: make(map[string]*member), tweak: tweak}
	c.net.SetLatency(time.Millisecond)
	for i := range size {
		id := string(rune('a' + i))
		c.servers = append(c.servers, Server{ID: id, Address: id + "/raft"})
	}
	for _, s := range c.servers {
		c.start(s.ID, NewMemoryDisk())
	}
	return c
}

func (c *cluster) start(id string, disk *MemoryDisk) *member {
	c.t.Helper()
	host := c.net.Host(id)
	l, err := host.Listen("raft")
	if err != nil {
		c.t.Fatal(err)
	}
	cfg := Config{ID: id, Stores: disk, Stream: memStream{Listener: l, host: host}, Bootstrap: c.servers}
	if c.tweak != nil {
		c.tweak(&cfg)
	}
	m := startMember(c.t, cfg)
	c.members[id] = m
	return m
}

// crash stops a member as a loss of power does: what it does after this instant
// reaches neither disk nor network.
func (c *cluster) crash(m *member) *MemoryDisk {
	disk := m.disk.Clone()
	m.disk.Freeze()
	c.net.Crash(m.id)
	m.cancel()
	<-m.done
	delete(c.members, m.id)
	return disk
}

// leader waits for the one member whose leadership function runs and that a quorum
// follows, in virtual time.
//
//stix:bubble
func (c *cluster) leader(except ...string) *member {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for id, m := range c.members {
			if slices.Contains(except, id) || !m.leads() {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			err := m.VerifyLeader(ctx)
			cancel()
			if err == nil && m.leads() {
				return m
			}
		}
	}
	c.t.Fatal("nobody leads after 30 s")
	return nil
}

// elected waits for a member that the library takes for the leader, however new.
//
//stix:bubble
func (c *cluster) elected() *member {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, m := range c.members {
			if m.Stats().State == "Leader" {
				return m
			}
		}
	}
	c.t.Fatal("nobody elected after 30 s")
	return nil
}

func (c *cluster) follower() *member {
	leader := c.leader()
	for _, s := range c.servers {
		if m := c.members[s.ID]; m != nil && m != leader {
			return m
		}
	}
	c.t.Fatal("no follower")
	return nil
}

// agree waits until all members applied the same entries, these among them.
//
//stix:bubble
func (c *cluster) agree(entries ...string) {
	c.t.Helper()
	var lists [][]string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		lists = lists[:0]
		for _, m := range c.members {
			lists = append(lists, m.journal.list())
		}
		if same(lists) && containsAll(lists[0], entries) {
			return
		}
	}
	c.t.Fatalf("members do not agree on %v: %v", entries, lists)
}

func same(lists [][]string) bool {
	for _, l := range lists {
		if !slices.Equal(l, lists[0]) {
			return false
		}
	}
	return true
}

func containsAll(list, entries []string) bool {
	for _, e := range entries {
		if !slices.Contains(list, e) {
			return false
		}
	}
	return true
}

func (c *cluster) stop() {
	c.t.Helper()
	for id, m := range c.members {
		if err := m.stop(); err != nil {
			c.t.Errorf("%s: Run: %v", id, err)
		}
	}
}

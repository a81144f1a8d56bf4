// Package consensus is the Raft node of a coordinator: it keeps a log of opaque
// entries agreed among coordinators, applies them to a state machine, and turns
// leadership into a context. It is the only package that knows
// hashicorp/raft, whose traps it closes:
//
//   - Leadership is never read from the library's state, which lags. Work of a
//     leader runs in [Node.Lead], born after a barrier; a strong read goes through
//     [Node.LinearizableRead].
//   - The library keeps a leader whose disk hangs in office for ever, and hangs
//     itself when asked to step down. A watchdog around every write cuts the node
//     off from its peers and makes [Node.Run] return [ErrDiskStalled].
//   - The library panics when it cannot store its term and goes on after a state
//     machine failed. Here any such fault makes the node mute first and Run return
//     the cause; see fault.
//   - Calls into the library wait on futures that it forgets when it is shut down
//     under them. Every call is counted, and shutdown waits for them to be
//     answered; see gate.
//
// Entries are bytes: what they mean is the state machine's business.
package consensus

import (
	"errors"
	"io"
	"net"
	"time"
)

// FSM is the state machine that the log drives. Apply, Snapshot and Restore are
// called by one goroutine at a time, in log order.
type FSM interface {
	// Apply consumes one committed entry. An error means that the entry cannot be
	// decoded or breaks an assertion: the node stops rather than differ from its
	// peers, and Apply is not called again.
	Apply(index, term uint64, data []byte) error
	// Snapshot captures the state for writing, cheaply: no entry is applied while
	// it runs. The result is used concurrently with later Applies.
	Snapshot() (Snapshot, error)
	// Restore replaces all state by what a Snapshot wrote. It may be called again
	// after it failed, with an older snapshot.
	Restore(r io.Reader) error
}

// Snapshot is a captured state. WriteTo may never be called; Release always is,
// once.
type Snapshot interface {
	WriteTo(w io.Writer) (int64, error)
	Release()
}

// Stream is the network between coordinators. Addr is the address under which
// peers dial this node, so it must not be a wildcard. The node closes it.
type Stream interface {
	net.Listener
	Dial(address string, timeout time.Duration) (net.Conn, error)
}

// Server is one member of the cluster.
type Server struct {
	// ID is unique over all time.
	ID string
	// Address is where its peers dial it.
	Address string
	// Nonvoter marks a member that receives the log but does not count for
	// elections and commits.
	Nonvoter bool
}

// Errors by kind. What a caller may conclude is stated for each; test with
// errors.Is.
var (
	// ErrNotLeader: another node leads, or none, or this one is stopping. Nothing
	// happened. Leader names the node to ask instead, when one is known.
	ErrNotLeader = errors.New("not the leader")
	// ErrRejected: leadership is being handed over. Nothing happened; the same call
	// may succeed here or elsewhere in a moment.
	ErrRejected = errors.New("leadership transfer in progress")
	// ErrUnknownOutcome: the entry may or may not be committed now or later.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrDiskStalled: a write to the log has been outstanding for longer than
	// Config.StallLimit. Run returns it; the process should exit.
	ErrDiskStalled = errors.New("disk stalled")
	// ErrStopped: Run has returned without a fault.
	ErrStopped = errors.New("consensus node stopped")
)

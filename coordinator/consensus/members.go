package consensus

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

func (s Server) raft() raft.Server {
	suffrage := raft.Voter
	if s.Nonvoter {
		suffrage = raft.Nonvoter
	}
	return raft.Server{ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address), Suffrage: suffrage}
}

// AddVoter makes a server a voter, or changes its address. Only the leader can; an
// ErrUnknownOutcome says to look at Servers.
func (n *Node) AddVoter(ctx context.Context, id, address string) error {
	if n.stream == nil && id != n.cfg.ID {
		return fmt.Errorf("add voter %s: node has no stream to peers", id)
	}
	return n.change(ctx, func(r *raft.Raft) raft.Future {
		return r.AddVoter(raft.ServerID(id), raft.ServerAddress(address), 0, 0)
	})
}

// AddNonvoter makes a server receive the log without counting for elections: the
// first step of a join, so that an empty log does not weaken the quorum.
func (n *Node) AddNonvoter(ctx context.Context, id, address string) error {
	if n.stream == nil {
		return fmt.Errorf("add nonvoter %s: node has no stream to peers", id)
	}
	return n.change(ctx, func(r *raft.Raft) raft.Future {
		return r.AddNonvoter(raft.ServerID(id), raft.ServerAddress(address), 0, 0)
	})
}

// RemoveServer removes a member. A leader that removes itself steps down, and a
// removed node stays up without a vote until it is stopped.
func (n *Node) RemoveServer(ctx context.Context, id string) error {
	return n.change(ctx, func(r *raft.Raft) raft.Future {
		return r.RemoveServer(raft.ServerID(id), 0, 0)
	})
}

func (n *Node) change(ctx context.Context, do func(*raft.Raft) raft.Future) error {
	err := n.call(ctx, write, func(r *raft.Raft) error { return do(r).Error() })
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return err
}

// TransferLeadership hands leadership to the server with that id, or to the most
// current voter for "". Proposals are refused with ErrRejected from the start, and
// those under way are waited for, so that none ends in an unknown outcome. It
// returns nil when this node no longer leads.
func (n *Node) TransferLeadership(ctx context.Context, id string) error {
	n.calls.pause()
	defer n.calls.resume()
	drain, cancel := context.WithTimeout(ctx, n.cfg.StopTimeout)
	defer cancel()
	if err := n.calls.wait(drain, n.fault.done); err != nil {
		return fmt.Errorf("drain proposals: %w", err)
	}
	return n.call(ctx, read, func(r *raft.Raft) error {
		if id == "" {
			return r.LeadershipTransfer().Error()
		}
		for _, s := range r.GetConfiguration().Configuration().Servers {
			if s.ID == raft.ServerID(id) {
				return r.LeadershipTransferToServer(s.ID, s.Address).Error()
			}
		}
		return errors.New("no such server")
	})
}

// Servers returns the newest membership known here, which may not be committed.
func (n *Node) Servers() []Server {
	r := n.raft.Load()
	if r == nil {
		return nil
	}
	var servers []Server
	for _, s := range r.GetConfiguration().Configuration().Servers {
		servers = append(servers, Server{
			ID:       string(s.ID),
			Address:  string(s.Address),
			Nonvoter: s.Suffrage != raft.Voter,
		})
	}
	return servers
}

// Leader returns whom this node believes to lead: a hint where to ask, empty when
// it knows of nobody.
func (n *Node) Leader() (id, address string) {
	r := n.raft.Load()
	if r == nil {
		return "", ""
	}
	a, i := r.LeaderWithID()
	return string(i), string(a)
}

// Term returns the newest term that this node has seen.
func (n *Node) Term() uint64 {
	r := n.raft.Load()
	if r == nil {
		return 0
	}
	return r.CurrentTerm()
}

// AppliedIndex returns the index of the newest entry that the state machine has
// applied.
func (n *Node) AppliedIndex() uint64 { return n.machine.applied.load() }

// Stats is a glance at a node, for people.
type Stats struct {
	State     string // Follower, Candidate, Leader or Shutdown, as of a moment ago
	Term      uint64
	LeaderID  string
	Last      uint64 // newest entry in the log
	Committed uint64
	Applied   uint64
	Servers   []Server
}

// Stats returns what the node looks like. Nothing may be decided by it.
func (n *Node) Stats() Stats {
	r := n.raft.Load()
	if r == nil {
		return Stats{State: raft.Shutdown.String()}
	}
	id, _ := n.Leader()
	return Stats{
		State:     r.State().String(),
		Term:      r.CurrentTerm(),
		LeaderID:  id,
		Last:      r.LastIndex(),
		Committed: r.CommitIndex(),
		Applied:   n.AppliedIndex(),
		Servers:   n.Servers(),
	}
}

func (n *Node) hasOtherVoter() bool {
	r := n.raft.Load()
	return r != nil && n.hasOtherVoterOf(r)
}

func (n *Node) hasOtherVoterOf(r *raft.Raft) bool {
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter && s.ID != raft.ServerID(n.cfg.ID) {
			return true
		}
	}
	return false
}

func (n *Node) votesIn(r *raft.Raft) bool {
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter && s.ID == raft.ServerID(n.cfg.ID) {
			return true
		}
	}
	return false
}

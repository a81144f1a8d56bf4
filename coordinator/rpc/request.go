package rpc

import (
	"context"
	"crypto/subtle"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/ids"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// RequestWindow is how long outcomes of requests are kept: an older id is refused, because nobody could tell any more
// whether it was carried out.
const RequestWindow = 24 * time.Hour

// clockTolerance is how far ahead of ours a client's clock may be.
const clockTolerance = 10 * time.Minute

// launchDeadline is when a launch that nobody ended is given up.
const launchDeadline = 30 * time.Minute

// mutation is one mutating call on its way into the log.
type mutation struct {
	s       *server
	subject auth.Subject
	verb    auth.Verb
	id      string
	hash    []byte
}

// mutate prepares a mutating call: who, what, and the id under which it takes effect once.
func (s *server) mutate(ctx context.Context, verb auth.Verb, id string, req proto.Message) (*mutation, error) {
	at, err := ids.Time(id)
	if err != nil {
		return nil, refuse(KindInvalid, "", "request id %q is not one that a client makes: %v", id, err)
	}
	now := s.Now()
	if now.Sub(at) > RequestWindow {
		return nil, refuse(KindTooOld, "send it again as a new request", "request %s is older than %s", id, RequestWindow)
	}
	if at.Sub(now) > clockTolerance {
		return nil, refuse(KindInvalid, "set this machine's clock", "request %s is from the future (%s ahead)", id, at.Sub(now).Round(time.Second))
	}
	hash, err := s.payloadHash(req)
	if err != nil {
		return nil, err
	}
	return &mutation{s: s, subject: subjectOf(ctx), verb: verb, id: id, hash: hash}, nil
}

// payloadHash tells one call from another. It covers the secrets too, so it is one that only the coordinators can make:
// a plain hash on record would let a short secret be guessed.
func (s *server) payloadHash(req proto.Message) ([]byte, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("fingerprint the request: %w", err)
	}
	return s.Sealer.MAC(data), nil
}

// run carries the call out once: fn is called inside the update unless the same request is on record already. The
// record that fn completes is returned, also for a repetition.
func (m *mutation) run(ctx context.Context, object auth.Object, fn func(tx *state.Tx, req *stixv1.Request) error) (*stixv1.Request, error) {
	if err := auth.Allow(m.subject, m.verb, object); err != nil {
		return nil, err
	}
	var out *stixv1.Request
	by := state.Actor{Subject: m.subject.String(), Verb: string(m.verb), Object: object.Kind + "/" + object.Name, RequestID: m.id}
	err := m.s.Store.Update(ctx, by, func(tx *state.Tx) error {
		if old, ok := tx.Requests.Get(m.id); ok {
			if subtle.ConstantTimeCompare(old.PayloadHash, m.hash) != 1 {
				return refuse(KindReplay, "", "request id %s was used for another request", m.id)
			}
			out = old
			return nil
		}
		if tx.RequestForgotten(m.id) {
			return refuse(KindTooOld, "send it again as a new request", "request %s may have been carried out already; its outcome is not kept any more", m.id)
		}
		req := &stixv1.Request{
			Meta:        &stixv1.Meta{Uid: m.id, Workspace: defaultWorkspace, Owner: m.subject.ID},
			Verb:        string(m.verb),
			PayloadHash: m.hash, ClusterName: object.Name,
			State: stixv1.RequestState_REQUEST_STATE_SUCCEEDED, FinishedAt: tx.Now(),
		}
		if err := fn(tx, req); err != nil {
			return err
		}
		tx.Requests.Put(req)
		out = req
		return nil
	})
	return out, err
}

// pending makes a request one that a behaviour will end.
func pending(tx *state.Tx, req *stixv1.Request, limit time.Duration) {
	req.State = stixv1.RequestState_REQUEST_STATE_RUNNING
	req.FinishedAt = 0
	req.Deadline = tx.Now() + int64(limit)
}

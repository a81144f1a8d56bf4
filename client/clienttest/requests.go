package clienttest

import (
	"context"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// request records one that succeeded at once.
func (s *Server) request(ctx context.Context, id, verb, cluster string) *stixv1.Request {
	r := &stixv1.Request{
		Meta: s.meta(s.owner(ctx), id, ""), Verb: verb, ClusterName: cluster, State: stixv1.RequestState_REQUEST_STATE_SUCCEEDED,
	}
	s.requests = append(s.requests, r)
	return r
}

// AddRequest adds a request as it is.
func (s *Server) AddRequest(r *stixv1.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Meta.Revision = s.next()
	s.requests = append(s.requests, r)
}

// EditRequest changes the request whose id has the prefix, the newest for "".
func (s *Server) EditRequest(prefix string, edit func(*stixv1.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range slices.Backward(s.requests) {
		if hasAnyPrefix([]string{prefix}, r.GetMeta().GetUid()) {
			changed := proto.CloneOf(r)
			edit(changed)
			changed.Meta.Revision = s.next()
			s.requests[i] = changed
			break
		}
	}
	s.signal()
}

// ListRequests lists those that match, newest first.
func (s *Server) ListRequests(ctx context.Context, req *stixv1.ListRequestsRequest) (*stixv1.ListRequestsResponse, error) {
	return unary(s, ctx, "ListRequests", req, func() (*stixv1.ListRequestsResponse, error) {
		res := &stixv1.ListRequestsResponse{}
		for _, r := range slices.Backward(s.requests) {
			if hasAnyPrefix(req.GetIdPrefixes(), r.GetMeta().GetUid()) && (req.GetAll() || active(r)) {
				res.Requests = append(res.Requests, r)
			}
		}
		return res, nil
	})
}

func active(r *stixv1.Request) bool { return r.GetState() <= stixv1.RequestState_REQUEST_STATE_RUNNING }

// CancelRequests cancels those that are active.
func (s *Server) CancelRequests(ctx context.Context, req *stixv1.CancelRequestsRequest) (*stixv1.CancelRequestsResponse, error) {
	return unary(s, ctx, "CancelRequests", req, func() (*stixv1.CancelRequestsResponse, error) {
		res := &stixv1.CancelRequestsResponse{}
		for _, r := range s.requests {
			if active(r) && (req.GetAll() || hasAnyPrefix(req.GetIds(), r.GetMeta().GetUid())) {
				r.State = stixv1.RequestState_REQUEST_STATE_CANCELLED
				r.Meta.Revision = s.next()
				res.Ids = append(res.Ids, r.GetMeta().GetUid())
			}
		}
		return res, nil
	})
}

// Follow streams a request until it is final.
func (s *Server) Follow(ctx context.Context, req *stixv1.FollowRequest, stream *connect.ServerStream[stixv1.FollowResponse]) error {
	fault := s.enter(ctx, "Follow", req)
	for sent, last := 0, uint64(0); ; {
		if fault != nil && sent >= fault.Messages {
			return fault.hit(ctx)
		}
		r, changed := s.look(req.GetId())
		if r == nil {
			return Errorf(connect.CodeNotFound, "request '%s' does not exist", req.GetId())
		}
		if r.GetMeta().GetRevision() > last {
			last = r.GetMeta().GetRevision()
			if err := stream.Send(&stixv1.FollowResponse{Request: r}); err != nil {
				return err
			}
			sent++
			if !active(r) {
				return nil
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Server) look(id string) (*stixv1.Request, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if hasAnyPrefix([]string{id}, r.GetMeta().GetUid()) {
			return proto.CloneOf(r), s.changed
		}
	}
	return nil, s.changed
}

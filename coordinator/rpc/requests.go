package rpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// ListRequests is part of RequestService.
func (s *server) ListRequests(ctx context.Context, req *stixv1.ListRequestsRequest) (*stixv1.ListRequestsResponse, error) {
	if err := auth.Allow(subjectOf(ctx), auth.Read, auth.Object{Kind: "request"}); err != nil {
		return nil, err
	}
	view := s.Store.Read()
	res := &stixv1.ListRequestsResponse{}
	add := func(q *stixv1.Request) bool {
		if (req.All || !finalRequest(q)) && (req.ClusterName == "" || req.ClusterName == q.ClusterName) {
			res.Requests = append(res.Requests, q)
		}
		return req.Limit <= 0 || len(res.Requests) < int(req.Limit)
	}
	if len(req.IdPrefixes) > 0 {
		req.All = true
		for _, prefix := range req.IdPrefixes {
			for q := range view.RequestsByPrefix(prefix) {
				add(q)
			}
		}
		return res, nil
	}
	for q := range view.RequestsNewest(view.Requests.Len()) {
		if !add(q) {
			break
		}
	}
	return res, nil
}

func finalRequest(q *stixv1.Request) bool {
	return q.State >= stixv1.RequestState_REQUEST_STATE_SUCCEEDED
}

func findRequest(view *state.View, prefix string) (*stixv1.Request, error) {
	if q, ok := view.Requests.Get(prefix); ok {
		return q, nil
	}
	var found *stixv1.Request
	for q := range view.RequestsByPrefix(prefix) {
		if found != nil {
			return nil, refuse(KindAmbiguous, "give more of the id", "several requests begin with %q", prefix)
		}
		found = q
	}
	if found == nil || prefix == "" {
		return nil, refuse(KindNotFound, "stix api status -a lists the requests there are", "no request %q", prefix)
	}
	return found, nil
}

// Follow is part of RequestService.
func (s *server) Follow(ctx context.Context, req *stixv1.FollowRequest, stream *connect.ServerStream[stixv1.FollowResponse]) error {
	if err := auth.Allow(subjectOf(ctx), auth.Read, auth.Object{Kind: "request", Name: req.Id}); err != nil {
		return err
	}
	view := s.Store.Read()
	q, err := findRequest(view, req.Id)
	if err != nil {
		return err
	}
	watcher := s.Store.Watch(view.Revision, state.Filter{})
	for {
		if err := stream.Send(&stixv1.FollowResponse{Request: q}); err != nil {
			return err
		}
		if finalRequest(q) {
			return nil
		}
		if q, err = nextRequest(ctx, watcher, q.Meta.Uid); err != nil {
			return err
		}
	}
}

// nextRequest waits for the next change of a request.
func nextRequest(ctx context.Context, w *state.Watcher, uid string) (*stixv1.Request, error) {
	for {
		changes, err := w.Next(ctx)
		if err != nil {
			return nil, err
		}
		var found *stixv1.Request
		for _, c := range changes {
			if q, ok := c.New.(*stixv1.Request); ok && q.Meta.Uid == uid {
				found = q
			}
		}
		if found != nil {
			return found, nil
		}
	}
}

// CancelRequests is part of RequestService.
func (s *server) CancelRequests(ctx context.Context, req *stixv1.CancelRequestsRequest) (*stixv1.CancelRequestsResponse, error) {
	subject := subjectOf(ctx)
	if err := auth.Allow(subject, auth.Cancel, auth.Object{Kind: "request"}); err != nil {
		return nil, err
	}
	res := &stixv1.CancelRequestsResponse{}
	by := state.Actor{Subject: subject.String(), Verb: "cancel", Object: "request/"}
	err := s.Store.Update(ctx, by, func(tx *state.Tx) error {
		res.Reset()
		for q := range tx.ActiveRequests() {
			if !req.All && !matchesAnyPrefix(req.Ids, q.Meta.Uid) {
				continue
			}
			res.Ids = append(res.Ids, q.Meta.Uid)
			tx.Requests.Edit(q.Meta.Uid, func(q *stixv1.Request) {
				q.State, q.Error = stixv1.RequestState_REQUEST_STATE_CANCELLED, "cancelled by "+subject.String()
				q.FinishedAt, q.Deadline = tx.Now(), 0
			})
		}
		return nil
	})
	return res, err
}

func matchesAnyPrefix(prefixes []string, id string) bool {
	for _, p := range prefixes {
		if p != "" && len(p) <= len(id) && id[:len(p)] == p {
			return true
		}
	}
	return false
}

// ListEvents is part of EventService.
func (s *server) ListEvents(ctx context.Context, req *stixv1.ListEventsRequest) (*stixv1.ListEventsResponse, error) {
	if err := auth.Allow(subjectOf(ctx), auth.Read, auth.Object{Kind: "cluster", Name: req.ClusterName}); err != nil {
		return nil, err
	}
	view := s.Store.Read()
	c, err := findCluster(view, req.ClusterName, true)
	if err != nil {
		return nil, err
	}
	res := &stixv1.ListEventsResponse{}
	for e := range view.EventsOf(c.Meta.Uid) {
		res.Events = append(res.Events, e)
	}
	if n := len(res.Events); req.Limit > 0 && n > int(req.Limit) {
		res.Events = res.Events[n-int(req.Limit):]
	}
	return res, nil
}

// Info is part of ServerService.
func (s *server) Info(ctx context.Context, _ *stixv1.InfoRequest) (*stixv1.InfoResponse, error) {
	subject := subjectOf(ctx)
	if err := auth.Allow(subject, auth.Read, auth.Object{Kind: "server"}); err != nil {
		return nil, err
	}
	view := s.Store.Read()
	leader, _ := s.Consensus.Leader()
	return &stixv1.InfoResponse{
		Version: s.Config.Info.Version, Build: s.Config.Info.Build, ApiVersion: s.Config.Info.ApiVersion,
		Pid: s.Config.Info.Pid, StateDir: s.Config.Info.StateDir, CoordinatorId: s.Config.Info.CoordinatorId,
		StartedAt: s.Config.Info.StartedAt, ClusterId: s.ClusterID(), LeaderId: leader,
		Term: s.Consensus.Term(), AppliedIndex: s.Consensus.AppliedIndex(), Revision: view.Revision,
		UserId: subject.ID, UserName: subject.Name,
		Clusters: count(view.LiveClusters()), Nodes: count(view.LiveNodes()), Jobs: int64(view.Jobs.Len()),
		Sessions: int64(s.Nodes.Sessions()),
	}, nil
}

func count[T any](seq func(yield func(T) bool)) int64 {
	n := int64(0)
	for range seq {
		n++
	}
	return n
}

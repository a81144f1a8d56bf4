package clienttest

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// AddCluster adds a cluster as it is.
func (s *Server) AddCluster(view *stixv1.ClusterView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clusters = append(s.clusters, view)
}

func (s *Server) cluster(name string, history bool) *stixv1.ClusterView {
	var found *stixv1.ClusterView
	for _, v := range s.clusters {
		gone := v.GetCluster().GetState() == stixv1.ClusterState_CLUSTER_STATE_TERMINATED
		if v.GetCluster().GetMeta().GetName() == name && (history || !gone) {
			found = v
		}
	}
	return found
}

// Launch makes a cluster that is UP, and a job that waits for the test.
func (s *Server) Launch(ctx context.Context, req *stixv1.LaunchRequest) (*stixv1.LaunchResponse, error) {
	return unary(s, ctx, "Launch", req, func() (*stixv1.LaunchResponse, error) {
		if req.GetDryRun() {
			return s.plan(req), nil
		}
		return once(s, req.GetRequestId(), func() (*stixv1.LaunchResponse, error) { return s.launch(ctx, req), nil })
	})
}

func (s *Server) plan(req *stixv1.LaunchRequest) *stixv1.LaunchResponse {
	name := req.GetClusterName()
	if name == "" {
		name = "stix-made-up"
	}
	return &stixv1.LaunchResponse{
		RequestId: req.GetRequestId(), ClusterName: name, Reused: s.cluster(name, false) != nil,
		Plan: &stixv1.Plan{Infra: "local", InstanceType: "local", Vcpus: 2, MemoryGib: 7.5, NumNodes: max(req.GetTask().GetNumNodes(), 1)},
	}
}

func (s *Server) launch(ctx context.Context, req *stixv1.LaunchRequest) *stixv1.LaunchResponse {
	res := s.plan(req)
	view := s.cluster(res.GetClusterName(), false)
	if view == nil {
		view = &stixv1.ClusterView{Cluster: &stixv1.Cluster{
			Meta: s.meta(s.owner(ctx), "cluster-"+res.GetClusterName(), res.GetClusterName()), NumNodes: res.GetPlan().GetNumNodes(),
			State: stixv1.ClusterState_CLUSTER_STATE_UP, Infra: "local", InstanceType: "local", Vcpus: 2, MemoryGib: 7.5,
		}}
		s.clusters = append(s.clusters, view)
	}
	view.Cluster.LaunchedAt, view.Cluster.LastCommand = s.Now().UnixNano(), req.GetCommand()
	res.ClusterUid = view.GetCluster().GetMeta().GetUid()
	request := s.request(ctx, req.GetRequestId(), "launch", res.GetClusterName())
	if req.GetTask().GetRun() != "" || req.GetTask().GetSetup() != "" {
		job := s.submit(s.owner(ctx), view, req.GetTask(), 1, req.GetUserName())
		res.JobNumber, res.LastJobNumber, res.JobUid = job.Number(), job.Number(), job.uid()
		request.FirstJob, request.LastJob = job.Number(), job.Number()
	}
	if s.HoldLaunch {
		request.State = stixv1.RequestState_REQUEST_STATE_RUNNING
	}
	return res
}

// Down marks a cluster as terminated.
func (s *Server) Down(ctx context.Context, req *stixv1.DownRequest) (*stixv1.DownResponse, error) {
	return unary(s, ctx, "Down", req, func() (*stixv1.DownResponse, error) {
		return once(s, req.GetRequestId(), func() (*stixv1.DownResponse, error) {
			view := s.cluster(req.GetClusterName(), false)
			if view == nil {
				return nil, Errorf(connect.CodeNotFound, "cluster '%s' does not exist", req.GetClusterName())
			}
			view.Cluster.State = stixv1.ClusterState_CLUSTER_STATE_TERMINATED
			s.request(ctx, req.GetRequestId(), "down", req.GetClusterName())
			return &stixv1.DownResponse{RequestId: req.GetRequestId(), ClusterUid: view.GetCluster().GetMeta().GetUid()}, nil
		})
	})
}

// ListClusters lists those that match.
func (s *Server) ListClusters(ctx context.Context, req *stixv1.ListClustersRequest) (*stixv1.ListClustersResponse, error) {
	return unary(s, ctx, "ListClusters", req, func() (*stixv1.ListClustersResponse, error) {
		res := &stixv1.ListClustersResponse{Revision: s.revision}
		for _, v := range s.clusters {
			gone := v.GetCluster().GetState() == stixv1.ClusterState_CLUSTER_STATE_TERMINATED
			if matchAny(req.GetNames(), v.GetCluster().GetMeta().GetName()) && (!gone || req.GetHistory()) {
				res.Clusters = append(res.Clusters, proto.CloneOf(v))
			}
		}
		return res, nil
	})
}

// Info returns ServerInfo.
func (s *Server) Info(ctx context.Context, req *stixv1.InfoRequest) (*stixv1.InfoResponse, error) {
	return unary(s, ctx, "Info", req, func() (*stixv1.InfoResponse, error) { return proto.CloneOf(s.ServerInfo), nil })
}

// AddEvent adds an event of any cluster.
func (s *Server) AddEvent(e *stixv1.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// ListEvents returns all events.
func (s *Server) ListEvents(ctx context.Context, req *stixv1.ListEventsRequest) (*stixv1.ListEventsResponse, error) {
	return unary(s, ctx, "ListEvents", req, func() (*stixv1.ListEventsResponse, error) {
		return &stixv1.ListEventsResponse{Events: s.events}, nil
	})
}

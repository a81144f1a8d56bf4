package client

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/stix-run/stix/internal/ids"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Launch brings a cluster up and submits the task's job. It returns when that
// is recorded; FollowRequest tells how it goes on. A missing request id is
// made here; the caller's message is not changed.
func (c *Client) Launch(ctx context.Context, req *stixv1.LaunchRequest) (*stixv1.LaunchResponse, error) {
	req = proto.CloneOf(req)
	setID(&req.RequestId)
	return mutate(ctx, c, c.clusters.Launch, req, req.RequestId)
}

// Down terminates a cluster. It returns when that is recorded.
func (c *Client) Down(ctx context.Context, req *stixv1.DownRequest) (*stixv1.DownResponse, error) {
	req = proto.CloneOf(req)
	setID(&req.RequestId)
	return mutate(ctx, c, c.clusters.Down, req, req.RequestId)
}

// ListClusters lists clusters with their nodes.
func (c *Client) ListClusters(ctx context.Context, req *stixv1.ListClustersRequest) (*stixv1.ListClustersResponse, error) {
	return call(ctx, c, c.clusters.ListClusters, req)
}

// Submit puts a job, or an array of jobs, into the queue of a cluster.
func (c *Client) Submit(ctx context.Context, req *stixv1.SubmitRequest) (*stixv1.SubmitResponse, error) {
	req = proto.CloneOf(req)
	setID(&req.RequestId)
	return mutate(ctx, c, c.jobs.Submit, req, req.RequestId)
}

// ListJobs lists jobs of a cluster, newest first.
func (c *Client) ListJobs(ctx context.Context, req *stixv1.ListJobsRequest) (*stixv1.ListJobsResponse, error) {
	return call(ctx, c, c.jobs.ListJobs, req)
}

// Cancel asks for the end of jobs.
func (c *Client) Cancel(ctx context.Context, req *stixv1.CancelRequest) (*stixv1.CancelResponse, error) {
	req = proto.CloneOf(req)
	setID(&req.RequestId)
	return mutate(ctx, c, c.jobs.Cancel, req, req.RequestId)
}

// ListRequests lists requests, newest first.
func (c *Client) ListRequests(ctx context.Context, req *stixv1.ListRequestsRequest) (*stixv1.ListRequestsResponse, error) {
	return call(ctx, c, c.requests.ListRequests, req)
}

// CancelRequests gives up requests that are not final. It has no id: cancelling
// twice is cancelling once.
func (c *Client) CancelRequests(ctx context.Context, req *stixv1.CancelRequestsRequest) (*stixv1.CancelRequestsResponse, error) {
	return call(ctx, c, c.requests.CancelRequests, req)
}

// Events lists what happened to a cluster, its nodes and jobs, oldest first.
func (c *Client) Events(ctx context.Context, req *stixv1.ListEventsRequest) (*stixv1.ListEventsResponse, error) {
	return call(ctx, c, c.events.ListEvents, req)
}

// Info tells of the server.
func (c *Client) Info(ctx context.Context) (*stixv1.InfoResponse, error) {
	return call(ctx, c, c.server.Info, &stixv1.InfoRequest{})
}

func setID(id *string) {
	if *id == "" {
		*id = ids.New()
	}
}

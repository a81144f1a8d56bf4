package rpc

import (
	"cmp"
	"context"
	"io"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/coordinator/auth"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func endOf(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// Enrol is part of EnrolmentService: the only one, with Renew, that answers without a certificate. The token is the
// right to it.
func (s *server) Enrol(ctx context.Context, req *stixv1.EnrolRequest) (*stixv1.EnrolResponse, error) {
	return s.Nodes.Enrol(ctx, req)
}

// Renew is part of EnrolmentService. The node's key is the right to it.
func (s *server) Renew(ctx context.Context, req *stixv1.RenewRequest) (*stixv1.EnrolResponse, error) {
	return s.Nodes.Renew(ctx, req)
}

// Session is part of AgentService.
func (s *server) Session(ctx context.Context, stream *connect.BidiStream[stixv1.AgentMessage, stixv1.CoordinatorMessage]) error {
	node, err := allowNode(ctx, auth.Join)
	if err != nil {
		return err
	}
	hash, _ := ctx.Value(nodeKeyHashKey).(string)
	return s.Nodes.Session(ctx, auth.Peer{NodeUID: node, KeyHash: hash}, stream.Receive, stream.Send)
}

// allowNode is the node that the certificate names.
func allowNode(ctx context.Context, verb auth.Verb) (string, error) {
	subject := subjectOf(ctx)
	if err := auth.Allow(subject, verb, auth.Object{Kind: "node", UID: subject.ID}); err != nil {
		return "", err
	}
	return subject.ID, nil
}

// PushLog is part of AgentDataService. A node pushes the logs of its own assignments only.
func (s *server) PushLog(ctx context.Context, stream *connect.ClientStream[stixv1.PushLogRequest]) (*stixv1.PushLogResponse, error) {
	node, err := allowNode(ctx, auth.Report)
	if err != nil {
		return nil, err
	}
	log, complete := "", false
	next := receiver(stream)
	res, err := s.Config.Logs.Push(ctx, func() (*stixv1.PushLogRequest, error) {
		m, err := next()
		if err == nil {
			log = cmp.Or(log, m.AssignmentUid)
			complete = m.Complete
		}
		return m, err
	}, func(assignmentUID string) (string, bool) {
		a, ok := s.Store.Read().Assignments.Get(assignmentUID)
		if !ok || a.NodeUid != node {
			return "", false
		}
		return a.JobUid, true
	})
	if err != nil {
		return nil, err
	}
	if complete {
		err = s.keepLog(ctx, log)
	}
	return res, err
}

// keepLog makes a complete log safe before its node is told that it may forget it.
func (s *server) keepLog(ctx context.Context, assignmentUID string) error {
	a, ok := s.Store.Read().Assignments.Get(assignmentUID)
	if ok && s.Copies != nil {
		if err := s.Copies.CopyLog(ctx, a.JobUid, assignmentUID); err != nil {
			return err
		}
	}
	return s.Nodes.LogComplete(ctx, assignmentUID)
}

// FetchBlobs is part of AgentDataService.
func (s *server) FetchBlobs(ctx context.Context, req *stixv1.FetchBlobsRequest, stream *connect.ServerStream[stixv1.FetchBlobsResponse]) error {
	if _, err := allowNode(ctx, auth.Report); err != nil {
		return err
	}
	return s.Blobs.Fetch(ctx, req.Hashes, stream.Send)
}

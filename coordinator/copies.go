package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/coordinator/logs"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
)

// forCopies is how the path of a copy from the leader begins.
const forCopies = "/copies"

// copyChunk is the size of a message of a copy.
const copyChunk = 256 << 10

// copier gives the peers what only the leader has: logs that are complete. A log counts as kept, and its node may
// forget it, when a second coordinator has it too.
type copier struct {
	c    *Coordinator
	http *http.Client
}

// CopyLog copies a complete log to every peer that can be reached, and to one at least. Part of rpc.Copies.
func (p *copier) CopyLog(ctx context.Context, jobUID, assignmentUID string) error {
	copied := false
	var failed error
	for _, s := range p.c.node.Servers() {
		if s.ID == p.c.cfg.ID {
			continue
		}
		if err := p.copyTo(ctx, s.ID, logs.Key{JobUID: jobUID, AssignmentUID: assignmentUID}); err != nil {
			failed = errors.Join(failed, fmt.Errorf("copy the log to %s: %w", s.ID, err))
			continue
		}
		copied = true
	}
	if copied {
		return nil
	}
	return failed
}

func (p *copier) copyTo(ctx context.Context, id string, key logs.Key) error {
	stream, err := stixv1connect.NewAgentDataServiceClient(p.http, "http://"+id+forCopies).PushLog(ctx)
	if err != nil {
		return err
	}
	reader := p.c.logs.Reader(key, 0)
	defer reader.Close()
	for {
		at := reader.Offset()
		data, complete, err := reader.Next(ctx, copyChunk)
		if err == nil {
			err = stream.Send(&stixv1.PushLogRequest{AssignmentUid: key.AssignmentUID, Offset: at, Data: data, Complete: complete})
		}
		if err != nil || complete {
			_, closeErr := stream.CloseAndReceive()
			return errors.Join(err, closeErr)
		}
	}
}

// copies takes what the leader gives.
type copies struct {
	stixv1connect.UnimplementedAgentDataServiceHandler
	c *Coordinator
}

// PushLog is part of AgentDataService: the leader pushes like an agent.
func (p copies) PushLog(ctx context.Context, stream *connect.ClientStream[stixv1.PushLogRequest]) (*stixv1.PushLogResponse, error) {
	return p.c.logs.Push(ctx, func() (*stixv1.PushLogRequest, error) { return receive(stream) }, func(uid string) (string, bool) {
		a, ok := p.c.store.Read().Assignments.Get(uid)
		return a.GetJobUid(), ok
	})
}

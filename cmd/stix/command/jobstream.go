package command

import (
	"context"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/client/logview"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// showLogs writes a job's log to the standard output as it comes, and returns
// the state that the job was in last.
func (a *app) showLogs(ctx context.Context, req *stixv1.LogsRequest) (stixv1.JobState, error) {
	view := logview.New(logview.Config{
		Out:       a.sys.Stdout,
		Notice:    func(text string) { a.notice("%s", text) },
		Color:     a.sys.color(a.sys.StdoutTerminal),
		Tail:      req.GetTail(),
		LastLines: lastLines(req),
	})
	err := a.feed(ctx, view, req)
	if closeErr := view.Close(); err == nil {
		err = closeErr
	}
	return view.State(), err
}

// lastLines bounds the lines of a log that is not followed: the server's tail
// is of each rank's log.
func lastLines(req *stixv1.LogsRequest) int {
	if req.GetFollow() {
		return 0
	}
	return int(req.GetTail())
}

func (a *app) feed(ctx context.Context, view *logview.View, req *stixv1.LogsRequest) error {
	for msg, err := range a.client.Logs(ctx, req) {
		if err != nil {
			return a.detached(ctx, view.Head(), err)
		}
		if err := view.Show(msg); err != nil {
			return err
		}
	}
	return nil
}

// detached turns the end of the context, Ctrl-C, into what to do next.
func (a *app) detached(ctx context.Context, head *stixv1.LogHead, err error) error {
	if ctx.Err() == nil || client.KindOf(err) != client.Cancelled || head == nil {
		return err
	}
	a.notice("\nThe job runs on. To follow it again: stix logs %s %d", head.GetClusterName(), head.GetNumber())
	return silently(exitError)
}

// streamJobs follows jobs one after the other, as they were submitted, and
// returns the error that carries the exit code: that of the first that did not
// succeed.
func (a *app) streamJobs(ctx context.Context, cluster string, first, last int64, uid string) error {
	code := exitOK
	for n := first; n <= last; n++ {
		req := &stixv1.LogsRequest{ClusterName: cluster, Number: n, Follow: true}
		if n == first {
			req.JobUid = uid
		}
		state, err := a.showLogs(ctx, req)
		if err != nil {
			return err
		}
		if code == exitOK {
			code = jobExit(state)
		}
	}
	return silently(code)
}

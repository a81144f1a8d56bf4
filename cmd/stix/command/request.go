package command

import (
	"context"
	"strings"

	"github.com/stix-run/stix/client"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// await follows a request until it is final. Each step is told to the progress.
func (a *app) await(ctx context.Context, p *progress, id string) (*stixv1.Request, error) {
	var last *stixv1.Request
	for req, err := range a.client.FollowRequest(ctx, id) {
		if err != nil {
			return nil, a.left(ctx, id, err)
		}
		last = req
		if steps := req.GetProgress(); len(steps) > 0 {
			p.stage(strings.TrimRight(steps[len(steps)-1].GetText(), ".…"))
		}
	}
	return last, nil
}

// left turns Ctrl-C while a request is under way into what to do next.
func (a *app) left(ctx context.Context, id string, err error) error {
	if ctx.Err() == nil || client.KindOf(err) != client.Cancelled {
		return err
	}
	a.notice("\nThe request goes on.")
	a.followHint(id)
	return silently(exitError)
}

// followHint says how to watch and how to cancel a request.
func (a *app) followHint(id string) {
	a.notice("├── To follow it:  stix api logs %s", shortID(id))
	a.notice("└── To cancel it:  stix api cancel %s", shortID(id))
}

// accepted is the answer to --async.
func (a *app) accepted(id string) error {
	a.notice("Submitted the request.")
	a.followHint(id)
	return a.printf("%s\n", id)
}

// failedRequest is the error for a request that is final and did not succeed.
func failedRequest(req *stixv1.Request) error {
	switch req.GetState() {
	case stixv1.RequestState_REQUEST_STATE_FAILED:
		return &exitWith{code: exitError, message: req.GetError()}
	case stixv1.RequestState_REQUEST_STATE_CANCELLED:
		return &exitWith{code: exitError, message: "the request was cancelled"}
	}
	return nil
}

// shortIDLength is enough of a request id to be unique: the time and some bits.
const shortIDLength = 18

// shortID is a prefix of a request id that is fit to be typed.
func shortID(id string) string {
	return id[:min(len(id), shortIDLength)]
}

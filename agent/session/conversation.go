package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const (
	// welcomeTimeout is how long a coordinator may take to answer the first message.
	welcomeTimeout = 10 * time.Second
	// defaultHeartbeat is for a coordinator that asks for none.
	defaultHeartbeat = 3 * time.Second
)

type stream = connect.BidiStreamForClientSimple[stixv1.AgentMessage, stixv1.CoordinatorMessage]

// conversation is one session.
type conversation struct {
	config    Config
	stream    *stream
	handler   Handler
	renew     chan<- struct{}
	cancel    context.CancelCauseFunc // ends the stream
	heartbeat time.Duration
}

// greet says hello and waits for the welcome.
func (c *conversation) greet(ctx context.Context) error {
	timer := time.AfterFunc(welcomeTimeout, func() { c.cancel(errors.New("coordinator does not answer")) })
	defer timer.Stop()
	hello := c.config.Hello()
	hello.Capability = Capability
	err := c.stream.Send(&stixv1.AgentMessage{Message: &stixv1.AgentMessage_Hello{Hello: hello}})
	if err != nil {
		return c.why(ctx, err)
	}
	m, err := c.stream.Receive()
	if err != nil {
		return c.why(ctx, err)
	}
	w := m.GetWelcome()
	if w == nil {
		return fmt.Errorf("coordinator began with %T", m.GetMessage())
	}
	c.heartbeat = time.Duration(w.GetHeartbeatIntervalMs()) * time.Millisecond
	if c.heartbeat <= 0 {
		c.heartbeat = defaultHeartbeat
	}
	if w.GetRenewCertificate() {
		c.askRenewal()
	}
	return nil
}

// why returns the reason behind the end of a stream: a failed send knows less than
// the answer that ended it.
func (c *conversation) why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if _, answer := c.stream.Receive(); answer != nil {
		return answer
	}
	return err
}

func (c *conversation) askRenewal() {
	select {
	case c.renew <- struct{}{}:
	default:
	}
}

// run speaks and listens until one of both fails or ctx ends.
func (c *conversation) run(ctx context.Context) error {
	c.handler.Connected()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.end(c.listen()) })
	g.Go(func() error { return c.end(c.speak(ctx)) })
	return g.Wait()
}

// end makes the other side of the conversation end too.
func (c *conversation) end(err error) error {
	c.cancel(err)
	return err
}

func (c *conversation) listen() error {
	for {
		m, err := c.stream.Receive()
		if err != nil {
			return err
		}
		c.hear(m)
	}
}

// hear passes a message on. One that is unknown is from a newer coordinator, who
// knows the capability of this agent, and can be ignored.
func (c *conversation) hear(m *stixv1.CoordinatorMessage) {
	switch v := m.GetMessage().(type) {
	case *stixv1.CoordinatorMessage_Orders:
		c.handler.Orders(v.Orders)
	case *stixv1.CoordinatorMessage_ReportAck:
		c.config.Outbox.Ack(v.ReportAck.GetSequence())
	case *stixv1.CoordinatorMessage_FollowLog:
		c.handler.FollowLog(v.FollowLog)
	case *stixv1.CoordinatorMessage_Forget:
		c.handler.Forget(v.Forget.GetAssignmentUids())
	case *stixv1.CoordinatorMessage_Welcome:
		if v.Welcome.GetRenewCertificate() {
			c.askRenewal()
		}
	}
}

// speak sends what is not confirmed, then what is new, and a heartbeat at each
// interval.
func (c *conversation) speak(ctx context.Context) error {
	ticker := time.NewTicker(c.heartbeat)
	defer ticker.Stop()
	sent := uint64(0)
	for {
		reports, more := c.config.Outbox.Reports(sent)
		for _, r := range reports {
			if err := c.send(&stixv1.AgentMessage{Message: &stixv1.AgentMessage_Report{Report: r}}); err != nil {
				return err
			}
			sent = r.GetSequence()
		}
		select {
		case <-more:
		case <-ticker.C:
			beat := &stixv1.Heartbeat{SentAt: c.config.Now().UnixNano()}
			if err := c.send(&stixv1.AgentMessage{Message: &stixv1.AgentMessage_Heartbeat{Heartbeat: beat}}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *conversation) send(m *stixv1.AgentMessage) error {
	return c.stream.Send(m)
}

package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/internal/tlsconf"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
)

// HeartbeatInterval that agents are asked for.
const HeartbeatInterval = 3 * time.Second

// enrolment gives certificates.
type enrolment struct{ c *Coordinator }

// Enrol implements stixv1connect.EnrolmentServiceHandler.
func (e enrolment) Enrol(_ context.Context, r *stixv1.EnrolRequest) (*stixv1.EnrolResponse, error) {
	pin, err := tlsconf.RequestPin(r.GetCsr())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	e.c.mu.Lock()
	ok := r.GetJoinToken() == e.c.token && (e.c.keyPin == "" || e.c.keyPin == pin)
	if ok {
		e.c.keyPin = pin
	}
	e.c.mu.Unlock()
	if !ok {
		return nil, connect.NewError(connect.CodePermissionDenied, errors.New("join token is not good"))
	}
	return e.sign(r.GetNodeUid(), r.GetCsr(), func() { e.c.enrols++ })
}

// Renew implements stixv1connect.EnrolmentServiceHandler.
func (e enrolment) Renew(_ context.Context, r *stixv1.RenewRequest) (*stixv1.EnrolResponse, error) {
	pin, err := tlsconf.RequestPin(r.GetCsr())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	old, err := tlsconf.PinOf(r.GetCertificate())
	e.c.mu.Lock()
	ok := err == nil && old == pin && e.c.keyPin == pin
	e.c.mu.Unlock()
	if !ok {
		return nil, connect.NewError(connect.CodePermissionDenied, errors.New("not the key of the node"))
	}
	return e.sign(r.GetNodeUid(), r.GetCsr(), func() { e.c.renewals++ })
}

func (e enrolment) sign(uid string, csr []byte, count func()) (*stixv1.EnrolResponse, error) {
	life := e.c.CertificateLife
	if life == 0 {
		life = 24 * time.Hour
	}
	cert, err := e.c.ca.SignNode(csr, uid, time.Now(), life)
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	lost := false
	e.c.update(func() {
		count()
		if e.c.lose > 0 {
			e.c.lose--
			lost = true
		}
	})
	if lost {
		return nil, errLost
	}
	return &stixv1.EnrolResponse{Certificate: cert, CaCertificates: [][]byte{e.c.ca.CertPEM()}}, nil
}

// Session implements stixv1connect.AgentServiceHandler.
func (c *Coordinator) Session(ctx context.Context, stream *connect.BidiStream[stixv1.AgentMessage, stixv1.CoordinatorMessage]) error {
	m, err := stream.Receive()
	if err != nil {
		return err
	}
	if m.GetHello() == nil {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("no hello"))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &session{stream: stream, cancel: cancel}
	s.mu.Lock()
	full := &stixv1.Orders{Full: true}
	c.update(func() {
		c.hellos = append(c.hellos, m.GetHello())
		c.sessions[s] = true
		for _, o := range c.orders {
			full.Orders = append(full.Orders, o)
		}
	})
	defer func() {
		c.update(func() { delete(c.sessions, s) })
		s.mu.Lock()
		defer s.mu.Unlock()
		s.over = true
	}()
	err = errors.Join(
		stream.Send(&stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_Welcome{Welcome: &stixv1.Welcome{
			Capability: 1, HeartbeatIntervalMs: HeartbeatInterval.Milliseconds(), RenewCertificate: c.Welcome.GetRenewCertificate(),
		}}}),
		stream.Send(&stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_Orders{Orders: full}}),
	)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	heard := make(chan error, 1)
	go func() { heard <- c.listen(s) }() // ends with the stream, which ends when this returns
	select {
	case err := <-heard:
		return err
	case <-ctx.Done():
		return connect.NewError(connect.CodeUnavailable, errors.New("session dropped"))
	}
}

func (c *Coordinator) listen(s *session) error {
	for {
		m, err := s.stream.Receive()
		if err != nil {
			return err
		}
		switch v := m.GetMessage().(type) {
		case *stixv1.AgentMessage_Heartbeat:
			c.update(func() { c.beats++ })
		case *stixv1.AgentMessage_Report:
			if c.take(v.Report) {
				s.send(&stixv1.CoordinatorMessage{Message: &stixv1.CoordinatorMessage_ReportAck{
					ReportAck: &stixv1.ReportAck{Sequence: v.Report.GetSequence()},
				}})
			}
		}
	}
}

// take notes a report and tells whether it is to be confirmed.
func (c *Coordinator) take(r *stixv1.Report) (confirm bool) {
	c.update(func() {
		c.reports = append(c.reports, r.GetSequence())
		for _, st := range r.GetStatuses() {
			a := c.assignment(st.GetUid())
			if st.GetState() > a.Status.GetState() {
				a.Status = st
				a.States = append(a.States, st.GetState())
			}
		}
		confirm = !c.mute
	})
	return confirm
}

// data is the bulk service.
type data struct{ c *Coordinator }

// FetchBlobs implements stixv1connect.AgentDataServiceHandler: there are none.
func (data) FetchBlobs(context.Context, *stixv1.FetchBlobsRequest, *connect.ServerStream[stixv1.FetchBlobsResponse]) error {
	return connect.NewError(connect.CodeNotFound, errors.New("no blobs here"))
}

// PushLog implements stixv1connect.AgentDataServiceHandler.
func (d data) PushLog(_ context.Context, stream *connect.ClientStream[stixv1.PushLogRequest]) (*stixv1.PushLogResponse, error) {
	uid := ""
	for stream.Receive() {
		m := stream.Msg()
		if uid == "" {
			uid = m.GetAssignmentUid()
		}
		if uid == "" {
			return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("first message names no log"))
		}
		if err := d.take(uid, m); err != nil {
			return nil, connect.NewError(connect.CodeFailedPrecondition, err)
		}
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	d.c.mu.Lock()
	a := d.c.assignment(uid)
	size, done := int64(len(a.Log)), a.Complete
	d.c.mu.Unlock()
	if done && d.c.AutoForget {
		d.c.Forget(uid)
	}
	return &stixv1.PushLogResponse{Size: size}, nil
}

func (d data) take(uid string, m *stixv1.PushLogRequest) (err error) {
	d.c.update(func() {
		a := d.c.assignment(uid)
		have := int64(len(a.Log))
		if m.GetOffset() > have {
			err = fmt.Errorf("gap in log of %s: have %d, got %d", uid, have, m.GetOffset())
			return
		}
		a.Received += int64(len(m.GetData()))
		if skip := have - m.GetOffset(); skip < int64(len(m.GetData())) {
			a.Log = append(a.Log, m.GetData()[skip:]...)
		}
		a.Complete = a.Complete || m.GetComplete()
	})
	return err
}

var (
	_ stixv1connect.EnrolmentServiceHandler = enrolment{}
	_ stixv1connect.AgentServiceHandler     = (*Coordinator)(nil)
	_ stixv1connect.AgentDataServiceHandler = data{}
)

package logs

import (
	"context"
	"errors"
	"fmt"
	"io"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Push takes the messages of AgentDataService.PushLog from next until io.EOF. The
// first names the log; a stream without data only asks for the size of the copy.
// jobOf tells the job of an assignment, if the caller may push its log. After an
// error the bytes before it are kept.
//
// A message without data at the end of the copy says that there is no more for
// now, which CatchUp waits for. At offset 0 it has to come after the first, which
// may be only a question.
func (s *Store) Push(ctx context.Context, next func() (*stixv1.PushLogRequest, error),
	jobOf func(assignmentUID string) (jobUID string, ok bool),
) (*stixv1.PushLogResponse, error) {
	m, err := next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("push log: %w: no message", ErrInvalid)
		}
		return nil, err
	}
	uid := m.GetAssignmentUid()
	job, ok := jobOf(uid)
	if !ok {
		return nil, fmt.Errorf("push log of %.200q: %w", uid, ErrUnknown)
	}
	l, err := s.use(Key{JobUID: job, AssignmentUID: uid})
	if err != nil {
		return nil, err
	}
	defer s.done(l)
	defer l.set(func(st *status) { st.current = false })
	for first := true; err == nil; first = false {
		if err = s.take(ctx, l, m, first); err == nil {
			m, err = next()
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &stixv1.PushLogResponse{Size: l.state().size}, nil
}

// take applies one message.
func (s *Store) take(ctx context.Context, l *log, m *stixv1.PushLogRequest, first bool) error {
	if uid := m.GetAssignmentUid(); !first && uid != "" && uid != l.key.AssignmentUID {
		return fmt.Errorf("push log %v: %w: a message of %.200q", l.key, ErrInvalid, uid)
	}
	end := m.GetOffset() + int64(len(m.GetData()))
	if len(m.GetData()) > 0 {
		if _, err := s.append(ctx, l, m.GetOffset(), m.GetData()); err != nil {
			return err
		}
	}
	if m.GetComplete() {
		return s.complete(ctx, l, end)
	}
	if len(m.GetData()) == 0 && (!first || end > 0) {
		l.set(func(st *status) { st.current = st.size == end })
	}
	return nil
}

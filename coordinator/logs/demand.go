package logs

import (
	"context"
	"slices"
	"time"
)

// demand is the interest of readers in one log.
type demand struct {
	key     Key
	readers int
	// told is set while Wants has been asked to follow.
	told bool
	// idle is since when there are no readers.
	idle time.Time
}

// demand registers a reader.
func (s *Store) demand(l *log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	uid := l.key.AssignmentUID
	d, ok := s.demands[uid]
	if !ok {
		d = &demand{key: l.key}
		s.demands[uid] = d
	}
	d.readers++
	s.look(uid)
}

func (s *Store) undemand(key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.demands[key.AssignmentUID]
	if d.readers--; d.readers == 0 {
		d.idle = s.cfg.Now()
		s.look(key.AssignmentUID)
	}
}

// look makes Run look at a demand. The mutex is held.
func (s *Store) look(uid string) {
	s.changed = append(s.changed, uid)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Followed returns from where on the log of an assignment is wanted now, for an
// agent that has lost its orders, or false when nobody reads it.
func (s *Store) Followed(assignmentUID string) (from int64, ok bool) {
	s.mu.Lock()
	d, ok := s.demands[assignmentUID]
	s.mu.Unlock()
	if !ok {
		return 0, false
	}
	size, ended, err := s.Size(d.key)
	return size, err == nil && !ended
}

// Run tells Wants what is read, until ctx ends. It tells everything again when it
// is run again.
func (s *Store) Run(ctx context.Context) error {
	s.again()
	timer := time.NewTimer(0)
	defer timer.Stop()
	// lingering are the assignments without readers, the first to be idle in front.
	var lingering []string
	for {
		for _, uid := range s.takeChanged() {
			if s.tell(uid) {
				again := func(other string) bool { return other == uid }
				lingering = append(slices.DeleteFunc(lingering, again), uid)
			}
		}
		var wait time.Duration
		if lingering, wait = s.expire(lingering); len(lingering) > 0 {
			timer.Reset(wait)
		}
		select {
		case <-s.wake:
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// again makes Run begin with every demand, as if nothing had been told.
func (s *Store) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for uid, d := range s.demands {
		d.told = false
		s.look(uid)
	}
}

func (s *Store) takeChanged() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	uids := s.changed
	s.changed = nil
	return uids
}

// tell asks to follow a log that has readers, grows, and is not followed. It
// reports whether the log has lost its readers, so that the time of lingering
// begins.
func (s *Store) tell(uid string) (idle bool) {
	s.mu.Lock()
	d, ok := s.demands[uid]
	wanted, told := ok && d.readers > 0, ok && d.told
	s.mu.Unlock()
	if !wanted {
		return ok
	}
	size, ended, err := s.Size(d.key)
	if told || ended || err != nil {
		return false
	}
	s.mu.Lock()
	d.told = true
	s.mu.Unlock()
	if s.cfg.Wants != nil {
		s.cfg.Wants.Follow(uid, size)
	}
	return false
}

// expire ends the following of logs that have been without readers for long
// enough, and returns the others with the time until the next is due.
func (s *Store) expire(lingering []string) (rest []string, wait time.Duration) {
	for len(lingering) > 0 {
		over, left := s.over(lingering[0])
		if left > 0 {
			return lingering, left
		}
		if over && s.cfg.Wants != nil {
			s.cfg.Wants.Unfollow(lingering[0])
		}
		lingering = lingering[1:]
	}
	return nil, 0
}

// over reports whether the demand ends now, or how long it lingers.
func (s *Store) over(uid string) (over bool, left time.Duration) {
	s.mu.Lock()
	d, ok := s.demands[uid]
	if !ok || d.readers > 0 {
		s.mu.Unlock()
		return false, 0
	}
	if left = d.idle.Add(s.cfg.Linger).Sub(s.cfg.Now()); left > 0 {
		s.mu.Unlock()
		return false, left
	}
	delete(s.demands, uid)
	l := s.logs[d.key]
	s.mu.Unlock()
	if l != nil {
		l.set(func(st *status) { st.current = false })
	}
	return d.told, 0
}

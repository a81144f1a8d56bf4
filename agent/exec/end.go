package exec

import (
	"syscall"
	"time"
)

// tick is how often it is looked whether what was signalled is gone. The end of a
// child is told by the kernel, that of a grandchild is not.
const tick = 10 * time.Millisecond

// end ends all that is left of the job: SIGTERM, and after grace SIGKILL.
//
// An interactive shell ignores SIGTERM unless its script traps it, so without
// more ado it would carry on with its next line once its present command died.
// Such a shell is stopped first, and killed when the others are gone.
func (s *shim) end(grace time.Duration) {
	frozen := s.freezeShell()
	if grace > 0 {
		s.each(func(pid int) {
			if pid != frozen {
				_ = syscall.Kill(pid, syscall.SIGTERM)
				_ = syscall.Kill(pid, syscall.SIGCONT)
			}
		})
		s.until(time.Now().Add(grace), func() bool { return s.only(frozen) })
	}
	s.slaughter()
}

// freezeShell stops the shell if it would ignore SIGTERM, and returns its pid.
func (s *shim) freezeShell() int {
	if s.exited || !ignoresTerm(s.pid) {
		return 0
	}
	_ = syscall.Kill(s.pid, syscall.SIGSTOP)
	return s.pid
}

// slaughter kills until nothing is left. All are stopped before any is killed, so
// that none can start another when it sees one die.
func (s *shim) slaughter() {
	deadline := time.Now().Add(slaughterTime)
	s.until(deadline, func() bool {
		if s.childless {
			return true
		}
		stopped := map[int]bool{}
		for grown := true; grown; {
			grown = false
			s.each(func(pid int) {
				if !stopped[pid] {
					stopped[pid], grown = true, true
					_ = syscall.Kill(pid, syscall.SIGSTOP)
				}
			})
		}
		for pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		s.survivors = len(stopped)
		return false
	})
	if s.childless {
		s.survivors = 0
	}
}

// until calls done after each change and each tick until it is true or time is up.
func (s *shim) until(deadline time.Time, done func() bool) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for s.reap(); !done() && time.Now().Before(deadline); s.reap() {
		select {
		case <-t.C:
		case <-s.child:
		}
	}
}

// only tells whether nothing but pid is left.
func (s *shim) only(pid int) bool {
	if s.childless {
		return true
	}
	left := 0
	s.each(func(p int) {
		if p != pid {
			left++
		}
	})
	return left == 0
}

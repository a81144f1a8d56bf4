//go:build !linux

package exec

import (
	"context"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// becomeSubreaper does nothing: there is no such thing here, and a process that
// leaves both its parent and its session is out of reach.
func becomeSubreaper() error { return nil }

// scriptFile returns a pipe with the text.
func scriptFile(text []byte) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() { // ends when the shell has read it or is gone
		defer w.Close()
		_, _ = w.Write(text)
	}()
	return r, nil
}

func enlargePipe(*os.File) {}

// ignoresTerm is true for any interactive shell without a trap, which cannot be
// seen from outside here.
func ignoresTerm(int) bool { return true }

// each calls fn for every process that descends from ours or is in the group of
// the shell, and is not a zombie.
func (s *shim) each(fn func(pid int)) {
	for _, pid := range related(os.Getpid(), s.pid) {
		fn(pid)
	}
}

// zombie is SZOMB of <sys/proc.h>.
const zombie = 5

// related lists the processes below root or in the process group.
func related(root, group int) []int {
	list, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	in := map[int]bool{root: true}
	var found []int
	for grown := true; grown; {
		grown = false
		for i := range list {
			p := &list[i]
			pid := int(p.Proc.P_pid)
			if in[pid] || p.Proc.P_stat == zombie || pid <= 1 {
				continue
			}
			if in[int(p.Eproc.Ppid)] || group > 1 && int(p.Eproc.Pgid) == group {
				in[pid], grown = true, true
				found = append(found, pid)
			}
		}
	}
	return found
}

// killMarked kills the process group of a shell whose shim is gone.
func killMarked(_ context.Context, _ string, shell int64) int {
	if shell <= 1 {
		return 0
	}
	found := related(int(shell), int(shell))
	for _, pid := range append(found, int(shell)) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return len(found)
}

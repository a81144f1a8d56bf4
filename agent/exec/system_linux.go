package exec

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// becomeSubreaper makes every process that loses its parent a child of ours, so
// that nothing a job starts can leave it.
func becomeSubreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// scriptFile returns a file with the text that is on no disk.
func scriptFile(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("stix-script", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make script: %w", err)
	}
	f := os.NewFile(uintptr(fd), "script")
	if _, err := f.Write(text); err != nil {
		f.Close()
		return nil, fmt.Errorf("make script: %w", err)
	}
	return f, nil
}

func enlargePipe(f *os.File) {
	_, _ = unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, pipeBytes)
}

// ignoresTerm tells whether a process ignores SIGTERM.
func ignoresTerm(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return err == nil && ignored(data, syscall.SIGTERM)
}

// ignored finds a signal in the line SigIgn of /proc/PID/status.
func ignored(status []byte, sig syscall.Signal) bool {
	for line := range bytes.Lines(status) {
		hex, ok := bytes.CutPrefix(line, []byte("SigIgn:"))
		if !ok {
			continue
		}
		mask, err := strconv.ParseUint(strings.TrimSpace(string(hex)), 16, 64)
		return err == nil && mask&(1<<(sig-1)) != 0
	}
	return false
}

// each calls fn for every process that descends from ours and is not a zombie.
func (s *shim) each(fn func(pid int)) {
	if parents, err := processes(); err == nil {
		for _, pid := range descendants(parents, os.Getpid()) {
			fn(pid)
		}
	}
}

// processes lists the parents of all processes that are not zombies.
func processes() (map[int]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	parents := make(map[int]int, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		data, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it ended
		}
		if parent, state, ok := parseStat(data); ok && state != 'Z' && state != 'X' {
			parents[pid] = parent
		}
	}
	return parents, nil
}

// parseStat reads the parent and the state from /proc/PID/stat. The name between
// them may contain anything.
func parseStat(data []byte) (parent int, state byte, ok bool) {
	i := bytes.LastIndexByte(data, ')')
	if i < 0 {
		return 0, 0, false
	}
	fields := bytes.Fields(data[i+1:])
	if len(fields) < 2 || len(fields[0]) != 1 {
		return 0, 0, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return parent, fields[0][0], err == nil
}

// descendants returns all processes below root.
func descendants(parents map[int]int, root int) []int {
	children := map[int][]int{}
	for pid, parent := range parents {
		children[parent] = append(children[parent], pid)
	}
	var found []int
	for level := children[root]; len(level) > 0; {
		found = append(found, level...)
		var next []int
		for _, pid := range level {
			next = append(next, children[pid]...)
		}
		level = next
	}
	return found
}

// killMarked kills the processes of a job whose shim is gone: those with its mark
// in their environment and their descendants. It returns how many it found.
func killMarked(ctx context.Context, uid string, _ int64) int {
	deadline := time.Now().Add(slaughterTime)
	seen := map[int]bool{}
	for time.Now().Before(deadline) {
		found := marked(uid)
		if len(found) == 0 {
			break
		}
		for _, pid := range found {
			seen[pid] = true
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
		for _, pid := range marked(uid) {
			seen[pid] = true
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if pause(ctx, tick) != nil {
			break
		}
	}
	return len(seen)
}

func marked(uid string) []int {
	parents, err := processes()
	if err != nil {
		return nil
	}
	mark := []byte(markName + "=" + uid)
	set := map[int]bool{}
	for pid := range parents {
		env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		if err != nil || pid == os.Getpid() || !hasLine(env, mark) {
			continue
		}
		set[pid] = true
		for _, below := range descendants(parents, pid) {
			set[below] = true
		}
	}
	var found []int
	for pid := range set {
		found = append(found, pid)
	}
	return found
}

// hasLine tells whether a list that zeros separate has this item.
func hasLine(list, item []byte) bool {
	for one := range bytes.SplitSeq(list, []byte{0}) {
		if bytes.Equal(one, item) {
			return true
		}
	}
	return false
}

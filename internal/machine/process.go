package machine

import (
	"os"
	"syscall"
)

// process is one process of this computer, as it was when it was looked at. Number and start time together are never used again.
type process struct {
	pid    int
	ppid   int
	start  uint64
	zombie bool
}

// signal sends sig to this process, and to no other that has its number by now; true if it was sent.
func (p process) signal(sig syscall.Signal) bool {
	// The handle (a pidfd on Linux) stays with whatever has the number now; if that is still p, it stays p.
	h, err := os.FindProcess(p.pid)
	if err != nil {
		return false
	}
	defer h.Release()
	if now, ok := look(p.pid); !ok || now.start != p.start {
		return false
	}
	return h.Signal(sig) == nil
}

// crew selects the processes of a machine.
type crew struct {
	// marker is the environment variable, with its value, that its processes have.
	marker string
	// root, if not 0, is a process whose descendants belong to it too.
	root int
}

// members returns the processes of the machine that live, without this one. Descendants of a member are members, so that one that
// cleared its environment is found.
func (c crew) members() []process {
	all := processes()
	self := os.Getpid()
	in := make(map[int]bool, len(all))
	if c.root != 0 {
		in[c.root] = true
	}
	for _, p := range all {
		if p.pid != self && marked(p.pid, c.marker) {
			in[p.pid] = true
		}
	}
	for grown := true; grown; { // as deep as the tree is
		grown = false
		for _, p := range all {
			if !in[p.pid] && in[p.ppid] {
				in[p.pid], grown = true, true
			}
		}
	}
	var members []process
	for _, p := range all {
		if in[p.pid] && p.pid != self && p.pid != c.root && !p.zombie {
			members = append(members, p)
		}
	}
	return members
}

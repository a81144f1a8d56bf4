//go:build !linux

package local

import (
	"os/exec"
	"strconv"
	"strings"
	"time"
)

func zombie(pid int) bool {
	out, _ := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return strings.HasPrefix(string(out), "Z")
}

// awaitExit waits until the process has ended.
func (w *world) awaitExit(pid int) {
	w.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		if !alive(pid) {
			return
		}
		<-tick.C
	}
	w.Fatalf("process %d does not end", pid)
}

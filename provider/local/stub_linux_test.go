package local

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func zombie(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && bytes.Contains(data, []byte(") Z "))
}

// awaitExit waits until the process has ended.
func (w *world) awaitExit(pid int) {
	w.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 30_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			w.Fatalf("process %d does not end: %v", pid, err)
		}
		return
	}
}

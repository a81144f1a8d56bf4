package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var errNoProcFS = errors.New("what a process uses can be measured on Linux only")

// process is one that was started in the scratch directory.
type process struct {
	pid  int
	args []string
}

// is reports whether the process runs a program as one of its commands ("stix-agent", "run").
func (p process) is(program, command string) bool {
	return len(p.args) > 1 && (p.args[0] == program || strings.HasSuffix(p.args[0], "/"+program)) && p.args[1] == command
}

// memory of a process in MB. What it shares with others counts in full in rss, in parts in pss, and not in private.
type memory struct{ rss, pss, private float64 }

// usage is the processor time of this process.
func usage() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// parseRollup reads /proc/PID/smaps_rollup.
func parseRollup(data string) (memory, error) {
	var m memory
	found := 0
	for line := range strings.Lines(data) {
		var kib float64
		name, value, _ := strings.Cut(line, ":")
		if n, _ := fmt.Sscanf(strings.TrimSpace(value), "%g kB", &kib); n != 1 {
			continue
		}
		size := kib * 1024 / 1e6
		switch name {
		case "Rss":
			m.rss = size
		case "Pss":
			m.pss = size
		case "Private_Clean", "Private_Dirty":
			m.private += size
		default:
			continue
		}
		found++
	}
	if found != 4 {
		return memory{}, errors.New("smaps_rollup has another form")
	}
	return m, nil
}

// Package host tells what the machine is made of and which boot of it this is.
// Parsers take bytes and return facts; only the probes
// at the end touch the machine.
package host

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/stix-run/stix/internal/diskspace"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Facts returns what the machine is made of; disk is that of the file system of
// home. What cannot be found out is zero.
func Facts(home string) *stixv1.HostFacts {
	f := &stixv1.HostFacts{Vcpus: int32(runtime.NumCPU()), Os: runtime.GOOS, Arch: runtime.GOARCH, MemoryBytes: memoryBytes()}
	if _, total, err := diskspace.Of(home); err == nil {
		f.DiskBytes = total
	}
	if name, err := os.Hostname(); err == nil {
		f.Hostname = name
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		f.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	return f
}

// parseMemTotal reads the size of the memory from /proc/meminfo.
func parseMemTotal(meminfo []byte) (int64, error) {
	for line := range bytes.Lines(meminfo) {
		rest, ok := bytes.CutPrefix(line, []byte("MemTotal:"))
		if !ok {
			continue
		}
		fields := bytes.Fields(rest)
		if len(fields) != 2 || string(fields[1]) != "kB" {
			break
		}
		kib, err := strconv.ParseInt(string(fields[0]), 10, 53)
		if err != nil || kib < 0 {
			break
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("meminfo has no MemTotal in kB")
}

// Package host tells what the machine is made of, which boot of it this is and how
// much of its disk is free. Parsers take bytes and return facts; only the probes
// at the end touch the machine.
package host

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Facts returns what the machine is made of; disk is that of the file system of
// home. What cannot be found out is zero.
func Facts(home string) *stixv1.HostFacts {
	f := &stixv1.HostFacts{Vcpus: int32(runtime.NumCPU()), Os: runtime.GOOS, Arch: runtime.GOARCH, MemoryBytes: memoryBytes()}
	if d, err := DiskOf(home); err == nil {
		f.DiskBytes = d.Total
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

// Disk is the state of a file system, in bytes.
type Disk struct {
	Total int64
	// Free is what this user may still write.
	Free int64
}

// DiskOf returns the state of the file system that path is on.
func DiskOf(path string) (Disk, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Disk{}, fmt.Errorf("disk of %s: %w", path, err)
	}
	block := int64(st.Bsize)
	return Disk{Total: int64(st.Blocks) * block, Free: int64(st.Bavail) * block}, nil
}

// Reserve returns an error when less than reserve bytes are free where path is.
func Reserve(path string, reserve int64) error {
	d, err := DiskOf(path)
	if err != nil {
		return err
	}
	if d.Free < reserve {
		return fmt.Errorf("disk is full: %d MiB are free on the file system of %s, %d MiB are kept in reserve",
			d.Free>>20, path, reserve>>20)
	}
	return nil
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

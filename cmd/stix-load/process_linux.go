package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processesOf returns the processes that have a directory, or something below it, in their environment or arguments: those
// of the scratch directory, whose name nobody else has.
func processesOf(dir string) ([]process, error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var all []process
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil || pid == os.Getpid() {
			continue
		}
		cmdline, _ := os.ReadFile(name + "/cmdline")
		environ, _ := os.ReadFile(name + "/environ")
		if len(cmdline) == 0 || !mentions(cmdline, dir) && !mentions(environ, dir) {
			continue
		}
		all = append(all, process{pid: pid, args: strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")})
	}
	return all, nil
}

func mentions(words []byte, dir string) bool {
	return slices.ContainsFunc(bytes.Split(words, []byte{0}), func(word []byte) bool {
		_, value, ok := bytes.Cut(word, []byte("="))
		return below(string(word), dir) || ok && below(string(value), dir)
	})
}

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// cpuTime is the processor time of a process to the nanosecond; the clock ticks of /proc/PID/stat are too coarse for an
// idle one. Threads that have ended are not in it.
func cpuTime(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, fmt.Errorf("process %d is gone, or this kernel does not count its time", pid)
	}
	var sum time.Duration
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return 0, err
		}
		used, _, _ := strings.Cut(string(data), " ")
		ns, err := strconv.ParseInt(used, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

func memoryOf(pid int) (memory, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return memory{}, err
	}
	return parseRollup(string(data))
}

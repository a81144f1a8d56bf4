package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/stix-run/stix/internal/backoff"
)

// measureLimit is how long one measure may take.
const measureLimit = 2 * time.Minute

func programs() []string { return []string{"stix", "stixd", "stix-agent"} }

// measure is one thing that can be measured by itself.
type measure struct {
	name, about string
	run         func(ctx context.Context, b *bench) ([]figure, error)
}

// measures are all there are, in the order in which they disturb each other least.
func measures() []measure {
	return []measure{
		{"sizes", "programs on disk", sizes},
		{"status", "stix status against a running server", status},
		{"exec", "stix exec to its first line of output", execFirstLine},
		{"first-byte", "a job from its submission to the first byte of its log", firstByte},
		{"launch", "stix launch from nothing running", launch},
		{"idle", "memory and processor time of what waits", idle},
		{"array", "arrays of 10,000 jobs", array},
		{"submit", "single submissions from 64 clients", submit},
		{"state", "state changes of one voter", stateChanges},
		{"capture", "a job's log to the disk of its node", capture},
		{"follow", "a job's log to a client", follow},
	}
}

func known(name string) bool {
	return slices.ContainsFunc(measures(), func(m measure) bool { return m.name == name })
}

// bench is what the measures share.
type bench struct {
	options
	out io.Writer
	// scratch has everything that is started in it.
	scratch string
	sites   map[string]*site
	// pause is the share of the processors that others used while everything of ours waited.
	pause float64
}

func newBench(o options, out io.Writer) (*bench, error) {
	scratch, err := os.MkdirTemp("", "stix-load-")
	if err != nil {
		return nil, err
	}
	// What is in the environment of a process has no symbolic links in it.
	real, err := filepath.EvalSymlinks(scratch)
	if err != nil {
		return nil, errors.Join(err, os.Remove(scratch))
	}
	return &bench{options: o, out: out, scratch: real, sites: map[string]*site{}, pause: unknown}, nil
}

// measure runs one measure and shows its figures.
func (b *bench) measure(ctx context.Context, m measure) ([]figure, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, measureLimit, fmt.Errorf("it took more than %v", measureLimit))
	defer cancel()
	fmt.Fprintf(b.out, "\n%s: %s\n", m.name, m.about)
	start := time.Now()
	figures, err := m.run(ctx, b)
	for _, f := range figures {
		fmt.Fprintln(b.out, "  "+f.line())
	}
	fmt.Fprintf(b.out, "  [%.1f s]\n", time.Since(start).Seconds())
	if err != nil {
		return figures, fmt.Errorf("%s: %w", m.name, err)
	}
	return figures, nil
}

// times is a number of runs.
func (b *bench) times(n int) int {
	if b.quick {
		return max(n/10, 2)
	}
	return n
}

// close stops everything and removes the scratch directory.
func (b *bench) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // also after an interrupt
	defer cancel()
	var all []error
	for _, s := range b.sites {
		all = append(all, s.close(ctx))
	}
	all = append(all, killBelow(ctx, b.scratch), os.RemoveAll(b.scratch))
	return errors.Join(all...)
}

// killBelow ends what is left of what was started in a directory: nothing, unless something went wrong.
func killBelow(ctx context.Context, dir string) error {
	left, err := processesOf(dir)
	for n := 0; err == nil && len(left) > 0; n++ {
		for _, p := range left {
			sig := syscall.SIGKILL
			if n < 20 && !p.is("stix-agent", "supervise") { // which would start its agent again
				sig = syscall.SIGTERM
			}
			_ = syscall.Kill(p.pid, sig) // it may have ended by itself
		}
		if err := backoff.Sleep(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%d processes could not be stopped: %w", len(left), err)
		}
		left, err = processesOf(dir)
	}
	return err
}

// command is a program of stix in the environment of a home.
func (b *bench) command(ctx context.Context, home string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, args[0]), args[1:]...)
	cmd.Env = environment(os.Environ(), home)
	cmd.Dir = home
	return cmd
}

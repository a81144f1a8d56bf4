package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	gohost "github.com/shirou/gopsutil/v3/host"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"

	"github.com/stix-run/stix/internal/backoff"
)

// quietShare is the share of the processors that may be in use before a measurement whose figures are to count.
const quietShare = 0.15

// unknown is a share that nobody looked at.
const unknown = -1

// host is the machine, and what it did before anything was measured.
type host struct {
	date      time.Time
	processor string
	cores     int
	memory    float64 // GiB
	kernel    string
	version   string // of the Go toolchain
	load      [3]float64
	busy      float64 // share of all processors in use before anything ran
	pause     float64 // the same while everything of ours waited; unknown if that was not looked at
	fsync     series  // ms of a write of 4 KiB and its fsync, where the state directories are
}

func describeHost(ctx context.Context, scratch string) host {
	h := host{
		date: time.Now().UTC(), processor: "unknown", cores: runtime.NumCPU(), pause: unknown,
		version: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
	}
	if infos, err := cpu.InfoWithContext(ctx); err == nil && len(infos) > 0 {
		h.processor = infos[0].ModelName
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		h.memory = float64(m.Total) / (1 << 30)
	}
	if k, err := gohost.KernelVersionWithContext(ctx); err == nil {
		h.kernel = k
	}
	if l, err := load.AvgWithContext(ctx); err == nil {
		h.load = [3]float64{l.Load1, l.Load5, l.Load15}
	}
	h.busy, _ = busyShare(ctx, 2*time.Second) // zero, and an empty series, say that it is not known
	h.fsync, _ = fsyncs(scratch)
	return h
}

// busyShare looks for a time at what the machine does by itself: nothing of ours may run meanwhile.
func busyShare(ctx context.Context, during time.Duration) (float64, error) {
	before, err := processors(ctx)
	if err != nil {
		return 0, err
	}
	if err := backoff.Sleep(ctx, during); err != nil {
		return 0, err
	}
	after, err := processors(ctx)
	if err != nil {
		return 0, err
	}
	return busyBetween(before, after), nil
}

// processors is the time that all processors together were used and not used.
func processors(ctx context.Context) (cpu.TimesStat, error) {
	times, err := cpu.TimesWithContext(ctx, false)
	if err != nil {
		return cpu.TimesStat{}, fmt.Errorf("read the processors' times: %w", err)
	}
	if len(times) == 0 {
		return cpu.TimesStat{}, errors.New("read the processors' times: there are none")
	}
	return times[0], nil
}

func busyBetween(before, after cpu.TimesStat) float64 {
	all := total(after) - total(before)
	if all <= 0 {
		return 0
	}
	return 1 - (after.Idle+after.Iowait-before.Idle-before.Iowait)/all
}

func total(t cpu.TimesStat) float64 {
	return t.User + t.System + t.Nice + t.Iowait + t.Irq + t.Softirq + t.Steal + t.Idle
}

// fsyncs measures what each commit has to wait for at least.
func fsyncs(dir string) (series, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var s series
	block := make([]byte, 4096)
	for range 50 {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		s.add(time.Since(start))
	}
	return s, nil
}

func (h host) disturbed() bool { return max(h.busy, h.pause) > quietShare }

// facts are what is told of the machine.
func (h host) facts() [][2]string {
	return [][2]string{
		{"date", h.date.Format("2006-01-02 15:04 MST")},
		{"processor", fmt.Sprintf("%s, %d cores", h.processor, h.cores)},
		{"memory", fmt.Sprintf("%.1f GiB", h.memory)},
		{"kernel", h.kernel},
		{"Go", h.version},
		{"disk", fmt.Sprintf("write of 4 KiB with fsync: %s median, %s at most of %d", quantity(h.fsync.median(), ms), quantity(h.fsync.most(), ms), len(h.fsync))},
		{"load before", fmt.Sprintf("%.2f %.2f %.2f", h.load[0], h.load[1], h.load[2])},
		{"in use by others", h.others()},
	}
}

func (h host) others() string {
	text := fmt.Sprintf("%.0f %% of the processors before", h.busy*100)
	if h.pause != unknown {
		text += fmt.Sprintf(", %.0f %% while all of ours waited", h.pause*100)
	}
	return text
}

func (h host) table() string {
	var b strings.Builder
	b.WriteString("| | |\n|---|---|\n")
	for _, f := range h.facts() {
		fmt.Fprintf(&b, "| %s | %s |\n", f[0], f[1])
	}
	return b.String()
}

func (h host) text() string {
	var b strings.Builder
	for _, f := range h.facts() {
		fmt.Fprintf(&b, "%-18s %s\n", f[0], f[1])
	}
	if h.disturbed() {
		b.WriteString("The machine is busy with other things: the figures will say little.\n")
	}
	return b.String()
}

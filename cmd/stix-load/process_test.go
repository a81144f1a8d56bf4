package main

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
)

const rollup = `5630cfb70000-7ffccf6d5000 ---p 00000000 00:00 0                          [rollup]
Rss:                1752 kB
Pss:                 235 kB
Pss_Dirty:           112 kB
Shared_Clean:       1600 kB
Private_Clean:        40 kB
Private_Dirty:       112 kB
Referenced:         1752 kB
`

func TestMemoryIsReadInMegabytes(t *testing.T) {
	m, err := parseRollup(rollup)
	if err != nil {
		t.Fatal(err)
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
	if !near(m.rss, 1.794048) || !near(m.pss, 0.24064) || !near(m.private, 0.155648) {
		t.Errorf("read %+v", m)
	}
	if _, err := parseRollup("Rss: 12 kB\n"); err == nil {
		t.Error("half of the lines are enough")
	}
}

func TestProgramsAreToldByTheirArguments(t *testing.T) {
	p := process{args: []string{"/opt/stix-agent", "shim", "/x"}}
	if !p.is("stix-agent", "shim") || p.is("stix-agent", "run") || p.is("agent", "shim") {
		t.Errorf("%v is taken for another", p.args)
	}
	if (process{args: []string{"stix-agent"}}).is("stix-agent", "run") {
		t.Error("a program without a command is taken for one")
	}
}

func TestOnlyProcessesOfTheScratchDirectoryAreFoundAndEnded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	start := func(home string) (*exec.Cmd, <-chan error) {
		cmd := exec.Command("sleep", "600")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		return cmd, ended
	}
	ours, oursEnded := start(root + "/mine/home")
	other, otherEnded := start(root + "/mine2/home") // a name that begins like ours
	defer func() { _ = other.Process.Kill(); <-otherEnded }()

	found, err := processesOf(root + "/mine")
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{}
	for _, p := range found {
		pids = append(pids, p.pid)
	}
	if !slices.Equal(pids, []int{ours.Process.Pid}) {
		t.Fatalf("found %v, want %d", pids, ours.Process.Pid)
	}
	if _, err := memoryOf(ours.Process.Pid); err != nil {
		t.Error(err)
	}
	if _, err := cpuTime(ours.Process.Pid); err != nil {
		t.Error(err)
	}
	if err := killBelow(t.Context(), root+"/mine"); err != nil {
		t.Fatal(err)
	}
	<-oursEnded
	if p, err := processesOf(root + "/mine2"); err != nil || len(p) != 1 {
		t.Errorf("the other one is gone: %v %v", p, err)
	}
}

func TestSharesArePartsOfOneProcessor(t *testing.T) {
	before := map[int]time.Duration{1: time.Second, 2: 5 * time.Second}
	after := map[int]time.Duration{1: time.Second + 20*time.Millisecond, 2: 15 * time.Second}
	got := shares(before, after, 20*time.Second)
	if math.Abs(got[1]-0.1) > 1e-9 || math.Abs(got[2]-50) > 1e-9 {
		t.Errorf("shares are %v", got)
	}
}

package main

import (
	"math"
	"testing"

	"github.com/shirou/gopsutil/v3/cpu"
)

func TestWaitingForTheDiskIsNotUse(t *testing.T) {
	before := cpu.TimesStat{User: 10, Idle: 100, Iowait: 5}
	after := cpu.TimesStat{User: 12, System: 1, Steal: 1, Idle: 110, Iowait: 11}
	if got := busyBetween(before, after); math.Abs(got-0.2) > 1e-9 {
		t.Errorf("the share is %v", got)
	}
	if got := busyBetween(before, before); got != 0 {
		t.Errorf("the share of no time is %v", got)
	}
}

func TestFsyncsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := fsyncs(dir)
	if err != nil || len(s) == 0 || s.least() <= 0 {
		t.Errorf("measured %v %v", s, err)
	}
	if _, err := fsyncs(dir + "/absent"); err == nil {
		t.Error("a directory that is absent can be written")
	}
}

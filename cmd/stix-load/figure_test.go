package main

import (
	"math"
	"strings"
	"testing"
)

func TestSeriesGivesValuesThatWereMeasured(t *testing.T) {
	s := series{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.2: 1, 0.21: 2, 0.5: 3, 0.99: 5, 1: 5} {
		if got := s.at(q); got != want {
			t.Errorf("at(%v) is %v, want %v", q, got, want)
		}
	}
	if s[0] != 5 {
		t.Error("the runs are in another order now")
	}
	if got := (series{1, 2}).median(); got != 1 {
		t.Errorf("the median of two is %v, want the lower", got)
	}
	hundred := series{}
	for i := range 200 {
		hundred = append(hundred, float64(i+1))
	}
	if got := hundred.at(0.99); got != 198 {
		t.Errorf("p99 of 200 is the %vth, want the 198th", got)
	}
	if got := (series{}).median(); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v", got)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		l    limit
		v    float64
		kept bool
	}{
		{limit{}, 1e9, true}, {limit{}, math.NaN(), true},
		{atMost(30), 30, true}, {atMost(30), 30.01, false}, {atMost(30), math.NaN(), false},
		{atLeast(200), 200, true}, {atLeast(200), 199, false},
	} {
		if got := c.l.kept(c.v); got != c.kept {
			t.Errorf("%q and %v: kept is %v", c.l.text(ms), c.v, got)
		}
	}
	if got := atLeast(100_000).with("three voters").text(rate); got != "≥ 100,000/s (three voters)" {
		t.Errorf("it reads %q", got)
	}
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0423: "0.042", 0.5: "0.50", 3.14159: "3.14", 25: "25", 12.345: "12.3", 123.4: "123", 999.6: "1000",
		1000: "1,000", 1234567.8: "1,234,568", -1500: "-1,500", -15000: "-15,000",
	} {
		if got := number(v); got != want {
			t.Errorf("%v is shown as %q, want %q", v, got, want)
		}
	}
	if got := quantity(1500, rate); got != "1,500/s" {
		t.Errorf("a rate is shown as %q", got)
	}
	if got := quantity(1.5, percent); got != "1.50 %" {
		t.Errorf("a share is shown as %q", got)
	}
}

func TestFigureTellsItsStatistic(t *testing.T) {
	f := figure{unit: ms, runs: series{1, 2, 3}, floor: atMost(2), aim: atMost(1)}
	if got := f.figure(); got != "2 ms median" {
		t.Errorf("figure %q", got)
	}
	if got := f.spread(); got != "1 / 2 / 3 of 3" {
		t.Errorf("spread %q", got)
	}
	if got := f.judged(f.floor) + "; " + f.judged(f.aim); got != "≤ 2 ms: kept; ≤ 1 ms: **missed**" {
		t.Errorf("judged %q", got)
	}
	f.share = 0.99
	if got := f.figure(); got != "3 ms p99" {
		t.Errorf("figure %q", got)
	}
	f.only = true
	if got := f.figure() + f.spread(); got != "3 ms" {
		t.Errorf("figure of one run %q", got)
	}
	if got := (figure{unit: ms, floor: atMost(2)}); got.figure() != "not measured" || strings.Contains(got.judged(got.floor), "missed") {
		t.Errorf("figure without runs %q", got.figure())
	}
}

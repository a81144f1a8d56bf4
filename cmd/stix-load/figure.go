package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Units of figures. A megabyte is a million bytes.
const (
	ms      = "ms"
	mb      = "MB"
	percent = "%"
	second  = "s"
	rate    = "/s"
	mbRate  = "MB/s"
)

// series are the values of the runs of one figure.
type series []float64

// at returns the value below which the share q of the values lies: the nearest rank, so that it is a value that was
// measured. An empty series has no value.
func (s series) at(q float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func (s series) least() float64  { return s.at(0) }
func (s series) median() float64 { return s.at(0.5) }
func (s series) most() float64   { return s.at(1) }

// add appends a duration in the unit ms.
func (s *series) add(d time.Duration) { *s = append(*s, millis(d)) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// limit is what a figure is to keep. The zero value is none.
type limit struct {
	value float64
	least bool
	// note is added in words ("three voters").
	note string
}

func atMost(v float64) limit  { return limit{value: v} }
func atLeast(v float64) limit { return limit{value: v, least: true} }

func (l limit) with(note string) limit {
	l.note = note
	return l
}

func (l limit) none() bool { return l == limit{} }

// kept reports whether a value keeps the limit.
func (l limit) kept(v float64) bool {
	switch {
	case l.none():
		return true
	case math.IsNaN(v):
		return false
	case l.least:
		return v >= l.value
	}
	return v <= l.value
}

func (l limit) text(unit string) string {
	if l.none() {
		return ""
	}
	sign := "≤ "
	if l.least {
		sign = "≥ "
	}
	text := sign + quantity(l.value, unit)
	if l.note != "" {
		text += " (" + l.note + ")"
	}
	return text
}

// figure is one thing that was measured.
type figure struct {
	// row of the project's goals; empty if it has none there.
	row string
	// what was measured, and how.
	what, how string
	unit      string
	runs      series
	// share of the runs at or below the figure: 0.5 for the median, which is the default.
	share float64
	// only says that the runs are one value, whose spread says nothing.
	only       bool
	floor, aim limit
	// note tells what has to be known with the figure.
	note string
}

// value is the figure in one number.
func (f figure) value() float64 {
	if f.share == 0 {
		return f.runs.median()
	}
	return f.runs.at(f.share)
}

// name of the statistic that value is.
func (f figure) statistic() string {
	switch {
	case f.only || len(f.runs) < 2:
		return ""
	case f.share == 0 || f.share == 0.5:
		return "median"
	case f.share == 1:
		return "most"
	}
	return "p" + strconv.FormatFloat(f.share*100, 'f', -1, 64)
}

func (f figure) figure() string {
	if len(f.runs) == 0 {
		return "not measured"
	}
	text := quantity(f.value(), f.unit)
	if s := f.statistic(); s != "" {
		text += " " + s
	}
	return text
}

// spread is the least, the middle and the most of the runs.
func (f figure) spread() string {
	if f.only || len(f.runs) < 2 {
		return ""
	}
	return fmt.Sprintf("%s / %s / %s of %s", number(f.runs.least()), number(f.runs.median()), number(f.runs.most()), number(float64(len(f.runs))))
}

// judged is a limit with whether it was kept.
func (f figure) judged(l limit) string {
	switch {
	case l.none():
		return ""
	case len(f.runs) == 0:
		return l.text(f.unit)
	case l.kept(f.value()):
		return l.text(f.unit) + ": kept"
	}
	return l.text(f.unit) + ": **missed**"
}

func quantity(v float64, unit string) string {
	switch {
	case unit == rate:
		return number(v) + unit
	case unit == "":
		return number(v)
	}
	return number(v) + " " + unit
}

// number shows three digits, or all of a large number with commas.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "?"
	case a >= 1000:
		return commas(strconv.FormatFloat(v, 'f', 0, 64))
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a == math.Trunc(a):
		return strconv.FormatFloat(v, 'f', -1, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

func commas(digits string) string {
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

package task

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// ParseCPUs reads a number of virtual CPUs: "4" is exactly four, "4+" at least.
func ParseCPUs(s string) (*stixv1.Quantity, error) {
	digits, atLeast := strings.CutSuffix(strings.TrimSpace(s), "+")
	n, ok := parseNumber(digits)
	if !ok {
		return nil, fmt.Errorf("%q is not a number of CPUs: write 4, 0.5 or 4+", clip(s))
	}
	return positive(&stixv1.Quantity{Value: n, AtLeast: atLeast}, s)
}

// ParseMemory reads an amount of memory in GiB: "16", "16+", "32GB+", or "4x",
// which is 4 GiB for each virtual CPU.
func ParseMemory(s string) (*stixv1.Quantity, error) {
	text := strings.TrimSpace(s)
	q := &stixv1.Quantity{}
	if digits, perCPU := strings.CutSuffix(text, "x"); perCPU {
		text, q.PerCpu = digits, true
	} else {
		text, q.AtLeast = strings.CutSuffix(text, "+")
	}
	factor := 1.0
	if !q.PerCpu {
		text, factor = cutUnit(text)
	}
	n, ok := parseNumber(text)
	if !ok {
		return nil, fmt.Errorf("%q is not an amount of memory: write 16 (GB), 16+, 32GB+ or 4x; units are KB, MB, GB, TB, PB", clip(s))
	}
	q.Value = n * factor
	return positive(q, s)
}

// ParseDiskSize reads a size in whole GiB: "100", "2048MB", "1TB".
func ParseDiskSize(s string) (int64, error) {
	digits, factor := cutUnit(s)
	n, err := strconv.ParseUint(digits, 10, 53)
	if err != nil {
		return 0, fmt.Errorf("%q is not a disk size: write 100 (GB) or 1TB; units are KB, MB, GB, TB, PB", clip(s))
	}
	gib := float64(n) * factor
	switch {
	case gib != math.Trunc(gib):
		return 0, fmt.Errorf("%q is not a whole number of GB", clip(s))
	case gib < 1:
		return 0, fmt.Errorf("%q is not positive", clip(s))
	case gib > 1<<53:
		return 0, fmt.Errorf("%q is too large", clip(s))
	}
	return int64(gib), nil
}

// cutUnit takes the unit off and returns what it is in GiB.
func cutUnit(s string) (digits string, factor float64) {
	if len(s) < 2 || s[len(s)-2]|0x20 < 'a' {
		return s, 1
	}
	const units = "kmgtp"
	power := strings.IndexByte(units, s[len(s)-2]|0x20)
	last := s[len(s)-1] | 0x20
	if power < 0 || last != 'b' && last != 'i' {
		return s, 1
	}
	return s[:len(s)-2], math.Pow(1024, float64(power-2))
}

// parseNumber reads what Python's float() reads, less infinity, NaN and signs
// in front of nothing.
func parseNumber(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, "xXpPiInN") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") {
		return 0, false
	}
	n, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	return n, err == nil
}

func positive(q *stixv1.Quantity, s string) (*stixv1.Quantity, error) {
	if !(q.GetValue() > 0) || math.IsInf(q.GetValue(), 0) {
		return nil, fmt.Errorf("%q is not positive", clip(s))
	}
	return q, nil
}

// FormatQuantity prints a quantity in the grammar that ParseCPUs and
// ParseMemory read.
func FormatQuantity(q *stixv1.Quantity) string {
	s := strconv.FormatFloat(q.GetValue(), 'f', -1, 64)
	switch {
	case q.GetPerCpu():
		return s + "x"
	case q.GetAtLeast():
		return s + "+"
	default:
		return s
	}
}

// ParseAccelerators reads "A100" or "A100:8"; the count may be a fraction.
func ParseAccelerators(s string) (name string, count float64, err error) {
	name, amount, counted := strings.Cut(s, ":")
	name, count = strings.TrimSpace(name), 1
	if name == "" {
		return "", 0, errors.New("the name of the accelerator is missing: write NAME or NAME:COUNT")
	}
	if counted {
		var ok bool
		if count, ok = parseNumber(amount); !ok {
			return "", 0, fmt.Errorf("%q is not NAME or NAME:COUNT", clip(s))
		}
	}
	if !(count > 0) || math.IsInf(count, 0) {
		return "", 0, fmt.Errorf("the count of %s has to be positive, not %s", clip(name), amount)
	}
	if strings.HasPrefix(strings.ToLower(name), "tpu-") {
		name = strings.ToLower(name)
	}
	return name, count, nil
}

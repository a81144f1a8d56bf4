package catalog

import (
	"fmt"
	"strconv"
	"strings"
)

// Money is an amount of US dollars in millionths. No price list has finer prices, so sums and comparisons are exact.
type Money int64

const (
	// Unpriced is the price of what is not sold in this way, or whose price is not known. It is not free.
	Unpriced Money = -1
	// Dollar is one US dollar.
	Dollar Money = microsPerUnit

	microsPerUnit = 1_000_000
	fractionSize  = 6
)

// ParseMoney reads a decimal number of dollars ("0.526"). It refuses signs, exponents and what is finer than a millionth.
func ParseMoney(s string) (Money, error) {
	micros, err := parseMicros(s)
	if err != nil {
		return 0, fmt.Errorf("read price: %w", err)
	}
	return Money(micros), nil
}

// Known reports whether there is a price; zero is one.
func (m Money) Known() bool { return m >= 0 }

// USD is the amount in dollars, for output and for arithmetic that need not be exact.
func (m Money) USD() float64 { return float64(m) / microsPerUnit }

// String writes all digits that count ("0.526"), and "-" where there is no price.
func (m Money) String() string {
	if !m.Known() {
		return "-"
	}
	return formatMicros(int64(m))
}

// parseMicros reads a decimal number as millionths.
func parseMicros(s string) (int64, error) {
	whole, fraction, point := strings.Cut(s, ".")
	if whole == "" || point && fraction == "" || len(fraction) > fractionSize || strings.ContainsAny(s, "+-_") {
		return 0, fmt.Errorf("%s is no decimal number with at most %d digits after the point", strconv.Quote(s), fractionSize)
	}
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", fractionSize-len(fraction)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is no decimal number: %w", strconv.Quote(s), err)
	}
	return n, nil
}

func formatMicros(n int64) string {
	s := fmt.Sprintf("%d.%0*d", n/microsPerUnit, fractionSize, n%microsPerUnit)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

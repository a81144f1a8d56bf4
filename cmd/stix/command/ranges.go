package command

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ranges writes job numbers compactly: "5-8,11".
func ranges(numbers []int64) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(numbers)))
	var parts []string
	for i := 0; i < len(sorted); {
		j := i
		for j+1 < len(sorted) && sorted[j+1] == sorted[j]+1 {
			j++
		}
		part := fmt.Sprint(sorted[i])
		if j > i {
			part += fmt.Sprintf("-%d", sorted[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// maxRange bounds a range of jobs that is written out: the largest array.
const maxRange = 10_000

// parseRange reads "5" or "5-8".
func parseRange(text string) ([]int64, bool) {
	low, high, isRange := strings.Cut(text, "-")
	first, err := strconv.ParseInt(low, 10, 64)
	if err != nil {
		return nil, false
	}
	if !isRange {
		return []int64{first}, true
	}
	last, err := strconv.ParseInt(high, 10, 64)
	if err != nil || last < first || last-first >= maxRange {
		return nil, false
	}
	return span64(first, last), true
}

// span64 lists the numbers from first to last.
func span64(first, last int64) []int64 {
	numbers := make([]int64, 0, max(last-first+1, 0))
	for n := first; n <= last; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func joined(words []string) string { return strings.Join(words, ", ") }

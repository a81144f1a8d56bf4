// Package nearest finds the word that was probably meant, for "did you mean".
package nearest

import "strings"

// Word is the known word that looks most like the given one, or "" when none is
// near enough to be what was meant.
func Word(word string, known []string) string {
	const enough = 0.6
	best, bestScore := "", enough
	lower := strings.ToLower(word)
	if len(lower) > 64 {
		return ""
	}
	for _, k := range known {
		if s := similarity(lower, strings.ToLower(k)); s > bestScore {
			best, bestScore = k, s
		}
	}
	return best
}

// similarity is 1 for equal words and 0 for words without a common letter:
// twice the longest common subsequence over the total length.
func similarity(a, b string) float64 {
	if a == b {
		return 1
	}
	if len(a)+len(b) == 0 {
		return 0
	}
	return 2 * float64(commonSubsequence(a, b)) / float64(len(a)+len(b))
}

func commonSubsequence(a, b string) int {
	row := make([]int, len(b)+1)
	for i := range len(a) {
		diagonal := 0
		for j := range len(b) {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}

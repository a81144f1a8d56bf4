package exec

import (
	"slices"
	"syscall"
	"testing"
)

func TestParseStat(t *testing.T) {
	parent, state, ok := parseStat([]byte("12 (a) b) (c) S 34 12 12 0 -1"))
	if !ok || parent != 34 || state != 'S' {
		t.Fatalf("%d %c %v", parent, state, ok)
	}
	for _, bad := range []string{"", "12 (a", "12 (a) S", "12 (a) SS 3", "1 (a) S x"} {
		if _, _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestIgnoredSignals(t *testing.T) {
	status := []byte("Name:\tbash\nSigIgn:\t0000000000384004\nSigCgt:\t1\n")
	if !ignored(status, syscall.SIGTERM) || ignored(status, syscall.SIGINT) || ignored(nil, syscall.SIGTERM) {
		t.Fatal("mask was read wrongly")
	}
}

func TestDescendantsAreFoundOverGenerations(t *testing.T) {
	got := descendants(map[int]int{2: 1, 3: 2, 4: 3, 5: 1, 6: 9, 9: 6}, 2)
	slices.Sort(got)
	if !slices.Equal(got, []int{3, 4}) {
		t.Fatalf("%v", got)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) (c) S 34 12"))
	f.Fuzz(func(t *testing.T, data []byte) { parseStat(data) })
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func someReport() report {
	return report{
		host: host{
			date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), processor: "Some Processor", cores: 2, memory: 23.51,
			kernel: "6.1", version: "go1.26 linux/amd64", load: [3]float64{0.1, 0.2, 0.3}, busy: 0.02, pause: 0.04, fsync: series{0.2, 0.3},
		},
		figures: []figure{
			{row: "11", what: "a `thing`", how: "stix exec | cat", unit: ms, runs: series{9, 10, 12}, floor: atMost(40), aim: atMost(5), note: "two\nlines"},
			{what: "size", unit: mb, only: true, runs: series{11}, floor: atMost(10)},
		},
	}
}

func TestPageHasARowForEachFigure(t *testing.T) {
	page := someReport().page()
	for _, line := range []string{
		"| date | 2026-01-02 03:04 UTC |",
		"| processor | Some Processor, 2 cores |",
		"| load before | 0.10 0.20 0.30 |",
		"| in use by others | 2 % of the processors before, 4 % while all of ours waited |",
		"| 11 | a `thing` | `stix exec \\| cat` | **10 ms median** | 9 / 10 / 12 of 3 | ≤ 40 ms: kept | ≤ 5 ms: **missed** | two lines |",
		"|  | size |  | **11 MB** |  | ≤ 10 MB: **missed** |  |  |",
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("the page has no line %q:\n%s", line, page)
		}
	}
	if strings.Contains(page, "busy") || strings.Contains(page, "-quick") {
		t.Errorf("the page warns without a reason:\n%s", page)
	}
}

func TestPageWarns(t *testing.T) {
	r := someReport()
	r.host.pause = 0.9
	if page := r.page(); !strings.Contains(page, "busy with other things") || strings.Contains(page, "Measured with -quick") {
		t.Errorf("the page does not warn:\n%s", page)
	}
	r.quick, r.host.pause, r.host.busy = true, 0, 0.9
	if page := r.page(); !strings.Contains(page, "busy with other things") || !strings.Contains(page, "Measured with -quick") {
		t.Errorf("the page does not warn:\n%s", page)
	}
}

func TestVerdictCountsWhatIsMissed(t *testing.T) {
	if got := someReport().verdict(); got != "1 of 2 floors missed, 1 of 1 aims missed" {
		t.Errorf("the verdict is %q", got)
	}
}

func TestNotesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "performance.md")
	for _, old := range []string{"", "# Old\n\n| x |\n", "# Old\n\n| x |\n" + notes + "\nWhy.\n\n## More\n\nText.\n"} {
		if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // a second time must change nothing
			if err := writePage(path, someReport()); err != nil {
				t.Fatal(err)
			}
		}
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := someReport().page()
		if strings.Contains(old, notes) {
			want += notes + "\nWhy.\n\n## More\n\nText.\n"
		}
		if string(page) != want {
			t.Errorf("after %q the page is\n%s", old, page)
		}
	}
}

func TestPageCanBeNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := writePage(path, someReport()); err != nil {
		t.Fatal(err)
	}
}

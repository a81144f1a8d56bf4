package main

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestEnvironmentHasNothingOfWhoMeasures(t *testing.T) {
	got := environment([]string{"PATH=/bin", "HOME=/home/me", "STIX_HOME=/home/me/.stix", "STIX_API_SERVER=https://prod",
		"SKYPILOT_API_SERVER_ENDPOINT=https://prod", "XDG_RUNTIME_DIR=/run/user/1", "LANG=C"}, "/scratch")
	want := []string{"PATH=/bin", "LANG=C", "HOME=/scratch", "STIX_HOME=/scratch/state"}
	if !slices.Equal(got, want) {
		t.Errorf("it is %q", got)
	}
}

func TestFirstLineIsThatOfTheJobNotOfTheCommand(t *testing.T) {
	if strings.Contains(markText, mark) {
		t.Fatal("a command that repeats the text of the job looks like the job")
	}
	if _, err := firstLine(exec.Command("bash", "-c", markText)); err != nil {
		t.Error(err)
	}
	if _, err := firstLine(exec.Command("echo", markText)); err == nil {
		t.Error("the text of the job is taken for its output")
	}
	if _, err := firstLine(exec.Command("bash", "-c", markText+"; echo why >&2; exit 3")); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("a command that fails gives %v", err)
	}
}

func TestEmitWritesLinesOfThatManyBytes(t *testing.T) {
	if len(emitLine) != 100 {
		t.Fatalf("a line has %d bytes", len(emitLine))
	}
	for _, n := range []int64{0, 1, 100, 1_000_000, 1_000_050} {
		var b bytes.Buffer
		if err := emit(&b, n); err != nil {
			t.Fatal(err)
		}
		if int64(b.Len()) != n {
			t.Errorf("%d bytes instead of %d", b.Len(), n)
		}
		want := strings.Repeat(emitLine, int(n)/100+1)[:n]
		if b.String() != want {
			t.Errorf("%d bytes are not whole lines", n)
		}
	}
}

func TestWrongCommandLinesAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"emit"}, {"emit", "x"}, {"emit", "-1"}, {"emit", "1", "2"}, {"-only", "nonsense"}, {"extra"}, {"-unknown"},
		{"-only", "sizes", "-write", "x.md"}, {"-bin", "/nowhere"},
	} {
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != exitUsage || errs.Len() == 0 {
			t.Errorf("%q ends with %d and %q", args, code, errs.String())
		}
	}
}

func TestMeasuresAreListed(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"-list"}, &out, &errs); code != exitOK {
		t.Fatal(errs.String())
	}
	if got := strings.Count(out.String(), "\n"); got != len(measures()) {
		t.Errorf("%d of %d measures are listed", got, len(measures()))
	}
}

const benchOutput = `goos: linux
goarch: amd64
BenchmarkStateChanges/callers=1-2         	     500	    700000 ns/op	      1477 changes/s	         0.44 p50-ms	         4.97 p99-ms
BenchmarkStateChanges/callers=4096-2      	   50000	     12000 ns/op	     91072 changes/s	        20.5 p50-ms	        49.5 p99-ms
BenchmarkStateChanges/callers=4096-2      	   50000	     11000 ns/op	     95000 changes/s	        20.1 p50-ms	        48.5 p99-ms
PASS
`

func TestBenchmarksAreRead(t *testing.T) {
	got, err := parseBenchmarks([]byte(benchOutput))
	if err != nil {
		t.Fatal(err)
	}
	if s := got["StateChanges/callers=4096"]["changes/s"]; !slices.Equal(s, series{91072, 95000}) {
		t.Errorf("read %v", got)
	}
	for _, f := range changeFigures(got) {
		if strings.HasSuffix(f.what, ", 1 at once") && len(f.runs) != 1 {
			t.Errorf("%s has runs %v", f.what, f.runs)
		}
	}
	for _, bad := range []string{"", "PASS\n", "BenchmarkX-2 1 abc ns/op\n"} {
		if _, err := parseBenchmarks([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

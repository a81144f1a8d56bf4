package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// stateChanges runs this package's benchmark of the records over a log on disk: calls of the service change more than one
// record and are measured by themselves.
func stateChanges(ctx context.Context, b *bench) ([]figure, error) {
	args := []string{"test", "-run", "^$", "-bench", "^BenchmarkStateChanges$", "-benchtime", "1s", "-count", "3"}
	if b.quick {
		args = append(args[:5], "-benchtime", "200ms", "-count", "1")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/stix-run/stix/cmd/stix-load")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	results, err := parseBenchmarks(out)
	if err != nil {
		return nil, err
	}
	return changeFigures(results), nil
}

const changesHow = "go test -bench StateChanges ./cmd/stix-load"

func changeFigures(results map[string]map[string]series) []figure {
	var out []figure
	for _, callers := range []string{"1", "64", "512", "4096"} {
		r := results["StateChanges/callers="+callers]
		who := callers + " at once"
		perSecond := figure{row: "1", what: "state changes per second on one voter, " + who, how: changesHow, unit: rate, runs: r["changes/s"]}
		p50 := figure{row: "1", what: "one of these changes, " + who, how: changesHow, unit: ms, runs: r["p50-ms"]}
		p99 := figure{row: "1", what: "p99 of these changes, " + who, how: changesHow, unit: ms, runs: r["p99-ms"]}
		switch callers {
		case "1":
			p50.row, p99.row = "2", "2"
			p50.aim, p99.aim = atMost(1.2).with("three voters"), atMost(5).with("three voters")
			p50.what = "p50 of " + strings.TrimPrefix(p50.what, "one of ")
			out = append(out, perSecond, p50, p99)
		case "4096":
			perSecond.aim, p99.aim = atLeast(100_000).with("three voters"), atMost(60).with("three voters")
			out = append(out, perSecond, p99)
		default:
			out = append(out, perSecond, p99)
		}
	}
	return out
}

// parseBenchmarks reads the output of go test -bench: values by benchmark and unit.
func parseBenchmarks(out []byte) (map[string]map[string]series, error) {
	results := map[string]map[string]series{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of processors
			name = name[:i]
		}
		if results[name] == nil {
			results[name] = map[string]series{}
		}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("read %q: %w", lines.Text(), err)
			}
			results[name][fields[i+1]] = append(results[name][fields[i+1]], v)
		}
	}
	if len(results) == 0 {
		return nil, fmt.Errorf("there is no benchmark in %q", out)
	}
	return results, nil
}

package machine

import (
	"os"
	"testing"
)

func TestParseStatCopesWithAnyName(t *testing.T) {
	tail := " S 41 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 200"
	for _, name := range []string{"sh", "a b", ") Z 1", "((", ""} {
		p, ok := parseStat([]byte("43 (" + name + ")" + tail))
		if !ok || p.ppid != 41 || p.start != 98765 || p.zombie {
			t.Errorf("%q: %+v, %v", name, p, ok)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	if data, err := os.ReadFile("/proc/self/stat"); err == nil {
		f.Add(data)
	}
	f.Add([]byte("1 (x) Z"))
	f.Fuzz(func(_ *testing.T, data []byte) { parseStat(data) })
}

func TestMarkIsAWholeVariable(t *testing.T) {
	t.Parallel()
	cmd := sleeper(t, "STIX_MACHINE=m-one", "X_STIX_MACHINE=m-two")
	for variable, want := range map[string]bool{
		"STIX_MACHINE=m-one": true, "STIX_MACHINE=m-on": false, "STIX_MACHINE=m-two": false, "STIX_MACHINE": false,
	} {
		if got := marked(cmd.Process.Pid, variable); got != want {
			t.Errorf("%s: %v", variable, got)
		}
	}
}

func TestShutdownEndsAChainOfProcesses(t *testing.T) {
	t.Parallel()
	// Each link ignores SIGTERM, starts the next and ends: none lives long enough to be found in a list.
	d, r, log := powered(t, "trap '' TERM\nlink() { link & }\nlink\necho chained\n")
	awaitLine(t, log, "chained")
	if err := d.Shutdown(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if left := members(r); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}

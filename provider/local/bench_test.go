package local

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stix-run/stix/provider"
)

// BenchmarkLaunch is the time until Launch returns; the agent has not begun by then.
func BenchmarkLaunch(b *testing.B) {
	d := benchDriver(b)
	for i := 0; b.Loop(); i++ {
		inst, err := d.Launch(b.Context(), benchRequest(i))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := d.Terminate(b.Context(), inst.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkTerminate is the time until no process and no file of a machine with an idle agent is left.
func BenchmarkTerminate(b *testing.B) {
	d := benchDriver(b)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		inst, err := d.Launch(b.Context(), benchRequest(i))
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := d.Terminate(b.Context(), inst.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func benchRequest(i int) provider.LaunchRequest {
	return provider.LaunchRequest{Token: "bench-" + strconv.Itoa(i), Name: "bench", UserData: []byte("{}")}
}

func benchDriver(b *testing.B) *Driver {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	d, err := New(Config{Dir: filepath.Join(b.TempDir(), "local"), AgentPath: self})
	if err != nil {
		b.Fatal(err)
	}
	return d
}

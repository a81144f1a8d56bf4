package host

import (
	"runtime"
	"testing"
)

func TestFactsDescribeThisMachine(t *testing.T) {
	f := Facts(t.TempDir())
	if int(f.GetVcpus()) != runtime.NumCPU() || f.GetMemoryBytes() < 64<<20 || f.GetDiskBytes() < 1<<20 {
		t.Errorf("facts %v", f)
	}
	if f.GetOs() != runtime.GOOS || f.GetArch() != runtime.GOARCH || f.GetHostname() == "" || f.GetKernel() == "" {
		t.Errorf("facts %v", f)
	}
}

func TestBootIDStaysTheSame(t *testing.T) {
	a, err := BootID()
	b, _ := BootID()
	if err != nil || a == "" || a != b {
		t.Fatalf("%q, %q, %v", a, b, err)
	}
}

func TestParseMemTotal(t *testing.T) {
	n, err := parseMemTotal([]byte("MemTotal:       24683292 kB\nMemFree: 1 kB\n"))
	if err != nil || n != 24683292<<10 {
		t.Fatalf("%d, %v", n, err)
	}
	for _, bad := range []string{"", "MemTotal: x kB\n", "MemTotal: 5\n", "MemTotal: -1 kB"} {
		if _, err := parseMemTotal([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzParseMemTotal(f *testing.F) {
	f.Add([]byte("MemTotal:       24683292 kB\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := parseMemTotal(data); err == nil && n < 0 {
			t.Fatal("negative size")
		}
	})
}

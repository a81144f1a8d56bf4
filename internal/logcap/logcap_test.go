package logcap

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogIsCutWhenItIsLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(s string) {
		t.Helper()
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	write("short")
	Cap(path)
	if data, err := os.ReadFile(path); err != nil || string(data) != "short" {
		t.Fatalf("%q, %v", data, err)
	}
	write(strings.Repeat("x", maxLog) + "end")
	Cap(path)
	write("after")
	now, err := os.ReadFile(path)
	if err != nil || string(now) != "after" {
		t.Errorf("%d bytes, %v", len(now), err)
	}
	old, err := os.ReadFile(path + ".1")
	if err != nil || len(old) != keepLog || !bytes.HasSuffix(old, []byte("xend")) {
		t.Errorf("%d bytes kept, %v", len(old), err)
	}
}

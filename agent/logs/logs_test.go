package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stix-run/stix/internal/testlog"
)

func writer(t testing.TB, path string, segment int64) *Writer {
	t.Helper()
	clock := int64(1e18)
	w, err := NewWriter(WriterConfig{Path: path, Index: path + ".idx", SegmentBytes: segment, Now: func() int64 { clock += 5e8; return clock }})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func write(t testing.TB, w io.Writer, text string) {
	t.Helper()
	if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// all reads a log from off to where it ends now.
func all(t testing.TB, r *Reader, off int64) string {
	t.Helper()
	var out []byte
	buf := make([]byte, 7)
	for {
		n, err := r.ReadAt(buf, off+int64(len(out)))
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return string(out)
		}
		out = append(out, buf[:n]...)
	}
}

func TestReaderSeesWhatIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks", "run.log")
	r := NewReader(path)
	defer r.Close()
	if got := all(t, r, 0); got != "" {
		t.Fatalf("read %q from a log that is not there", got)
	}
	w := writer(t, path, 0)
	write(t, w, "hello ")
	if got := all(t, r, 0); got != "hello " {
		t.Fatalf("read %q", got)
	}
	write(t, w, "world")
	if got := all(t, r, 4); got != "o world" {
		t.Fatalf("read %q", got)
	}
	if w.Size() != 11 {
		t.Fatalf("size %d", w.Size())
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := Size(path); n != 11 || err != nil {
		t.Fatalf("size %d, %v", n, err)
	}
}

func TestRotationKeepsOffsets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.log")
	w := writer(t, path, 10)
	slow, late := NewReader(path), NewReader(path)
	defer slow.Close()
	defer late.Close()
	var want strings.Builder
	read := ""
	for i := range 40 {
		line := fmt.Sprintf("%03d\n", i)
		want.WriteString(line)
		write(t, w, line)
		if i%5 == 0 || i == 39 { // reads over one rotation, sometimes from its old file
			read += all(t, slow, int64(len(read)))
		}
	}
	if read != want.String() {
		t.Fatalf("read %q", read)
	}
	if w.Size() != 160 {
		t.Fatalf("size %d", w.Size())
	}
	if n, err := Size(path); n != 160 || err != nil {
		t.Fatalf("size on disk %d, %v", n, err)
	}
	old, err := segments(path)
	if err != nil || len(old) != 1 {
		t.Fatalf("segments %v, %v", old, err)
	}
	got := all(t, late, 0)
	if len(got) != 160 || got[old[0].base:] != want.String()[old[0].base:] {
		t.Fatalf("late reader got %q", got)
	}
	if strings.Contains(got[:old[0].base], "03") {
		t.Fatalf("what was rotated away reads %q", got)
	}
}

func TestFillSaysWhatIsMissing(t *testing.T) {
	p := bytes.Repeat([]byte("x"), 100)
	if n := Fill(p, 50, 120); n != 70 || !bytes.Contains(p[:70], []byte("missing here up to byte 120")) || p[69] != 0 || p[70] != 'x' {
		t.Fatalf("%d: %q", n, p)
	}
	if n := Fill(p[:10], 50, 120); n != 10 || !bytes.Equal(p[:10], make([]byte, 10)) {
		t.Fatalf("%d: %q", n, p[:10])
	}
}

func TestFullDiskDropsOutputAndSaysHowMuch(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full")
	}
	path := filepath.Join(t.TempDir(), "run.log")
	w := writer(t, path, 0)
	write(t, w, "before\n")
	good := w.file
	w.file = full
	write(t, w, strings.Repeat("x", 1000))
	write(t, w, strings.Repeat("y", 500))
	if w.Lost() != 1500 || w.Size() != 7 {
		t.Fatalf("lost %d, size %d", w.Lost(), w.Size())
	}
	full.Close()
	w.file = good
	write(t, w, "after\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n\n[stix: 1500 bytes of output were lost here: no space left on device]\nafter\n"
	if string(data) != want || w.Size() != int64(len(data)) || w.Lost() != 0 {
		t.Fatalf("log %q, size %d, lost %d", data, w.Size(), w.Lost())
	}
}

func TestIndexHasMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.log")
	w := writer(t, path, 0)
	for range 10 {
		write(t, w, "0123456789")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path + ".idx")
	if err != nil {
		t.Fatal(err)
	}
	marks, err := DecodeIndex(data)
	if err != nil || len(marks) < 2 || marks[0].Offset != 0 {
		t.Fatalf("marks %v, %v", marks, err)
	}
	for i := 1; i < len(marks); i++ {
		if marks[i].Offset <= marks[i-1].Offset || marks[i].At < marks[i-1].At+markEvery {
			t.Fatalf("marks %v", marks)
		}
	}
}

func FuzzDecodeIndex(f *testing.F) {
	f.Add([]byte(indexMagic + "\x01\x00\x00\x00" + strings.Repeat("\x01", indexRecord)))
	f.Add([]byte(indexMagic + "\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		marks, err := DecodeIndex(data)
		if err == nil && len(marks) > len(data)/indexRecord {
			t.Fatal("more marks than bytes")
		}
	})
}

func TestWatchedLogTellsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.log")
	files := NewFiles(func(string) (string, error) { return path, nil }, testlog.New(t))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- files.Run(ctx) }()
	defer func() { cancel(); <-done }()
	l, err := files.OpenLog("a")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := writer(t, path, 100)
	defer w.Close()
	off := int64(0)
	for i := range 50 {
		write(t, w, fmt.Sprintf("line %04d\n", i)) // rotates five times
		off += awaitMore(t, l, off)
	}
	if off != 500 {
		t.Fatalf("read %d bytes", off)
	}
}

func awaitMore(t testing.TB, l Log, off int64) int64 {
	t.Helper()
	buf := make([]byte, 64)
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	for {
		n, err := l.ReadAt(buf, off)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return int64(n)
		}
		select {
		case <-l.Changed():
		case <-timeout.C:
			t.Fatal("nobody told that the log grew")
		}
	}
}

func BenchmarkWriter(b *testing.B) {
	w := writer(b, filepath.Join(b.TempDir(), "run.log"), 0)
	defer w.Close()
	buf := bytes.Repeat([]byte("0123456789abcde\n"), 256<<10/16)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		_, _ = w.Write(buf)
		if w.Size() > 1<<30 {
			_ = w.file.Truncate(0)
			w.base = w.size
		}
	}
}

// Package testlog gives tests a logger whose lines appear with the test that
// caused them, and nowhere when it passes.
package testlog

import (
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// New returns a logger at debug level that writes to t.Log. A line logged after
// the test ended is dropped: testing would panic, and the goroutine that wrote
// it is found by a leak check instead.
func New(t testing.TB) hclog.Logger {
	w := &writer{t: t}
	t.Cleanup(w.close)
	return hclog.New(&hclog.LoggerOptions{
		Name:       "test",
		Level:      hclog.Debug,
		Output:     w,
		TimeFormat: "15:04:05.000",
	})
}

type writer struct {
	t testing.TB

	mu     sync.Mutex
	closed bool
}

// Write holds the lock over t.Log, so that the test cannot end in between.
func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.t.Log(strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

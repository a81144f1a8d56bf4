package testlog_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/internal/testlog"
)

// recorder is a test whose log can be read.
type recorder struct {
	testing.TB
	lines    []string
	cleanups []func()
}

func (r *recorder) Log(args ...any)  { r.lines = append(r.lines, args[0].(string)) }
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) end() {
	for _, f := range r.cleanups {
		f()
	}
}

func TestLinesGoToTheTest(t *testing.T) {
	r := &recorder{TB: t}
	testlog.New(r).Named("jobs").Debug("job queued", "job", 7)
	if len(r.lines) != 1 || !strings.Contains(r.lines[0], "test.jobs: job queued: job=7") {
		t.Fatalf("logged %q", r.lines)
	}
}

func TestLinesAfterTheTestAreDropped(t *testing.T) {
	r := &recorder{TB: t}
	log := testlog.New(r)
	r.end()
	log.Error("too late")
	if len(r.lines) != 0 {
		t.Fatalf("logged %q", r.lines)
	}

	var late hclog.Logger
	t.Run("really ended", func(t *testing.T) { late = testlog.New(t) })
	late.Info("does not panic")
}

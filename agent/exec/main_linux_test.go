package exec

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// The test binary is its own shim, and an agent that can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "shim" {
		if err := Shim(ShimConfig{Dir: os.Args[2], Stdin: os.Stdin, Alive: AliveFile(), Env: os.Environ(), OpenLog: openPlainLog}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 5 && os.Args[1] == "agent" {
		os.Exit(childAgent(os.Args[2], os.Args[3], os.Args[4]))
	}
	goleak.VerifyTestMain(m)
}

// plainLog is a LogWriter that only writes.
type plainLog struct {
	*os.File
	size int64
}

func openPlainLog(path, _ string, _ int64) (LogWriter, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return &plainLog{File: f}, err
}

func (l *plainLog) Write(p []byte) (int, error) {
	n, err := l.File.Write(p)
	l.size += int64(n)
	return n, err
}

func (l *plainLog) Size() int64 { return l.size }
func (l *plainLog) Lost() int64 { return 0 }

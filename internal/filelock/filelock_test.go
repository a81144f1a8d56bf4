package filelock_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stix-run/stix/internal/filelock"
)

// holdEnv makes this test binary a process that holds a lock until it is
// killed.
const holdEnv = "FILELOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		os.Exit(hold(path))
	}
	os.Exit(m.Run())
}

func hold(path string) int {
	if _, err := filelock.TryLock(path); err != nil {
		return 1
	}
	os.Stdout.WriteString("locked\n")
	os.Stdin.Read(make([]byte, 1))
	return 0
}

func TestSecondLockNamesTheHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if pid, held, err := filelock.Holder(path); pid != 0 || held || err != nil {
		t.Fatalf("before the first: %d %v %v", pid, held, err)
	}
	l, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = filelock.TryLock(path)
	var he *filelock.HeldError
	if !errors.As(err, &he) || he.PID != os.Getpid() {
		t.Fatalf("second lock: %v", err)
	}
	if pid, held, err := filelock.Holder(path); pid != os.Getpid() || !held || err != nil {
		t.Fatalf("while held: %d %v %v", pid, held, err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, held, err := filelock.Holder(path); held || err != nil {
		t.Fatalf("after Unlock: %v %v", held, err)
	}
	l, err = filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
}

func TestKilledHolderFreesTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("holder said %q, %v", line, err)
	}
	if pid, held, err := filelock.Holder(path); pid != cmd.Process.Pid || !held || err != nil {
		t.Fatalf("held by %d %v %v, want %d", pid, held, err, cmd.Process.Pid)
	}
	cmd.Process.Kill()
	cmd.Wait()
	l, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
}

func TestLockWaitsForItsTurn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var inside, done atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l, err := filelock.Lock(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("two hold the lock")
			}
			inside.Add(-1)
			done.Add(1)
			l.Unlock()
		})
	}
	wg.Wait()
	if done.Load() != 8 {
		t.Fatalf("%d of 8 had their turn", done.Load())
	}
}

func TestLockEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = filelock.Lock(ctx, path)
	var he *filelock.HeldError
	if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &he) {
		t.Fatalf("Lock = %v", err)
	}
}

func TestLookingDoesNotKeepOthersOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				filelock.Holder(path)
			}
		}
	})
	for range 50 {
		l, err := filelock.Lock(t.Context(), path)
		if err != nil {
			t.Error(err)
			break
		}
		l.Unlock()
	}
	close(stop)
	wg.Wait()
}

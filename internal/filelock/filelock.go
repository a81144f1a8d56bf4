// Package filelock lets one process at a time do something: a lock on a file
// that the kernel releases when its holder ends, however it ends. The file
// holds the pid of whoever took the lock last.
//
// The lock is flock(2): it belongs to the open file, so two locks within one
// process exclude each other too, and a child does not inherit it. Lock files
// are never removed: a lock on a removed file excludes nobody.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// retryEvery is how often Lock looks again. flock has no waiting call that a
// context could end.
const retryEvery = 10 * time.Millisecond

// HeldError says that another holds the lock.
type HeldError struct {
	// Path is the lock file's.
	Path string
	// PID is the holder's, or 0 where it has not written it yet.
	PID int
}

func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("lock %s: held by another process", e.Path)
	}
	return fmt.Sprintf("lock %s: held by process %d", e.Path, e.PID)
}

// FileLock is a held lock.
type FileLock struct{ file *os.File }

// TryLock takes the lock at path, whose file it makes where there is none, or
// returns a *HeldError at once.
func TryLock(path string) (*FileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		pid := readPID(f)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &HeldError{Path: path, PID: pid}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := writePID(f, os.Getpid()); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &FileLock{file: f}, nil
}

// Lock is TryLock that waits until the lock is free or ctx ends; the error then
// is the *HeldError joined with the context's.
func Lock(ctx context.Context, path string) (*FileLock, error) {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		l, err := TryLock(path)
		var held *HeldError
		if !errors.As(err, &held) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

// Unlock releases the lock and empties the file.
func (l *FileLock) Unlock() error {
	return errors.Join(l.file.Truncate(0), l.file.Close())
}

// Holder returns the pid of the process that holds the lock at path, and
// whether one does. The pid is 0 for the moment between taking the lock and
// writing it. A missing file is a free lock.
func Holder(path string) (pid int, held bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look at lock %s: %w", path, err)
	}
	defer f.Close()
	// A shared lock shows whether there is an exclusive one. While it is held,
	// for microseconds, a TryLock would be refused: see flock.
	switch err := flockOnce(f, syscall.LOCK_SH); {
	case err == nil:
		return 0, false, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return readPID(f), true, nil
	default:
		return 0, false, fmt.Errorf("look at lock %s: %w", path, err)
	}
}

// flock takes the lock without waiting for a holder, but looks more than once,
// so that somebody who calls Holder at this moment is not taken for one.
func flock(f *os.File, how int) error {
	err := flockOnce(f, how)
	for range 3 {
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		<-time.After(time.Millisecond)
		err = flockOnce(f, how)
	}
	return err
}

func flockOnce(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func readPID(f *os.File) int {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 0 {
		return 0
	}
	return pid
}

func writePID(f *os.File, pid int) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0)
	return err
}

package machine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that somebody else holds the lock.
var ErrLocked = errors.New("machine is being changed by another process")

// Lock is the right to change a machine.
type Lock struct {
	file *os.File
}

// Unlock gives the right back.
func (l *Lock) Unlock() { unlock(l.file) }

// unlock releases the lock itself before the file: a process that is just being started elsewhere in this program may have a
// copy of the descriptor for a moment, and closing ours would leave the lock with it.
func unlock(f *os.File) {
	unix.Flock(int(f.Fd()), unix.LOCK_UN)
	f.Close()
}

// Lock waits for the right to change the machine. The error is fs.ErrNotExist if there is no such machine, also when it was
// removed while waiting.
func (d Dir) Lock(ctx context.Context) (*Lock, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		l, err := d.TryLock()
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// TryLock is Lock without waiting: ErrLocked if somebody else has the right.
func (d Dir) TryLock() (*Lock, error) {
	f, err := os.OpenFile(d.changeLock(), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if held, err := tryLock(f, unix.LOCK_EX); err != nil || !held {
		f.Close()
		return nil, errors.Join(err, heldElsewhere(err))
	}
	// The directory may have been moved away between opening and locking.
	if !sameFile(f, d.changeLock()) {
		unlock(f)
		return nil, fs.ErrNotExist
	}
	return &Lock{file: f}, nil
}

func heldElsewhere(err error) error {
	if err == nil {
		return ErrLocked
	}
	return nil
}

// tryLock takes a lock of the open file, which lasts until its last descriptor is closed; false if it is held elsewhere.
func tryLock(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
}

func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// lockedElsewhere tells whether another process holds the lock of the file at path.
func lockedElsewhere(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer unlock(f)
	free, err := tryLock(f, unix.LOCK_SH)
	return err == nil && !free
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package blobs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFew is up to how many files are cheaper to sync one by one.
const syncFew = 16

// syncBarrier makes files and directories below root durable before it returns:
// nothing that is done later is on disk before them. Many are synced with their
// whole file system at once, which costs about as much as a few.
func syncBarrier(root string, paths []string) error {
	if len(paths) <= syncFew {
		return syncEach(paths)
	}
	f, err := os.Open(root)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

package blobs

import (
	"errors"
	"os"
)

// syncEach makes files and directories durable one by one.
func syncEach(paths []string) error {
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

//go:build !linux

package buildinfo

import "os"

// executable returns the path that the program was started from, which may
// have been replaced since.
func executable() (string, error) { return os.Executable() }

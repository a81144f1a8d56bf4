// Package logcap keeps a program's own log from filling the disk.
package logcap

import (
	"io"
	"os"
)

const (
	// maxLog is how large a log may get, keepLog how much of it is kept then, as NAME.1.
	maxLog  = 4 << 20
	keepLog = 1 << 20
)

// Cap cuts the log at path when it is too large. Those who write have the file open for appending, so it is emptied rather than
// replaced; what they write between copying and emptying is lost, as is the log of a crash in between. Errors are not worth more
// than trying again.
func Cap(path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= maxLog {
		return
	}
	old, err := os.OpenFile(path+".1", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return
	}
	defer old.Close()
	io.Copy(old, io.NewSectionReader(f, info.Size()-keepLog, keepLog))
	f.Truncate(0)
}

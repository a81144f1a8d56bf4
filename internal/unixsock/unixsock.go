// Package unixsock makes sockets in the file system that belong to one user: nobody else can connect, whatever the
// permissions of the directory, because every connection's other end is asked of the system.
package unixsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Listen makes a socket at path with mode 0600 and accepts only this user (and root, who could do anything anyway). A
// socket file that nobody serves any more is replaced; one that somebody serves is an error.
func Listen(path string) (net.Listener, error) {
	if err := clear(path); err != nil {
		return nil, err
	}
	l, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &listener{UnixListener: l, uid: os.Getuid()}, nil
}

// clear removes a stale socket.
func clear(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("%s is in the way: it is not a socket; move it away", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(conn.Close(), fmt.Errorf("%s is served by another process", path))
	}
	return os.Remove(path)
}

type listener struct {
	*net.UnixListener
	uid int
}

// Accept passes over connections of other users.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(conn)
		if err == nil && (uid == l.uid || uid == 0) {
			return conn, nil
		}
		// A stranger gets nothing, not even a reason.
		if err := conn.Close(); err != nil {
			continue
		}
	}
}

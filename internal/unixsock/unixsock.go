// Package unixsock makes sockets in the file system that belong to one user: nobody else can connect, whatever the
// permissions of the directory, because every connection's other end is asked of the system.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

// Listen makes a socket at path with mode 0600 and accepts only this user (and root, who could do anything anyway). The
// caller holds the lock that makes it the only server of its directory, so a socket that is there is one of a server
// that is gone, or going, and is replaced.
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
		if err == nil && trusted(uid, l.uid) {
			return conn, nil
		}
		// A stranger gets nothing, not even a reason.
		if err := conn.Close(); err != nil {
			continue
		}
	}
}

// trusted tells whether a peer may be talked to: the user itself, or root, who could do anything anyway.
func trusted(peer, own int) bool { return peer == own || peer == 0 }

// PrivateDir makes a directory for sockets, or accepts one that is this user's alone. One that somebody else made, or
// can write to, is refused: they could put a socket of their own in the place of ours.
func PrivateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	uid, ok := ownerUID(info)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case !ok || uid != os.Getuid():
		return fmt.Errorf("%s belongs to another user; set XDG_RUNTIME_DIR to a directory of your own", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written to by others; make it private: chmod 700 %s", dir, dir)
	}
	return nil
}

// Dial connects to a socket that a process of this user, or of root, serves. Another user's is refused before anything
// is sent.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	uid, err := peerUID(conn.(*net.UnixConn))
	if err == nil && trusted(uid, os.Getuid()) {
		return conn, nil
	}
	return nil, errors.Join(fmt.Errorf("%s is served by another user (uid %d)", path, uid), err, conn.Close())
}

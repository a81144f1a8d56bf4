package unixsock

import (
	"errors"
	"net"
	"os"
)

// listenPrivate makes the socket and gives it its mode. Between the two another user might connect if the directory
// lets them in, but is turned away by Accept like any other stranger.
func listenPrivate(path string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

package unixsock

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// dir is short: a socket's path is bounded by the system.
func dir(t *testing.T) string {
	t.Helper()
	d, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(d) })
	return d
}

func TestOwnerConnectsAndTheSocketIsPrivate(t *testing.T) {
	path := filepath.Join(dir(t), "x.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = conn.Write([]byte("hello"))
			err = errors.Join(err, conn.Close())
		}
		served <- err
	}()
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := errors.Join(conn.Close(), <-served); err != nil {
		t.Error(err)
	}
}

func TestOnlyTheUserAndRootAreTrusted(t *testing.T) {
	for _, c := range []struct {
		peer, own int
		want      bool
	}{{1000, 1000, true}, {0, 1000, true}, {1001, 1000, false}, {1000, 0, false}, {0, 0, true}, {65534, 1000, false}} {
		if got := trusted(c.peer, c.own); got != c.want {
			t.Errorf("peer %d, own %d: %v", c.peer, c.own, got)
		}
	}
}

func TestSocketThatIsLeftOverIsReplacedAndAFileIsNot(t *testing.T) {
	path := filepath.Join(dir(t), "x.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	defer l.Close()
	file := filepath.Join(filepath.Dir(path), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := Listen(file); err == nil {
		other.Close()
		t.Error("a file was replaced by a socket")
	}
}

func TestDirectoryForSocketsHasToBePrivate(t *testing.T) {
	d := dir(t)
	if err := PrivateDir(filepath.Join(d, "new", "deep")); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(d, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := PrivateDir(d); err == nil {
		t.Error("a directory that everybody can write to was accepted")
	}
	link := filepath.Join(dir(t), "link")
	if err := os.Symlink(dir(t), link); err != nil {
		t.Fatal(err)
	}
	if err := PrivateDir(link); err == nil {
		t.Error("a symbolic link was accepted")
	}
}

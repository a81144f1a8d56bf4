package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/internal/memnet"
)

func TestBytesArriveInOrderThenEOF(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		n.SetLatency(10 * time.Millisecond)
		n.SetJitter(50 * time.Millisecond)
		start := time.Now()
		a, b := pair(t, n, "a", "b")
		if d := time.Since(start); d < 20*time.Millisecond || d > 120*time.Millisecond {
			t.Fatalf("dial took %v, want a round trip", d)
		}
		for _, s := range []string{"one ", "two ", "three"} {
			write(t, a, s)
		}
		a.Close()
		got, err := io.ReadAll(b)
		if err != nil || string(got) != "one two three" {
			t.Fatalf("read %q, %v", got, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Fatalf("write to a closed end: %v", err)
		}
		if _, err := a.Read(nil); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("read after Close: %v", err)
		}
		b.Close()
		if open := n.Conns(); len(open) != 0 {
			t.Fatalf("still open: %q", open)
		}
	})
}

func TestLatencyDelaysEachDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, b := pair(t, n, "a", "b")
		n.SetLatency(30 * time.Millisecond)
		start := time.Now()
		write(t, a, "ping")
		read(t, b, "ping")
		write(t, b, "pong")
		read(t, a, "pong")
		if d := time.Since(start); d != 60*time.Millisecond {
			t.Fatalf("a round trip took %v", d)
		}
	})
}

func TestWriterWaitsForASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, memnet.New(1), "a", "b")
		const total = 1 << 20
		sent := make(chan error, 1)
		go func() {
			_, err := a.Write(make([]byte, total))
			sent <- err
		}()
		synctest.Wait()
		select {
		case <-sent:
			t.Fatal("a megabyte was taken without a reader")
		default:
		}
		if _, err := io.ReadFull(b, make([]byte, total)); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, memnet.New(1), "a", "b")
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Second))
		_, err := a.Read(make([]byte, 1))
		wantTimeout(t, err)
		if time.Since(start) != time.Second {
			t.Fatalf("timed out after %v", time.Since(start))
		}
		a.SetDeadline(time.Time{})
		write(t, b, "x")
		read(t, a, "x")

		// A deadline that is set while a read waits ends it; so does one in
		// the past, as net/http uses it.
		failed := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 1))
			failed <- err
		}()
		synctest.Wait()
		a.SetReadDeadline(time.Unix(1, 0))
		wantTimeout(t, <-failed)

		a.SetWriteDeadline(time.Now().Add(time.Minute))
		_, err = a.Write(make([]byte, 1<<20))
		wantTimeout(t, err)
	})
}

func TestCutStallsAndHealDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, b := pair(t, n, "a", "b")
		write(t, a, "before ")
		n.Cut("a", "b")
		write(t, a, "during ")
		read(t, b, "before ")
		b.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := b.Read(make([]byte, 1))
		wantTimeout(t, err)
		b.SetReadDeadline(time.Time{})
		a.Close()
		n.HealPair("b", "a")
		if got, err := io.ReadAll(b); err != nil || string(got) != "during " {
			t.Fatalf("after healing: %q, %v", got, err)
		}
	})
}

func TestCutOneWayLeavesTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, b := pair(t, n, "a", "b")
		n.CutOneWay("a", "b")
		write(t, b, "still")
		read(t, a, "still")
		write(t, a, "lost")
		b.SetReadDeadline(time.Now().Add(time.Second))
		_, err := b.Read(make([]byte, 1))
		wantTimeout(t, err)
	})
}

func TestDialHangsOverACutAndFinishesWhenItHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		l := listen(t, n, "b", "svc")
		n.CutOneWay("b", "a")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := n.Host("a").Dial(ctx, "b/svc")
		wantTimeout(t, err)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Fatalf("dial: %v after %v", err, time.Since(start))
		}
		time.AfterFunc(time.Minute, n.Heal)
		c, err := n.Host("a").Dial(t.Context(), "b/svc")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	})
}

func TestIsolateAndRejoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		listen(t, n, "b", "svc")
		n.Isolate("b")
		self, err := n.Host("b").Dial(t.Context(), "b/svc")
		if err != nil {
			t.Fatalf("an isolated host must reach itself: %v", err)
		}
		self.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host("a").Dial(ctx, "b/svc"); err == nil {
			t.Fatal("reached an isolated host")
		}
		n.Rejoin("b")
		c, err := n.Host("a").Dial(t.Context(), "b/svc")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

func TestCrashResetsAndKeepsOldHandlesDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		old := n.Host("b")
		l, err := old.Listen("svc")
		if err != nil {
			t.Fatal(err)
		}
		a, b := connect(t, n, "a", l)
		refused := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 1))
			refused <- err
		}()
		synctest.Wait()
		n.Crash("b")
		if err := <-refused; !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("peer of a crashed host: %v", err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("write to a crashed host: %v", err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("crashed host's connection: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("crashed host's listener: %v", err)
		}
		if _, err := old.Listen("svc"); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("crashed host listens: %v", err)
		}
		if _, err := n.Host("a").Dial(t.Context(), "b/svc"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dial a crashed host: %v", err)
		}
		again := listen(t, n, "b", "svc")
		connect(t, n, "a", again)
	})
}

func TestCrashBehindACutIsSeenWhenItHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(1)
		a, _ := pair(t, n, "a", "b")
		n.Cut("a", "b")
		n.Crash("b")
		a.SetReadDeadline(time.Now().Add(time.Hour))
		_, err := a.Read(make([]byte, 1))
		wantTimeout(t, err)
		a.SetReadDeadline(time.Time{})
		n.Heal()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("after healing: %v", err)
		}
	})
}

func TestListenRefusesWhatIsTakenOrMisnamed(t *testing.T) {
	n := memnet.New(1)
	l := listen(t, n, "a", "svc")
	if _, err := n.Host("a").Listen("svc"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("second listener: %v", err)
	}
	for _, bad := range []string{"", "a/b"} {
		if _, err := n.Host("a").Listen(bad); err == nil {
			t.Fatalf("service %q was accepted", bad)
		}
	}
	c, err := n.Host("b").Dial(t.Context(), "a/svc")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("never accepted: %v", err)
	}
}

func pair(t *testing.T, n *memnet.Network, from, to string) (dialled, accepted net.Conn) {
	t.Helper()
	return connect(t, n, from, listen(t, n, to, "svc"))
}

func listen(t *testing.T, n *memnet.Network, host, service string) net.Listener {
	t.Helper()
	l, err := n.Host(host).Listen(service)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func connect(t *testing.T, n *memnet.Network, from string, l net.Listener) (dialled, accepted net.Conn) {
	t.Helper()
	dialled, err := n.Host(from).Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return dialled, accepted
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(s), err)
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	buf := make([]byte, len(want))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != want {
		t.Fatalf("read %q, %v; want %q", buf, err, want)
	}
}

func wantTimeout(t *testing.T, err error) {
	t.Helper()
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Fatalf("error %v is no timeout", err)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v wraps no deadline", err)
	}
}

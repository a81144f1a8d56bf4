package session

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/agent/session/sessiontest"
	"github.com/stix-run/stix/internal/memnet"
	"github.com/stix-run/stix/internal/testlog"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// quiet is an agent that has nothing to say and does nothing.
type quiet struct{ more chan struct{} }

func (quiet) Connected()                  {}
func (quiet) Orders(*stixv1.Orders)       {}
func (quiet) FollowLog(*stixv1.FollowLog) {}
func (quiet) Forget([]string)             {}
func (quiet) Ack(uint64)                  {}

func (q quiet) Reports(uint64) ([]*stixv1.Report, <-chan struct{}) { return nil, q.more }

// pair is a session and a coordinator in one bubble.
type pair struct {
	t           *testing.T
	network     *memnet.Network
	coordinator *sessiontest.Coordinator
	dir         string
	config      Config
	stops       []func()
}

func inPair(t *testing.T, test func(*pair)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c, err := sessiontest.New("token")
		if err != nil {
			t.Fatal(err)
		}
		p := &pair{t: t, network: memnet.New(1), coordinator: c, dir: dir}
		node := p.network.Host("node")
		q := quiet{make(chan struct{})}
		p.config = Config{
			Dir: dir, NodeUID: "node-1", ClusterID: sessiontest.Cluster, Coordinators: []string{"c1"}, CAPin: c.Pin(), JoinToken: "token",
			Hello:  func() *stixv1.Hello { return &stixv1.Hello{} },
			Dial:   func(ctx context.Context, a string) (net.Conn, error) { return node.Dial(ctx, a+"/agents") },
			Outbox: q, Logger: testlog.New(t),
		}
		defer func() {
			for _, stop := range p.stops {
				stop()
			}
		}()
		test(p)
	})
}

func (p *pair) serve() (stop func()) {
	p.t.Helper()
	l, err := p.network.Host("c1").Listen("agents")
	if err != nil {
		p.t.Fatal(err)
	}
	stop, err = p.coordinator.Serve(l)
	if err != nil {
		p.t.Fatal(err)
	}
	stop = sync.OnceFunc(stop)
	p.stops = append(p.stops, stop)
	return stop
}

func (p *pair) start() (stop func()) {
	p.t.Helper()
	s, err := New(p.config)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx, quiet{}) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	})
	p.stops = append(p.stops, stop)
	return stop
}

func (p *pair) until(limit time.Duration, done func(sessiontest.Snapshot) bool) sessiontest.Snapshot {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	if err := p.coordinator.Until(ctx, done); err != nil {
		p.t.Fatalf("not in %v: %v", limit, err)
	}
	return p.coordinator.State()
}

func one(k sessiontest.Snapshot) bool { return k.Sessions == 1 }

func TestEnrolmentSurvivesLostAnswersAndRestarts(t *testing.T) {
	inPair(t, func(p *pair) {
		p.serve()
		p.coordinator.LoseAnswers(3)
		stop := p.start()
		p.until(5*time.Second, func(k sessiontest.Snapshot) bool { return k.Enrolments == 2 })
		key, err := os.ReadFile(filepath.Join(p.dir, fileKey))
		if err != nil {
			t.Fatal(err)
		}
		stop() // killed before it knew its certificate
		p.start()
		k := p.until(20*time.Second, one)
		if k.Enrolments < 4 {
			t.Errorf("%d enrolments", k.Enrolments)
		}
		if now, err := os.ReadFile(filepath.Join(p.dir, fileKey)); err != nil || !bytes.Equal(key, now) {
			t.Errorf("the key changed (%v)", err)
		}
		for _, name := range []string{fileKey, fileCertificate, fileCAs} {
			if info, err := os.Stat(filepath.Join(p.dir, name)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
	})
}

func TestEnrolledNodeDoesNotEnrolAgain(t *testing.T) {
	inPair(t, func(p *pair) {
		p.serve()
		stop := p.start()
		p.until(5*time.Second, one)
		stop()
		p.config.JoinToken = "" // worthless by now
		p.start()
		if k := p.until(5*time.Second, one); k.Enrolments != 1 {
			t.Errorf("%d enrolments", k.Enrolments)
		}
	})
}

func TestNothingIsSentToACoordinatorWithoutThePinnedCA(t *testing.T) {
	inPair(t, func(p *pair) {
		other, err := sessiontest.New("token")
		if err != nil {
			t.Fatal(err)
		}
		p.config.CAPin = other.Pin()
		p.serve()
		p.start()
		time.Sleep(time.Minute)
		if k := p.coordinator.State(); k.Enrolments != 0 || k.Sessions != 0 {
			t.Errorf("an impostor saw %+v", k)
		}
	})
}

func TestWrongTokenKeepsTryingSlowly(t *testing.T) {
	inPair(t, func(p *pair) {
		p.config.JoinToken = "wrong"
		p.serve()
		p.start()
		time.Sleep(10 * time.Minute)
		if k := p.coordinator.State(); k.Enrolments != 0 {
			t.Errorf("enrolled with a wrong token")
		}
	})
}

func TestCertificateIsRenewedHalfWayWithoutANewSession(t *testing.T) {
	inPair(t, func(p *pair) {
		p.coordinator.CertificateLife = 6 * time.Hour
		p.serve()
		p.start()
		begin := time.Now()
		p.until(5*time.Second, one)
		k := p.until(4*time.Hour, func(k sessiontest.Snapshot) bool { return k.Renewals == 1 })
		if took := time.Since(begin); took < 170*time.Minute {
			t.Errorf("renewed after %v", took)
		}
		if len(k.Hellos) != 1 || k.Sessions != 1 {
			t.Errorf("%d sessions were begun, %d are open", len(k.Hellos), k.Sessions)
		}
	})
}

func TestCertificateThatRanOutIsRenewedWithTheSameKey(t *testing.T) {
	inPair(t, func(p *pair) {
		p.coordinator.CertificateLife = time.Hour
		stopCoordinator := p.serve()
		stop := p.start()
		p.until(5*time.Second, one)
		stopCoordinator()
		time.Sleep(2 * time.Hour) // as if asleep over a weekend, the agent too
		stop()
		p.serve()
		p.start()
		k := p.until(10*time.Second, one)
		if k.Enrolments != 1 || k.Renewals != 1 {
			t.Errorf("%d enrolments, %d renewals", k.Enrolments, k.Renewals)
		}
	})
}

func TestRunningAgentRecoversFromACertificateThatRanOut(t *testing.T) {
	inPair(t, func(p *pair) {
		p.coordinator.CertificateLife = time.Hour
		stopCoordinator := p.serve()
		p.start()
		p.until(5*time.Second, one)
		stopCoordinator()
		time.Sleep(2 * time.Hour)
		p.serve()
		p.until(30*time.Second, one)
	})
}

func TestSleepingMachineNoticesThatItsCertificateRanOut(t *testing.T) {
	inPair(t, func(p *pair) {
		var asleep atomic.Int64
		p.config.Now = func() time.Time { return time.Now().Add(time.Duration(asleep.Load())) }
		p.serve()
		p.start()
		p.until(5*time.Second, one)
		asleep.Store(int64(48 * time.Hour)) // no timer has noticed
		p.coordinator.Drop()
		p.until(time.Minute, func(k sessiontest.Snapshot) bool { return k.Renewals == 1 })
		time.Sleep(time.Hour)
		if n := p.coordinator.State().Renewals; n > 61 {
			t.Errorf("%d renewals in an hour, of certificates that the node's clock finds old", n)
		}
	})
}

func TestCoordinatorMayAskForRenewal(t *testing.T) {
	inPair(t, func(p *pair) {
		p.coordinator.Welcome.RenewCertificate = true
		p.serve()
		p.start()
		p.until(10*time.Second, func(k sessiontest.Snapshot) bool { return k.Renewals == 1 })
	})
}

func TestHeartbeatsComeAtTheIntervalAskedFor(t *testing.T) {
	inPair(t, func(p *pair) {
		p.serve()
		p.start()
		p.until(5*time.Second, one)
		before := p.coordinator.State().Heartbeats
		time.Sleep(time.Hour)
		got := p.coordinator.State().Heartbeats - before
		if want := int(time.Hour / sessiontest.HeartbeatInterval); got < want-1 || got > want+1 {
			t.Errorf("%d heartbeats in an hour, want %d", got, want)
		}
	})
}

func TestSilentConnectionIsGivenUp(t *testing.T) {
	inPair(t, func(p *pair) {
		p.serve()
		p.start()
		p.until(5*time.Second, one)
		p.network.Cut("node", "c1")
		time.Sleep(12 * time.Second)
		p.network.Heal()
		k := p.until(8*time.Second, func(k sessiontest.Snapshot) bool { return len(k.Hellos) >= 2 })
		if conns := p.network.Conns(); len(conns) > 4 {
			t.Errorf("connections pile up: %s (%v)", strings.Join(conns, ", "), k.Sessions)
		}
	})
}

func TestConnectionsDoNotPileUp(t *testing.T) {
	inPair(t, func(p *pair) {
		p.serve()
		p.start()
		for range 20 {
			p.until(10*time.Second, one)
			p.coordinator.Drop()
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		if conns := p.network.Conns(); len(conns) > 1 {
			t.Errorf("connections: %s", strings.Join(conns, ", "))
		}
	})
}

package provider_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/provider/fake"
)

// bench is a Cloud over a fake one.
type bench struct {
	*testing.T
	fake  *fake.Cloud
	cloud *provider.Cloud
}

func newBench(t *testing.T, cfg fake.Config, change func(*provider.Config)) *bench {
	t.Helper()
	f, err := fake.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	pc := provider.Config{Name: "fake", Driver: f.Driver(), Rand: func() float64 { return 1 }}
	if change != nil {
		change(&pc)
	}
	c, err := provider.NewCloud(pc)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{T: t, fake: f, cloud: c}
}

// inBubble runs the test with a bench in virtual time.
func inBubble(t *testing.T, cfg fake.Config, change func(*provider.Config), test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newBench(t, cfg, change)) })
}

func request(token string) provider.LaunchRequest {
	return provider.LaunchRequest{Token: token, Name: "node-1", Region: "fake-1", Zone: "fake-1a", InstanceType: "fake-small"}
}

func (b *bench) wantKind(err error, kind provider.Kind) {
	b.Helper()
	var e *provider.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Cloud != "fake" || e.Op == "" {
		b.Errorf("got %#v (%v), want kind %v", err, err, kind)
	}
}

func TestTransientFailuresAreRetriedWithBackoff(t *testing.T) {
	inBubble(t, fake.Config{}, nil, func(b *bench) {
		b.fake.Fail(provider.OpLaunch, provider.KindThrottled, 2)
		b.fake.FailAfter(provider.OpLaunch, provider.KindTransient, 1)
		began := time.Now()
		if _, err := b.cloud.Launch(b.Context(), request("1")); err != nil {
			b.Fatal(err)
		}
		if took, want := time.Since(began), (250+500+1000)*time.Millisecond; took != want {
			b.Errorf("took %v, want %v", took, want)
		}
		if n := len(b.fake.Live()); n != 1 {
			b.Errorf("%d machines, want 1", n)
		}
	})
}

func TestRetriesAreBounded(t *testing.T) {
	inBubble(t, fake.Config{}, func(c *provider.Config) { c.Attempts = 3 }, func(b *bench) {
		b.fake.Fail(provider.OpList, provider.KindTransient, 10)
		_, err := b.cloud.List(b.Context(), provider.Filter{})
		b.wantKind(err, provider.KindTransient)
		if n := b.fake.Calls(provider.OpList); n != 3 {
			b.Errorf("%d calls, want 3", n)
		}
	})
}

func TestLastingFailuresAreNotRetried(t *testing.T) {
	for _, kind := range provider.Kinds() {
		if kind == provider.KindThrottled || kind == provider.KindTransient {
			continue
		}
		inBubble(t, fake.Config{}, nil, func(b *bench) {
			b.fake.Fail(provider.OpTerminate, kind, 5)
			b.wantKind(b.cloud.Terminate(b.Context(), "i-1"), kind)
			if n := b.fake.Calls(provider.OpTerminate); n != 1 {
				b.Errorf("%v: %d calls, want 1", kind, n)
			}
		})
	}
}

func TestCancellationEndsBackoffAtOnce(t *testing.T) {
	inBubble(t, fake.Config{}, nil, func(b *bench) {
		b.fake.Fail(provider.OpLaunch, provider.KindThrottled, 100)
		ctx, cancel := context.WithTimeout(b.Context(), 600*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := b.cloud.Launch(ctx, request("1"))
		b.wantKind(err, provider.KindThrottled)
		if took := time.Since(began); took != 600*time.Millisecond {
			b.Errorf("returned after %v", took)
		}
	})
}

func TestEndedContextIsReportedAsSuch(t *testing.T) {
	inBubble(t, fake.Config{}, nil, func(b *bench) {
		ctx, cancel := context.WithCancel(b.Context())
		cancel()
		_, err := b.cloud.Launch(ctx, request("1"))
		b.wantKind(err, provider.KindTransient)
		if !errors.Is(err, context.Canceled) {
			b.Errorf("%v does not tell that it was cancelled", err)
		}
	})
}

func TestCallsAreSpreadOverTime(t *testing.T) {
	limited := func(c *provider.Config) { c.Rate, c.Burst = 10, 5 }
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, fake.Config{}, limited)
		burst := func(n int) time.Duration {
			began := time.Now()
			for range n {
				if _, err := b.cloud.List(b.Context(), provider.Filter{}); err != nil {
					b.Fatal(err)
				}
			}
			return time.Since(began)
		}
		if took := burst(5); took != 0 {
			b.Errorf("a burst took %v", took)
		}
		if took := burst(20); took != 2*time.Second {
			b.Errorf("20 calls at 10 a second took %v", took)
		}
		time.Sleep(time.Hour)
		if took := burst(15); took != time.Second {
			b.Errorf("after a rest 15 calls with a burst of 5 took %v", took)
		}
	})
}

func TestDryOfferingsAreRememberedForATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, fake.Config{}, nil)
		here := request("1").Offering()
		there, spot := here, here
		there.Zone, spot.UseSpot = "fake-1b", true
		b.fake.SetCapacity(here, 0)
		_, err := b.cloud.Launch(b.Context(), request("1"))
		b.wantKind(err, provider.KindCapacity)
		if !b.cloud.Dry(here) || b.cloud.Dry(there) || b.cloud.Dry(spot) {
			b.Error("wrong offering remembered as dry")
		}
		time.Sleep(5*time.Minute + time.Second)
		if b.cloud.Dry(here) {
			b.Error("still dry after the cool-down")
		}
	})
}

func TestDryRegionCoversItsZonesUntilALaunchSucceeds(t *testing.T) {
	inBubble(t, fake.Config{}, nil, func(b *bench) {
		b.fake.SetQuota("fake-1", 0)
		_, err := b.cloud.Launch(b.Context(), request("1"))
		b.wantKind(err, provider.KindQuota)
		other := request("1").Offering()
		other.Zone = "fake-1b"
		if !b.cloud.Dry(other) {
			b.Error("the quota of a region does not count in its other zone")
		}
		b.fake.SetQuota("fake-1", -1)
		if _, err := b.cloud.Launch(b.Context(), request("1")); err != nil {
			b.Fatal(err)
		}
		if b.cloud.Dry(other) {
			b.Error("dry although a launch succeeded")
		}
	})
}

func TestUnsupportedIsRefusedBeforeTheDriverIsCalled(t *testing.T) {
	poor := fake.Config{Without: fake.Without{Stop: true, Spot: true, Disk: true, Ports: true}}
	inBubble(t, poor, nil, func(b *bench) {
		spot, disk := request("1"), request("2")
		spot.UseSpot, disk.DiskGiB = true, 100
		for _, req := range []provider.LaunchRequest{spot, disk} {
			_, err := b.cloud.Launch(b.Context(), req)
			b.wantKind(err, provider.KindUnsupported)
		}
		b.wantKind(b.cloud.Stop(b.Context(), "i-1"), provider.KindUnsupported)
		b.wantKind(b.cloud.Start(b.Context(), "i-1"), provider.KindUnsupported)
		b.wantKind(b.cloud.SetPorts(b.Context(), "i-1", nil), provider.KindUnsupported)
		for _, op := range []provider.Op{provider.OpLaunch, provider.OpStop, provider.OpStart, provider.OpSetPorts} {
			if n := b.fake.Calls(op); n != 0 {
				b.Errorf("%s reached the driver", op)
			}
		}
	})
}

func TestSenselessRequestsAreRefusedBeforeTheDriverIsCalled(t *testing.T) {
	changes := map[string]func(*provider.LaunchRequest){
		"no token":       func(r *provider.LaunchRequest) { r.Token = "" },
		"long token":     func(r *provider.LaunchRequest) { r.Token = strings.Repeat("x", 65) },
		"token path":     func(r *provider.LaunchRequest) { r.Token = "../x" },
		"no name":        func(r *provider.LaunchRequest) { r.Name = "" },
		"name":           func(r *provider.LaunchRequest) { r.Name = "My Node" },
		"name end":       func(r *provider.LaunchRequest) { r.Name = "node-" },
		"zone alone":     func(r *provider.LaunchRequest) { r.Region = "" },
		"disk":           func(r *provider.LaunchRequest) { r.DiskGiB = -1 },
		"tag key":        func(r *provider.LaunchRequest) { r.Tags = map[string]string{"Upper": ""} },
		"tag value":      func(r *provider.LaunchRequest) { r.Tags = map[string]string{"k": "line\nbreak"} },
		"long tag value": func(r *provider.LaunchRequest) { r.Tags = map[string]string{"k": strings.Repeat("x", 256)} },
		"user data":      func(r *provider.LaunchRequest) { r.UserData = make([]byte, 17<<10) },
		"type":           func(r *provider.LaunchRequest) { r.InstanceType = "huge" },
	}
	for name, change := range changes {
		inBubble(t, fake.Config{}, nil, func(b *bench) {
			req := request("1")
			change(&req)
			if _, err := b.cloud.Launch(b.Context(), req); err == nil || provider.KindOf(err) != provider.KindInvalid {
				b.Errorf("%s: %v", name, err)
			}
			if b.fake.Calls(provider.OpLaunch) != 0 {
				b.Errorf("%s: reached the driver", name)
			}
		})
	}
	inBubble(t, fake.Config{}, nil, func(b *bench) {
		b.wantKind(b.cloud.Terminate(b.Context(), ""), provider.KindInvalid)
		for _, ports := range []provider.PortRange{{From: 0, To: 1}, {From: 2, To: 1}, {From: 1, To: 65536}} {
			b.wantKind(b.cloud.SetPorts(b.Context(), "i-1", []provider.PortRange{ports}), provider.KindInvalid)
		}
	})
}

func TestListIsOrdered(t *testing.T) {
	inBubble(t, fake.Config{}, nil, func(b *bench) {
		for _, token := range []string{"c", "a", "b"} {
			if _, err := b.cloud.Launch(b.Context(), request(token)); err != nil {
				b.Fatal(err)
			}
		}
		all, err := b.cloud.List(b.Context(), provider.Filter{})
		if err != nil || len(all) != 3 || all[0].ID >= all[1].ID || all[1].ID >= all[2].ID {
			b.Errorf("listed %v, %v", all, err)
		}
	})
}

func TestErrorTellsWhereWhatAndWhy(t *testing.T) {
	inBubble(t, fake.Config{}, nil, func(b *bench) {
		b.fake.Fail(provider.OpCheck, provider.KindAuth, 1)
		err := b.cloud.Check(b.Context())
		want := "fake: check: UnauthorizedOperation: injected fault (auth, cloud)"
		if err == nil || err.Error() != want {
			b.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	f, err := fake.New(fake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []provider.Config{{}, {Name: "x"}, {Driver: f.Driver()}, {Name: "x", Driver: f.Driver(), Rate: -1}} {
		if _, err := provider.NewCloud(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func TestEveryNameIsItsOwn(t *testing.T) {
	seen := make(map[string]bool)
	for _, k := range provider.Kinds() {
		seen[k.String()] = true
	}
	for s := provider.StateUnknown; s <= provider.StateTerminated; s++ {
		seen[s.String()] = true
	}
	for s := provider.ScopeMachine; s <= provider.ScopeCloud; s++ {
		seen[s.String()] = true
	}
	if len(seen) != 10+7+4 {
		t.Errorf("names: %v", seen)
	}
}

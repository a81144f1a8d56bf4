package fake_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/provider/fake"
	"github.com/stix-run/stix/provider/providertest"
)

func open(t *testing.T, cfg fake.Config) *fake.Cloud {
	t.Helper()
	c, err := fake.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func harness(cfg fake.Config) providertest.Harness {
	return providertest.Harness{Bubble: true, Open: func(t *testing.T) providertest.Cloud {
		c := open(t, cfg)
		return providertest.Cloud{
			Driver: c.Driver(),
			Again:  func(*testing.T) provider.Driver { return c.Driver() },
			Fault: func(op provider.Op, kind provider.Kind, after bool, n int) {
				if after {
					c.FailAfter(op, kind, n)
					return
				}
				c.Fail(op, kind, n)
			},
			Slow:    c.SetCallLatency,
			Preempt: func(id string) { c.Preempt(id) },
			Partial: func(t *testing.T, req provider.LaunchRequest) {
				c.FailAfter(provider.OpLaunch, provider.KindUnknown, 1)
				if _, err := c.Driver().Launch(t.Context(), req); err == nil {
					t.Error("the launch was not cut off")
				}
			},
			Ports: c.Ports,
		}
	}}
}

func TestConformanceOfQuickCloud(t *testing.T) {
	providertest.Run(t, harness(fake.Config{}))
}

func TestConformanceOfSlowLaggingCloud(t *testing.T) {
	providertest.Run(t, harness(fake.Config{
		ListDelay: 3 * time.Second,
		Latency: fake.Latency{
			Call: 200 * time.Millisecond, Boot: 17 * time.Second, Stop: 5 * time.Second, Terminate: 8 * time.Second,
		},
	}))
}

func TestConformanceOfPoorCloud(t *testing.T) {
	providertest.Run(t, harness(fake.Config{Without: fake.Without{Stop: true, Spot: true, Disk: true, Ports: true}}))
}

func request(token string) provider.LaunchRequest {
	return provider.LaunchRequest{Token: token, Name: "m", UserData: []byte("data of " + token)}
}

func launch(t *testing.T, d provider.Driver, req provider.LaunchRequest) provider.Instance {
	t.Helper()
	inst, err := d.Launch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

func wantKind(t *testing.T, d provider.Driver, err error, kind provider.Kind, scope provider.Scope) {
	t.Helper()
	if err == nil {
		t.Fatalf("succeeded, want %v", kind)
	}
	if k, s := d.Kind(err); k != kind || s != scope {
		t.Errorf("%v is %v in %v, want %v in %v", err, k, s, kind, scope)
	}
}

func TestCapacityIsPerOfferingAndFreedByTerminate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, fake.Config{})
		d := c.Driver()
		zoneA := provider.Offering{Region: "fake-1", Zone: "fake-1a"}
		c.SetCapacity(zoneA, 1)
		inZoneA := func(token string) provider.LaunchRequest {
			r := request(token)
			r.Region, r.Zone = zoneA.Region, zoneA.Zone
			return r
		}
		first := launch(t, d, inZoneA("1"))
		_, err := d.Launch(t.Context(), inZoneA("2"))
		wantKind(t, d, err, provider.KindCapacity, provider.ScopeZone)
		if inst := launch(t, d, request("3")); inst.Zone != "fake-1b" {
			t.Errorf("free choice went to %s", inst.Zone)
		}
		if err := d.Terminate(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		launch(t, d, inZoneA("2"))
	})
}

func TestQuotaIsPerRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, fake.Config{})
		d := c.Driver()
		c.SetQuota("fake-1", 1)
		launch(t, d, request("1"))
		_, err := d.Launch(t.Context(), request("2"))
		wantKind(t, d, err, provider.KindQuota, provider.ScopeRegion)
		c.SetQuota("fake-1", -1)
		launch(t, d, request("2"))
	})
}

func TestHooksFollowTheMachineInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		tell := func(what string) func(provider.Instance) {
			return func(i provider.Instance) { told = append(told, fmt.Sprintf("%s %s", what, i.Token)) }
		}
		c := open(t, fake.Config{
			Latency:     fake.Latency{Boot: 10 * time.Second, Stop: time.Second},
			OnBoot:      func(i provider.Instance, data []byte) { tell("boot")(i); told = append(told, string(data)) },
			OnStop:      tell("stop"),
			OnTerminate: tell("terminate"),
		})
		d := c.Driver()
		inst := launch(t, d, request("1"))
		do := func(after time.Duration, f func(context.Context, string) error) {
			t.Helper()
			time.Sleep(after)
			if err := f(t.Context(), inst.ID); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		do(11*time.Second, d.Stop)
		do(2*time.Second, d.Start)
		do(5*time.Second, d.Stop) // before it has booted: nothing runs that could stop
		do(2*time.Second, d.Start)
		do(11*time.Second, d.Terminate)
		want := []string{"boot 1", "data of 1", "stop 1", "boot 1", "data of 1", "terminate 1"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

func TestTerminateDuringBootCallsNoBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		booted := false
		c := open(t, fake.Config{
			Latency: fake.Latency{Boot: 10 * time.Second},
			OnBoot:  func(provider.Instance, []byte) { booted = true },
		})
		inst := launch(t, c.Driver(), request("1"))
		time.Sleep(9 * time.Second)
		if err := c.Driver().Terminate(t.Context(), inst.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if booted {
			t.Error("a terminated machine booted")
		}
	})
}

func TestKillAndPreemptEndMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, fake.Config{})
		a, b := launch(t, c.Driver(), request("a")), launch(t, c.Driver(), request("b"))
		if !c.Kill(a.ID) || !c.Preempt(b.ID) || c.Kill(a.ID) || c.Preempt("nobody") {
			t.Error("wrong machines taken")
		}
		if live := c.Live(); len(live) != 0 {
			t.Errorf("live: %v", live)
		}
		if all := c.Instances(); len(all) != 2 || all[0].Preempted || !all[1].Preempted {
			t.Errorf("remembered: %v", all)
		}
	})
}

func TestTerminatedMachinesAreForgottenInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, fake.Config{Remember: time.Minute})
		d := c.Driver()
		first := launch(t, d, request("1"))
		if err := d.Terminate(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		_, err := d.Launch(t.Context(), request("1"))
		wantKind(t, d, err, provider.KindConflict, provider.ScopeMachine)
		time.Sleep(2 * time.Minute)
		if again := launch(t, d, request("1")); again.ID == first.ID {
			t.Error("a forgotten machine came back")
		}
	})
}

func TestCancelledCallMayHaveHadItsEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, fake.Config{Latency: fake.Latency{Call: 2 * time.Second}})
		for token, after := range map[string]time.Duration{"before": 500 * time.Millisecond, "after": 1500 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			if _, err := c.Driver().Launch(ctx, request(token)); err == nil {
				t.Error("not cancelled")
			}
			cancel()
		}
		if all := c.Instances(); len(all) != 1 || all[0].Token != "after" {
			t.Errorf("machines: %v, want the one of the later cancellation", all)
		}
	})
}

package providertest

import (
	"context"
	"slices"
	"time"

	"github.com/stix-run/stix/provider"
)

// unknownID is in nobody's form of an id, as after a change of account.
const unknownID = "no-such-machine"

func terminateTwice(s *suite) {
	inst := s.running()
	for range 2 {
		s.must("terminate", s.Driver.Terminate(s.Context(), inst.ID))
	}
	s.await(inst.ID, provider.StateTerminated)
	s.must("terminate", s.Driver.Terminate(s.Context(), inst.ID))
	if live := s.live(); len(live) != 0 {
		s.Errorf("still there: %v", live)
	}
}

func terminateUnknown(s *suite) {
	for _, id := range []string{unknownID, "../machine", "a b"} {
		s.must("terminate "+id, s.Driver.Terminate(s.Context(), id))
	}
}

func startTerminated(s *suite) {
	s.need(s.caps.Stop, "stop and start")
	inst := s.running()
	s.must("terminate", s.Driver.Terminate(s.Context(), inst.ID))
	s.await(inst.ID, provider.StateTerminated)
	s.wantKind("start", s.Driver.Start(s.Context(), inst.ID), provider.KindConflict, provider.KindNotFound)
	s.wantKind("stop", s.Driver.Stop(s.Context(), inst.ID), provider.KindConflict, provider.KindNotFound)
}

func unknownNotFound(s *suite) {
	if s.caps.Stop {
		s.wantKind("start", s.Driver.Start(s.Context(), unknownID), provider.KindNotFound)
		s.wantKind("stop", s.Driver.Stop(s.Context(), unknownID), provider.KindNotFound)
	}
	if s.caps.Ports != provider.PortsNone {
		s.wantKind("set ports", s.Driver.SetPorts(s.Context(), unknownID, nil), provider.KindNotFound)
	}
}

func stopStart(s *suite) {
	s.need(s.caps.Stop, "stop and start")
	before := s.running()
	s.must("stop", s.Driver.Stop(s.Context(), before.ID))
	s.await(before.ID, provider.StateStopped)
	s.must("start", s.Driver.Start(s.Context(), before.ID))
	after := s.await(before.ID, provider.StateRunning)
	if after.Token != before.Token || after.Name != before.Name || after.PrivateIP != before.PrivateIP ||
		after.InstanceType != before.InstanceType || after.Zone != before.Zone || len(after.Tags) != len(before.Tags) {
		s.Errorf("was %+v, is %+v", before, after)
	}
	if len(s.live()) != 1 {
		s.Errorf("%d machines, want 1", len(s.live()))
	}
}

func stopStartTwice(s *suite) {
	s.need(s.caps.Stop, "stop and start")
	id := s.running().ID
	s.must("start of a running machine", s.Driver.Start(s.Context(), id))
	for range 2 {
		s.must("stop", s.Driver.Stop(s.Context(), id))
	}
	s.await(id, provider.StateStopped)
	s.must("stop of a stopped machine", s.Driver.Stop(s.Context(), id))
	for range 2 {
		s.must("start", s.Driver.Start(s.Context(), id))
	}
	s.await(id, provider.StateRunning)
}

func terminateStopped(s *suite) {
	s.need(s.caps.Stop, "stop and start")
	id := s.running().ID
	s.must("stop", s.Driver.Stop(s.Context(), id))
	s.await(id, provider.StateStopped)
	s.must("terminate", s.Driver.Terminate(s.Context(), id))
	s.await(id, provider.StateTerminated)
}

func ports(s *suite) {
	id := s.running().ID
	want := []provider.PortRange{{From: 8080, To: 8080}, {From: 9000, To: 9010}}
	err := s.Driver.SetPorts(s.Context(), id, want)
	if s.caps.Ports == provider.PortsNone {
		s.wantKind("set ports", err, provider.KindUnsupported)
		return
	}
	s.must("set ports", err)
	s.must("set ports again", s.Driver.SetPorts(s.Context(), id, want))
	if s.caps.Ports == provider.PortsManaged && s.Ports != nil {
		if got := s.Ports(id); !slices.Equal(got, want) {
			s.Errorf("open: %v, want %v", got, want)
		}
		s.must("close ports", s.Driver.SetPorts(s.Context(), id, nil))
		if got := s.Ports(id); len(got) != 0 {
			s.Errorf("open: %v, want none", got)
		}
	}
}

// unsupported asks the driver itself: Cloud never lets such a request through.
func unsupported(s *suite) {
	refused := func(what string, change func(*provider.LaunchRequest)) {
		req := s.request()
		change(&req)
		_, err := s.Driver.Launch(s.Context(), req)
		s.wantKind(what, err, provider.KindUnsupported)
	}
	if !s.caps.Spot {
		refused("spot machine", func(r *provider.LaunchRequest) { r.UseSpot = true })
	}
	if !s.caps.Disk {
		refused("size of the disk", func(r *provider.LaunchRequest) { r.DiskGiB = 300 })
	}
	if !s.caps.Stop {
		id := s.running().ID
		s.wantKind("stop", s.Driver.Stop(s.Context(), id), provider.KindUnsupported)
		s.wantKind("start", s.Driver.Start(s.Context(), id), provider.KindUnsupported)
		return
	}
	s.settle()
	if live := s.live(); len(live) != 0 {
		s.Errorf("a refused request left %v", live)
	}
}

func invalidRequest(s *suite) {
	for _, change := range []func(*provider.LaunchRequest){
		func(r *provider.LaunchRequest) { r.Region = "atlantis-1" },
		func(r *provider.LaunchRequest) { r.InstanceType = "no-such-type" },
	} {
		req := s.request()
		change(&req)
		_, err := s.Driver.Launch(s.Context(), req)
		s.wantKind("launch", err, provider.KindInvalid)
	}
	s.settle()
	if live := s.live(); len(live) != 0 {
		s.Errorf("an invalid request left %v", live)
	}
}

func everyKind(s *suite) {
	s.need(s.Fault != nil, "faults")
	id := s.running().ID
	for op, call := range s.calls(id) {
		for _, kind := range provider.Kinds() {
			s.Fault(op, kind, false, 1)
			s.wantKind(string(op), call(), kind)
		}
	}
	s.settle()
	if live := s.live(); len(live) != 1 {
		s.Errorf("failed calls left %d machines, want the one that was there", len(live))
	}
}

func (s *suite) calls(id string) map[provider.Op]func() error {
	calls := map[provider.Op]func() error{
		provider.OpLaunch:    func() error { _, err := s.Driver.Launch(s.Context(), s.request()); return err },
		provider.OpList:      func() error { _, err := s.Driver.List(s.Context(), provider.Filter{}); return err },
		provider.OpTerminate: func() error { return s.Driver.Terminate(s.Context(), id) },
		provider.OpCheck:     func() error { return s.Driver.Check(s.Context()) },
	}
	if s.caps.Stop {
		calls[provider.OpStart] = func() error { return s.Driver.Start(s.Context(), id) }
		calls[provider.OpStop] = func() error { return s.Driver.Stop(s.Context(), id) }
	}
	if s.caps.Ports != provider.PortsNone {
		calls[provider.OpSetPorts] = func() error { return s.Driver.SetPorts(s.Context(), id, nil) }
	}
	return calls
}

func throttledRetried(s *suite) {
	s.need(s.Fault != nil, "faults")
	cloud, err := provider.NewCloud(provider.Config{Name: "test", Driver: s.Driver})
	s.must("new cloud", err)
	s.Fault(provider.OpLaunch, provider.KindThrottled, false, 2)
	s.Fault(provider.OpLaunch, provider.KindTransient, true, 2)
	inst, err := cloud.Launch(s.Context(), s.request())
	s.must("launch", err)
	s.await(inst.ID, provider.StateRunning)
	s.Fault(provider.OpTerminate, provider.KindThrottled, false, 2)
	s.must("terminate", cloud.Terminate(s.Context(), inst.ID))
	s.await(inst.ID, provider.StateTerminated)
	if live := s.live(); len(live) != 0 {
		s.Errorf("still there: %v", live)
	}
}

func cancelled(s *suite) {
	req := s.request()
	if _, err := s.Driver.Launch(s.cancelledContext(), req); err == nil {
		s.Error("launch succeeded with a context that had ended")
	}
	if s.Slow != nil {
		s.Slow(time.Hour)
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := s.Driver.Launch(ctx, req); err == nil {
			s.Error("a launch that takes an hour succeeded within a second")
		}
		if took := time.Since(began); took > 5*time.Second {
			s.Errorf("cancelled after 1 s, returned after %v", took)
		}
		s.Slow(0)
	}
	inst := s.launch(req)
	s.await(inst.ID, provider.StateRunning)
	if live := s.live(); len(live) != 1 {
		s.Errorf("%d machines, want 1: %v", len(live), live)
	}
}

func preempted(s *suite) {
	s.need(s.Preempt != nil, "preemption")
	req := s.request()
	req.UseSpot = s.caps.Spot
	id := s.await(s.launch(req).ID, provider.StateRunning).ID
	s.Preempt(id)
	s.eventually(func() bool {
		inst, ok := s.list(nil)[id]
		return !ok || inst.Preempted && inst.State != provider.StateRunning
	}, func() string { return "the machine still runs" })
	s.must("terminate", s.Driver.Terminate(s.Context(), id))
	s.await(id, provider.StateTerminated)
}

func secondDriver(s *suite) {
	s.need(s.Again != nil, "second driver")
	first := s.running()
	other := s.Again(s.T)
	all, err := other.List(s.Context(), provider.Filter{Tags: first.Tags})
	s.must("list", err)
	if len(all) != 1 || all[0].ID != first.ID || all[0].Token != first.Token {
		s.Fatalf("the second driver sees %v, want %v", all, first)
	}
	s.must("terminate", other.Terminate(s.Context(), first.ID))
	s.await(first.ID, provider.StateTerminated)
}

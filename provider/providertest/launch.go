package providertest

import (
	"bytes"
	"maps"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/stix-run/stix/provider"
)

func capabilitiesStay(s *suite) {
	s.running()
	if again := s.Driver.Capabilities(); !reflect.DeepEqual(again, s.caps) {
		s.Errorf("capabilities were %+v, are %+v", s.caps, again)
	}
}

func checkPasses(s *suite) { s.must("check", s.Driver.Check(s.Context())) }

func launchRuns(s *suite) {
	before := time.Now()
	req := s.request()
	launched := s.launch(req)
	if launched.State != provider.StatePending && launched.State != provider.StateRunning {
		s.Errorf("launch returned a machine in state %s", launched.State)
	}
	inst := s.await(launched.ID, provider.StateRunning)
	if inst.Token != req.Token || inst.Name != req.Name || inst.ID != launched.ID {
		s.Errorf("listed as %+v, launched as %+v", inst, req)
	}
	if req.InstanceType != "" && inst.InstanceType != req.InstanceType || req.Region != "" && inst.Region != req.Region ||
		req.Zone != "" && inst.Zone != req.Zone {
		s.Errorf("got %s in %s/%s, asked for %+v", inst.InstanceType, inst.Region, inst.Zone, req.Offering())
	}
	if inst.Region == "" || inst.InstanceType == "" || inst.PrivateIP == "" {
		s.Errorf("region, type or address missing: %+v", inst)
	}
	// Clouds tell whole seconds, by their own clock.
	if inst.LaunchedAt.Before(before.Add(-time.Minute)) || inst.LaunchedAt.After(time.Now().Add(time.Minute)) {
		s.Errorf("launched at %v, it is %v", inst.LaunchedAt, time.Now())
	}
}

func listWithinDelay(s *suite) {
	id := s.launch(s.request()).ID
	s.settle()
	if _, ok := s.list(nil)[id]; !ok {
		s.Errorf("machine %s is not listed %v after its launch", id, s.caps.ListDelay)
	}
}

func listSelects(s *suite) {
	mine, other := s.request(), s.request()
	other.Tags[provider.TagCluster] = "cluster-2"
	a, b := s.launch(mine), s.launch(other)
	s.settle()
	if got := s.list(map[string]string{provider.TagOwner: "owner-1"}); len(got) != 2 {
		s.Errorf("by owner: %d machines, want 2", len(got))
	}
	got := s.list(map[string]string{provider.TagOwner: "owner-1", provider.TagCluster: "cluster-2"})
	if _, ok := got[b.ID]; !ok || len(got) != 1 {
		s.Errorf("by cluster: %v, want only %s and not %s", got, b.ID, a.ID)
	}
	if got := s.list(map[string]string{provider.TagCluster: "cluster-3"}); len(got) != 0 {
		s.Errorf("by unknown cluster: %v", got)
	}
}

func tagsRoundTrip(s *suite) {
	req := s.request()
	req.Tags["empty"] = ""
	req.Tags["odd"] = `a b/c:d="e",{f}*?[g]%41\n;'~`
	req.Tags["upper"] = "MixedCase_1.2-3"
	req.Tags["long"] = strings.Repeat("x", 255)
	want := maps.Clone(req.Tags)
	id := s.launch(req).ID
	s.settle()
	got := s.list(map[string]string{"odd": req.Tags["odd"]})[id].Tags
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			s.Errorf("tag %s is %q (%v), want %q", k, g, ok, v)
		}
	}
	got["odd"] = "changed by the caller"
	if s.list(nil)[id].Tags["odd"] != want["odd"] {
		s.Error("a list shares its tags with the driver")
	}
}

func sameTokenOneMachine(s *suite) {
	req := s.request()
	first := s.launch(req)
	// What a retry carries besides the token does not matter.
	req.UserData = append(bytes.Clone(req.UserData), ' ')
	if again := s.launch(req); again.ID != first.ID {
		s.Errorf("the same token gave %s, then %s", first.ID, again.ID)
	}
	s.settle()
	if again := s.launch(req); again.ID != first.ID {
		s.Errorf("the same token gave %s, then %s", first.ID, again.ID)
	}
	if live := s.live(); len(live) != 1 {
		s.Errorf("%d machines, want 1: %v", len(live), live)
	}
}

func sameTokenConcurrently(s *suite) {
	s.need(s.Again != nil, "second driver")
	req := s.request()
	drivers := []provider.Driver{s.Driver, s.Again(s.T)}
	reqs := make([]provider.LaunchRequest, 8)
	for i := range reqs {
		reqs[i] = req
	}
	ids := s.launchAll(drivers, reqs)
	if len(ids) != 1 {
		s.Errorf("one token gave machines %v", ids)
	}
	s.settle()
	if live := s.live(); len(live) != 1 {
		s.Errorf("%d machines, want 1: %v", len(live), live)
	}
}

func otherTokenOtherMachine(s *suite) {
	req := s.request()
	a := s.launch(req)
	req.Token += "-other" // the same name
	if b := s.launch(req); b.ID == a.ID {
		s.Errorf("two tokens gave one machine %s", a.ID)
	}
}

func eightAtOnce(s *suite) {
	reqs := make([]provider.LaunchRequest, 8)
	for i := range reqs {
		reqs[i] = s.request()
	}
	ids := s.launchAll([]provider.Driver{s.Driver}, reqs)
	if len(ids) != 8 {
		s.Errorf("%d machines, want 8", len(ids))
	}
	for id := range ids {
		s.await(id, provider.StateRunning)
	}
	if live := s.live(); len(live) != 8 {
		s.Errorf("%d machines listed, want 8", len(live))
	}
}

// launchAll launches all requests at once, spread over the drivers, and returns the machines that came of it.
func (s *suite) launchAll(drivers []provider.Driver, reqs []provider.LaunchRequest) map[string]bool {
	s.Helper()
	var wg sync.WaitGroup
	found := make([]string, len(reqs))
	errs := make([]error, len(reqs))
	for i, req := range reqs {
		wg.Go(func() {
			inst, err := drivers[i%len(drivers)].Launch(s.Context(), req)
			found[i], errs[i] = inst.ID, err
		})
	}
	wg.Wait()
	ids := make(map[string]bool)
	for i, id := range found {
		s.must("launch", errs[i])
		ids[id] = true
	}
	return ids
}

func tokenStaysUsed(s *suite) {
	req := s.request()
	inst := s.launch(req)
	s.must("terminate", s.Driver.Terminate(s.Context(), inst.ID))
	s.await(inst.ID, provider.StateTerminated)
	_, err := s.Driver.Launch(s.Context(), req)
	s.wantKind("launch with a used token", err, provider.KindConflict)
	s.settle()
	if live := s.live(); len(live) != 0 {
		s.Errorf("a used token brought up %v", live)
	}
}

func lostAnswer(s *suite) {
	s.need(s.Fault != nil, "faults")
	req := s.request()
	s.Fault(provider.OpLaunch, provider.KindTransient, true, 1)
	_, err := s.Driver.Launch(s.Context(), req)
	s.wantKind("launch", err, provider.KindTransient)
	s.settle()
	live := s.live()
	if len(live) != 1 {
		s.Fatalf("%d machines after a lost answer, want 1", len(live))
	}
	if again := s.launch(req); live[again.ID].Token != req.Token {
		s.Errorf("the retry gave %s, there was %v", again.ID, live)
	}
}

func partialRemoved(s *suite) {
	s.need(s.Partial != nil, "partial launches")
	req := s.request()
	s.Partial(s.T, req)
	s.settle()
	for id, inst := range s.list(req.Tags) {
		if inst.Token != req.Token {
			s.Errorf("partial machine %s has token %q", id, inst.Token)
		}
		s.must("terminate", s.Driver.Terminate(s.Context(), id))
		s.await(id, provider.StateTerminated)
	}
	if live := s.live(); len(live) != 0 {
		s.Errorf("still there: %v", live)
	}
}

func partialFinished(s *suite) {
	s.need(s.Partial != nil, "partial launches")
	req := s.request()
	s.Partial(s.T, req)
	inst := s.launch(req)
	s.await(inst.ID, provider.StateRunning)
	if live := s.live(); len(live) != 1 {
		s.Errorf("%d machines, want 1: %v", len(live), live)
	}
}

// Package providertest defines what a provider is: a suite that every driver passes.
//
// A driver's test builds a [Harness] that opens an empty cloud for each case and, where it can, makes that cloud fail. What the
// driver's Capabilities declare unsupported is tested to be refused instead. What a harness cannot do it leaves nil, and the
// cases that need it are skipped by name.
package providertest

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stix-run/stix/provider"
)

// Harness is how the suite gets at a cloud.
type Harness struct {
	// Open returns an empty cloud for one case; it cleans up through t.Cleanup.
	Open func(t *testing.T) Cloud
	// Bubble runs each case in a testing/synctest bubble, for clouds that do no real I/O.
	Bubble bool
	// Patience is how long to wait for a machine to change its state; default 30 seconds.
	Patience time.Duration
}

// Cloud is an opened cloud.
type Cloud struct {
	// Driver under test.
	Driver provider.Driver
	// Request is a valid request to launch a machine; the suite fills in Token, Name, Tags and UserData.
	Request provider.LaunchRequest
	// Again returns another driver of the same cloud, as a second coordinator has it, or the same one after a restart.
	Again func(t *testing.T) provider.Driver
	// Fault makes the next n calls of op fail with this kind, before their effect or, with after, when they have had it. Nil: the
	// cloud cannot be made to fail.
	Fault func(op provider.Op, kind provider.Kind, after bool, n int)
	// Slow makes each call take at least this long. Nil: it cannot be slowed down.
	Slow func(d time.Duration)
	// Preempt takes the machine away. Nil: no machine is ever taken away.
	Preempt func(id string)
	// Partial leaves what a launch of the request leaves behind when it is cut off in the middle. Nil: launches are atomic.
	Partial func(t *testing.T, req provider.LaunchRequest)
	// Ports returns what is open on a machine. Nil: it cannot be seen.
	Ports func(id string) []provider.PortRange
}

// Run runs the whole suite.
func Run(t *testing.T, h Harness) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			if h.Bubble {
				synctest.Test(t, func(t *testing.T) { c.run(open(t, h)) })
				return
			}
			c.run(open(t, h))
		})
	}
}

type testCase struct {
	name string
	run  func(*suite)
}

func cases() []testCase {
	return []testCase{
		{"capabilities do not change", capabilitiesStay},
		{"check passes on a usable cloud", checkPasses},
		{"a launched machine comes to run and is listed as asked for", launchRuns},
		{"list shows a new machine within the stated delay", listWithinDelay},
		{"list selects by tag", listSelects},
		{"tags round-trip", tagsRoundTrip},
		{"the same token twice is one machine", sameTokenOneMachine},
		{"the same token from two drivers at once is one machine", sameTokenConcurrently},
		{"another token is another machine", otherTokenOtherMachine},
		{"eight launches at once are eight machines", eightAtOnce},
		{"the token of a terminated machine does not bring up another", tokenStaysUsed},
		{"a lost answer is found again by its token", lostAnswer},
		{"a partial launch is listed and can be removed", partialRemoved},
		{"a partial launch is finished by its token", partialFinished},
		{"terminate twice succeeds", terminateTwice},
		{"terminate of an unknown machine succeeds", terminateUnknown},
		{"a terminated machine cannot be started", startTerminated},
		{"an unknown machine is not found", unknownNotFound},
		{"stop and start keep the machine's identity", stopStart},
		{"stop twice and start twice succeed", stopStartTwice},
		{"a stopped machine can be terminated", terminateStopped},
		{"ports are set as declared", ports},
		{"what is not supported is refused as declared", unsupported},
		{"a request that makes no sense is invalid", invalidRequest},
		{"every kind of failure is classified", everyKind},
		{"a throttled call succeeds when it is retried", throttledRetried},
		{"a cancelled call returns promptly and does no harm", cancelled},
		{"a preempted machine is seen to be so", preempted},
		{"a second driver sees and can end the machines of the first", secondDriver},
	}
}

// suite is one case's view of the cloud.
type suite struct {
	*testing.T
	Cloud
	caps     provider.Capabilities
	patience time.Duration
	launches int
}

func open(t *testing.T, h Harness) *suite {
	t.Helper()
	c := h.Open(t)
	patience := h.Patience
	if patience == 0 {
		patience = 30 * time.Second
	}
	return &suite{T: t, Cloud: c, caps: c.Driver.Capabilities(), patience: patience}
}

// request returns a valid request with a new token.
func (s *suite) request() provider.LaunchRequest {
	s.launches++
	req := s.Request
	req.Token = fmt.Sprintf("token-%d", s.launches)
	req.Name = fmt.Sprintf("machine-%d", s.launches)
	req.Tags = map[string]string{provider.TagOwner: "owner-1", provider.TagCluster: "cluster-1"}
	if req.UserData == nil {
		req.UserData = []byte("{}")
	}
	return req
}

func (s *suite) launch(req provider.LaunchRequest) provider.Instance {
	s.Helper()
	inst, err := s.Driver.Launch(s.Context(), req)
	if err != nil {
		s.Fatalf("launch %s: %v", req.Token, err)
	}
	return inst
}

// running launches a machine and waits until it runs.
func (s *suite) running() provider.Instance {
	s.Helper()
	return s.await(s.launch(s.request()).ID, provider.StateRunning)
}

func (s *suite) list(tags map[string]string) map[string]provider.Instance {
	s.Helper()
	all, err := s.Driver.List(s.Context(), provider.Filter{Tags: tags})
	if err != nil {
		s.Fatalf("list: %v", err)
	}
	byID := make(map[string]provider.Instance, len(all))
	for _, inst := range all {
		if _, twice := byID[inst.ID]; twice {
			s.Errorf("machine %s is listed twice", inst.ID)
		}
		byID[inst.ID] = inst
	}
	return byID
}

// live is the list without machines that are over.
func (s *suite) live() map[string]provider.Instance {
	s.Helper()
	all := s.list(nil)
	for id, inst := range all {
		if inst.State.Gone() {
			delete(all, id)
		}
	}
	return all
}

// settle waits until the list must show everything that was launched.
func (s *suite) settle() { s.pause(s.caps.ListDelay) }

// await waits until the machine is in the state. A machine that is no longer listed is TERMINATED.
func (s *suite) await(id string, want provider.State) provider.Instance {
	s.Helper()
	var last provider.Instance
	s.eventually(func() bool {
		inst, ok := s.list(nil)[id]
		if !ok {
			inst = provider.Instance{ID: id}
			if want == provider.StateTerminated {
				inst.State = want
			}
		}
		last = inst
		return inst.State == want
	}, func() string { return fmt.Sprintf("machine %s is %s, want %s", id, last.State, want) })
	return last
}

// eventually looks again and again, since a cloud tells nobody when it is done.
func (s *suite) eventually(done func() bool, explain func() string) {
	s.Helper()
	deadline := time.Now().Add(s.patience)
	for wait := time.Millisecond; !done(); wait = min(2*wait, time.Second) {
		if time.Now().After(deadline) {
			s.Fatalf("after %v: %s", s.patience, explain())
		}
		s.pause(wait)
	}
}

func (s *suite) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.Context().Done():
	}
}

func (s *suite) must(what string, err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

// wantKind checks that the driver classifies err as one of the kinds.
func (s *suite) wantKind(what string, err error, want ...provider.Kind) {
	s.Helper()
	if err == nil {
		s.Errorf("%s: succeeded, want an error of kind %v", what, want)
		return
	}
	got, _ := s.Driver.Kind(err)
	for _, k := range want {
		if got == k {
			return
		}
	}
	s.Errorf("%s: error %q is of kind %v, want %v", what, err, got, want)
}

func (s *suite) need(ok bool, what string) {
	s.Helper()
	if !ok {
		s.Skipf("the harness has no %s", what)
	}
}

func (s *suite) cancelledContext() context.Context {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	return ctx
}

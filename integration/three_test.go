package integration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// TestThreeCoordinatorsServeAnyClientAndAgent is the life of a cluster where users and agents come to any of three
// coordinators and two of them pass everything on.
func TestThreeCoordinatorsServeAnyClientAndAgent(t *testing.T) {
	inWorldOfThree(t, 0, life)
}

// TestLeaderLostUnderARunningJob crashes the leader for good while a job runs and is followed.
func TestLeaderLostUnderARunningJob(t *testing.T) {
	inWorldOfThree(t, 0, func(w *world) {
		c := w.user()
		res := w.launch(c, "demo", task(2, "print one; sleep 10s; print two"))
		go func() {
			time.Sleep(3 * time.Second)
			w.crash(w.leader())
		}()
		lines, end := w.read(c, res.JobUid)
		if !slices.Equal(lines, []string{"one", "one", "two", "two"}) {
			t.Errorf("the job printed %q", lines)
		}
		w.wantEnd(end, stixv1.JobState_JOB_STATE_SUCCEEDED, 0, 0)
		w.down(c, "demo")
		w.start(w.missing())
	})
}

// TestThreeCoordinatorsCrashAtSteps crashes whichever leads, once in each run, before and after entries and calls to
// the cloud, and starts it again. STIX_STRIDE says how many steps are passed over from run to run; 1 is every one.
func TestThreeCoordinatorsCrashAtSteps(t *testing.T) {
	stride := int(number(t, "STIX_STRIDE", 5))
	crashed := true
	for n := 1; crashed && !t.Failed(); n += stride {
		t.Run(fmt.Sprintf("step %d", n), func(t *testing.T) { crashed = crashAt(t, n, inWorldOfThree, life) })
	}
}

// TestThreeCoordinatorsInChaos is TestChaos with three: any of them crashes, agents restart, hosts are cut off.
func TestThreeCoordinatorsInChaos(t *testing.T) {
	for _, seed := range seeds(t, 8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			inWorldOfThree(t, 0, func(w *world) {
				rnd := rand.New(rand.NewPCG(seed, 3))
				done, ended := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(ended)
					w.trouble(rnd, done)
				}()
				life(w)
				close(done)
				<-ended
				w.net.Heal()
			})
		})
	}
}

// leader is the host that leads now.
func (w *world) leader() string {
	w.t.Helper()
	info, err := w.user().Info(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return info.LeaderId
}

// missing is the host whose coordinator does not run.
func (w *world) missing() string {
	w.lives.Lock()
	defer w.lives.Unlock()
	for _, h := range w.hosts {
		if w.up[h] == nil {
			return h
		}
	}
	return ""
}

//go:build integration && linux

package binaries

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/internal/ids"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/task"
)

// dial returns the Go client of the home's server.
func (h *home) dial() *client.Client {
	h.t.Helper()
	h.ok("status") // makes the user's id, so that commands list what the client submits
	id, err := os.ReadFile(filepath.Join(h.dir, "user_hash"))
	if err != nil {
		h.t.Fatal(err)
	}
	c, err := client.New(client.Config{
		Endpoint: "unix://" + filepath.Join(h.dir, "stixd.sock"),
		UserName: "tester", UserID: strings.TrimSpace(string(id)), Patience: 30 * time.Second,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

func (h *home) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	h.t.Cleanup(cancel)
	return ctx
}

func command(t *testing.T, run string) *stixv1.Task {
	t.Helper()
	parsed, err := task.FromCommand([]string{run}, task.Options{Resources: task.ResourceOptions{Infra: "local"}})
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestCallsTakeEffectOnce sends the same call again and again, also at the same moment, and with another payload.
func TestCallsTakeEffectOnce(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.ok("api", "start")
	c, ctx := h.dial(), h.ctx()
	run := command(t, "echo ran >>"+h.work+"/ran")

	launch := &stixv1.LaunchRequest{RequestId: ids.New(), ClusterName: "demo", Task: run}
	launched := repeated(t, func() (*stixv1.LaunchResponse, error) { return c.Launch(ctx, launch) })
	h.ok("logs", "demo", "1")
	h.machinesAreRecorded(1)
	if again := repeated(t, func() (*stixv1.LaunchResponse, error) { return c.Launch(ctx, launch) }); again.ClusterUid != launched.ClusterUid || again.JobNumber != 1 {
		t.Errorf("the same launch gave %v, later %v", launched, again)
	}

	submit := &stixv1.SubmitRequest{RequestId: ids.New(), ClusterName: "demo", Task: run}
	if res := repeated(t, func() (*stixv1.SubmitResponse, error) { return c.Submit(ctx, submit) }); res.JobNumber != 2 {
		t.Errorf("the second job is %v", res)
	}
	h.ok("logs", "demo", "2")
	if ran, jobs := h.read("ran"), h.jobs("demo"); len(ran) != 2 || len(jobs) != 2 {
		t.Errorf("%d jobs ran %d times, not 2 and 2", len(jobs), len(ran))
	}

	refused(t, "submit", func() error {
		other := proto.CloneOf(submit)
		other.Task = command(t, "echo something else")
		_, err := c.Submit(ctx, other)
		return err
	})
	refused(t, "launch", func() error {
		other := proto.CloneOf(launch)
		other.ClusterName = "other"
		_, err := c.Launch(ctx, other)
		return err
	})
	refused(t, "another verb", func() error {
		_, err := c.Down(ctx, &stixv1.DownRequest{RequestId: submit.RequestId, ClusterName: "demo"})
		return err
	})
	h.machinesAreRecorded(1)

	down := &stixv1.DownRequest{RequestId: ids.New(), ClusterName: "demo"}
	repeated(t, func() (*stixv1.DownResponse, error) { return c.Down(ctx, down) })
	eventually(t, settleLimit, "the cluster is gone", func() bool { return len(h.clusters()) == 0 })
	h.machinesAreRecorded(0)
	h.up("demo")
	repeated(t, func() (*stixv1.DownResponse, error) { return c.Down(ctx, down) })
	h.machinesAreRecorded(1) // the old call says nothing about the new cluster
	if ran := h.read("ran"); len(ran) != 2 {
		t.Errorf("the jobs ran %d times, not 2", len(ran))
	}
	h.end()
}

// repeated makes the same call four times at once, and returns the answer, which has to be one.
func repeated[M proto.Message](t *testing.T, call func() (M, error)) M {
	t.Helper()
	answers, errs := make([]M, 4), make([]error, 4)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i], errs[i] = call() })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, a := range answers[1:] {
		if !proto.Equal(a, answers[0]) {
			t.Fatalf("two answers to one call: %v, %v", answers[0], a)
		}
	}
	return answers[0]
}

// refused checks that a request id is not taken for another call.
func refused(t *testing.T, what string, call func() error) {
	t.Helper()
	err := call()
	var e *client.Error
	if !errors.As(err, &e) || (e.Kind != client.Exists && e.Kind != client.Invalid && e.Kind != client.Precondition) {
		t.Errorf("%s with the id of another call gave %v", what, err)
	}
}

// TestLostAnswersMakeNoSecondJob kills the server at random moments around a call, which the client repeats.
func TestLostAnswersMakeNoSecondJob(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	c, ctx := h.dial(), h.ctx()
	random := seeded(t, uint64(time.Now().UnixNano()))
	const rounds = 10
	for round := 1; round <= rounds; round++ {
		pid := h.serverAgain()
		req := &stixv1.SubmitRequest{RequestId: ids.New(), ClusterName: "demo", Task: command(t, fmt.Sprintf("echo %d >>%s/ran", round, h.work))}
		done := make(chan error, 1)
		var res *stixv1.SubmitResponse
		go func() {
			var err error
			res, err = c.Submit(ctx, req)
			done <- err
		}()
		delay := time.Duration(random.Int64N(int64(12 * time.Millisecond)))
		<-time.After(delay)
		h.kill(pid)
		h.serverAgain()
		if err := <-done; err != nil {
			t.Fatalf("round %d, killed after %v: %v", round, delay, err)
		}
		if res.JobNumber != int64(round) {
			t.Fatalf("round %d, killed after %v: job %d", round, delay, res.JobNumber)
		}
		again, err := c.Submit(ctx, req)
		if err != nil || again.JobNumber != res.JobNumber {
			t.Fatalf("round %d: the same call gave %v and later %v, %v", round, res, again, err)
		}
	}
	for i := 1; i <= rounds; i++ {
		h.ok("logs", "demo", fmt.Sprint(i))
	}
	h.ranOnce(rounds)
	if jobs := h.jobs("demo"); len(jobs) != rounds {
		t.Errorf("%d jobs, not %d", len(jobs), rounds)
	}
	h.end()
}

// ranOnce checks that the jobs wrote the numbers from 1, each once.
func (h *home) ranOnce(total int) {
	h.t.Helper()
	ran := map[string]int{}
	for _, line := range h.read("ran") {
		ran[line]++
	}
	for i := 1; i <= total; i++ {
		if n := ran[fmt.Sprint(i)]; n != 1 {
			h.t.Errorf("%d ran %d times", i, n)
		}
	}
	if len(ran) != total {
		h.t.Errorf("%d different ones ran, not %d", len(ran), total)
	}
}

// TestAgentKilledAroundAStartRunsTheJobOnce kills the agent at random moments around the start of a job.
func TestAgentKilledAroundAStartRunsTheJobOnce(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	m := h.machines()[0]
	random := seeded(t, uint64(time.Now().UnixNano()))
	const rounds = 6 // the supervisor waits longer after each death
	for round := 1; round <= rounds; round++ {
		var pid int
		eventually(t, settleLimit, "an agent", func() bool { pid = h.agent(m); return pid != 0 })
		h.untilReady("demo")
		f := h.start("exec", "demo", fmt.Sprintf("echo %d >>%s/ran; echo ran %d", round, h.work, round))
		delay := time.Duration(random.Int64N(int64(60 * time.Millisecond)))
		<-time.After(delay)
		h.kill(pid)
		r := f.wait()
		if n := strings.Count(r.stdout, fmt.Sprintf(") ran %d\n", round)); r.code != 0 || n != 1 {
			t.Fatalf("round %d, killed after %v: %v", round, delay, r)
		}
	}
	h.ranOnce(rounds)
	h.end()
}

// untilReady waits until the cluster is up with an agent that answers.
func (h *home) untilReady(cluster string) {
	h.t.Helper()
	eventually(h.t, settleLimit, "the cluster is up", func() bool {
		for _, c := range h.clusters() {
			if c.Name == cluster && c.Status == "UP" {
				return true
			}
		}
		return false
	})
}

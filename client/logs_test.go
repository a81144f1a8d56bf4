package client_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/client/clienttest"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// reading is what came out of a log stream.
type reading struct {
	text   map[string]string // by assignment
	heads  int
	states []stixv1.JobState
	err    error
}

func read(t *testing.T, c *client.Client, req *stixv1.LogsRequest) *reading {
	got := &reading{text: map[string]string{}}
	next := map[string]int64{}
	for msg, err := range c.Logs(t.Context(), req) {
		if err != nil {
			got.err = err
			break
		}
		if msg.GetHead() != nil {
			got.heads++
		}
		if s := msg.GetState(); s != nil {
			got.states = append(got.states, s.GetState())
		}
		if ch := msg.GetChunk(); ch != nil {
			uid := ch.GetAssignmentUid()
			if at, known := next[uid]; known && at != ch.GetOffset() {
				t.Errorf("chunk of %s at %d, expected %d", uid, ch.GetOffset(), at)
			}
			next[uid] = ch.GetOffset() + int64(len(ch.GetData()))
			got.text[uid] += string(ch.GetData())
		}
	}
	return got
}

// TestLogsGoOnAfterEveryLostConnection cuts the stream after each number of
// messages, while the job writes on two nodes.
func TestLogsGoOnAfterEveryLostConnection(t *testing.T) {
	for cut := range 8 {
		t.Run(fmt.Sprint(cut), func(t *testing.T) { cutLogs(t, cut) })
	}
}

//stix:bubble
func cutLogs(t *testing.T, cut int) {
	bubble(t, func(t *testing.T, r *rig) {
		r.server.AddCluster(cluster("c"))
		job := r.server.AddJob("c", func(*stixv1.JobView) {})
		r.server.Fail(clienttest.Fault{Procedure: "Logs", Messages: cut, Times: 3})
		got := make(chan *reading)
		go func() {
			got <- read(t, r.client, &stixv1.LogsRequest{ClusterName: "c", Follow: true, Tail: 1000})
		}()
		time.Sleep(time.Second)
		var want [2]string
		logs := [2]*clienttest.Log{job.Run(), job.Log(&stixv1.LogChunk{Phase: stixv1.Phase_PHASE_RUN, Rank: 1})}
		// Another job becomes the latest: the reader must stay with its own.
		r.server.AddJob("c", func(*stixv1.JobView) {})
		for i := range 20 {
			line := fmt.Sprintf("line %d\n", i)
			logs[i%2].Write(line)
			want[i%2] += line
			time.Sleep(300 * time.Millisecond)
		}
		job.Finish(stixv1.JobState_JOB_STATE_SUCCEEDED, 0, 0)
		res := <-got
		if res.err != nil {
			t.Fatal(res.err)
		}
		for i, text := range want {
			if uid := fmt.Sprintf("job-c-1-%d", i); res.text[uid] != text {
				t.Errorf("log %d is %q, want %q", i, res.text[uid], text)
			}
		}
		if res.heads != 1 {
			t.Errorf("%d heads, want 1", res.heads)
		}
		if last := res.states[len(res.states)-1]; last != stixv1.JobState_JOB_STATE_SUCCEEDED {
			t.Errorf("last state %v", last)
		}
	})
}

//stix:bubble
func TestLogsWaitForAServerThatRestarts(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.server.AddCluster(cluster("c"))
		job := r.server.AddJob("c", func(*stixv1.JobView) {})
		log := job.Run()
		got := make(chan *reading)
		go func() { got <- read(t, r.client, &stixv1.LogsRequest{ClusterName: "c", Number: 1, Follow: true}) }()
		log.Write("before\n")
		synctest.Wait()
		for range 3 {
			r.restart(100 * time.Second)
			log.Write("after\n")
			time.Sleep(5 * time.Second)
		}
		job.Finish(stixv1.JobState_JOB_STATE_FAILED, 1)
		res := <-got
		if res.err != nil {
			t.Fatal(res.err)
		}
		if text := res.text["job-c-1-0"]; text != "before\n"+strings.Repeat("after\n", 3) {
			t.Errorf("log is %q", text)
		}
	})
}

func TestLogsGoOnAfterAServerThatShutDownCancelledThem(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.server.AddCluster(cluster("c"))
		job := r.server.AddJob("c", func(*stixv1.JobView) {})
		job.Run().Write("all of it\n")
		job.Finish(stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
		stopping := clienttest.Errorf(connect.CodeCanceled, "context canceled")
		r.server.Fail(clienttest.Fault{Procedure: "Logs", Messages: 1, Err: stopping})
		if res := read(t, r.client, &stixv1.LogsRequest{ClusterName: "c", Follow: true}); res.err != nil || res.text["job-c-1-0"] != "all of it\n" {
			t.Errorf("read %q, error %v", res.text, res.err)
		}
	})
}

func TestLogsGiveUpAfterTheStreamPatience(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.server.AddCluster(cluster("c"))
		r.server.AddJob("c", func(*stixv1.JobView) {}).Run()
		c := r.dial(client.Config{StreamPatience: 30 * time.Second})
		defer c.Close()
		got := make(chan *reading)
		go func() { got <- read(t, c, &stixv1.LogsRequest{ClusterName: "c", Follow: true}) }()
		synctest.Wait()
		r.stop()
		began := time.Now()
		if res := <-got; !client.IsUnreachable(res.err) {
			t.Errorf("error %v, want unreachable", res.err)
		}
		if took := time.Since(began); took < 30*time.Second || took > 32*time.Second {
			t.Errorf("gave up after %v, want 30s", took)
		}
		r.start()
	})
}

//stix:bubble
func TestTailIsNotAskedForAgainOnceBytesCame(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.server.AddCluster(cluster("c"))
		job := r.server.AddJob("c", func(*stixv1.JobView) {})
		log := job.Run()
		log.Write("1\n2\n3\n4\n")
		r.server.Fail(clienttest.Fault{Procedure: "Logs", Messages: 3})
		got := make(chan *reading)
		go func() { got <- read(t, r.client, &stixv1.LogsRequest{ClusterName: "c", Follow: true, Tail: 2}) }()
		synctest.Wait()
		// It begins while the connection is down, and is longer than the tail.
		job.Log(&stixv1.LogChunk{Rank: 1}).Write("a\nb\nc\nd\n")
		time.Sleep(5 * time.Second)
		job.Finish(stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
		res := <-got
		if res.text["job-c-1-0"] != "3\n4\n" || res.text["job-c-1-1"] != "a\nb\nc\nd\n" {
			t.Errorf("logs are %q", res.text)
		}
	})
}

func TestLogsWithoutFollowingEndWithWhatThereIs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.server.AddCluster(cluster("c"))
		job := r.server.AddJob("c", func(*stixv1.JobView) {})
		job.Run().Write("so far\n")
		res := read(t, r.client, &stixv1.LogsRequest{ClusterName: "c"})
		if res.err != nil || res.text["job-c-1-0"] != "so far\n" {
			t.Errorf("read %q, error %v", res.text, res.err)
		}
	})
}

func TestLogsOfAMissingJobAreNotFoundAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		began := time.Now()
		res := read(t, r.client, &stixv1.LogsRequest{ClusterName: "c", Number: 7, Follow: true})
		if client.KindOf(res.err) != client.NotFound || time.Since(began) > time.Second {
			t.Errorf("error %v after %v", res.err, time.Since(began))
		}
	})
}

//stix:bubble
func TestFollowedRequestGoesOnAfterALostConnection(t *testing.T) {
	for cut := range 3 {
		bubble(t, func(t *testing.T, r *rig) {
			r.server.HoldLaunch = true
			res, err := r.client.Launch(t.Context(), &stixv1.LaunchRequest{ClusterName: "c", Task: &stixv1.Task{}})
			if err != nil {
				t.Fatal(err)
			}
			r.server.Fail(clienttest.Fault{Procedure: "Follow", Messages: cut, Times: 2})
			done := make(chan []string)
			go func() {
				var steps []string
				for req, err := range r.client.FollowRequest(t.Context(), res.GetRequestId()) {
					if err != nil {
						t.Error(err)
						break
					}
					steps = append(steps, fmt.Sprint(len(req.GetProgress()), req.GetState()))
				}
				done <- steps
			}()
			for range 2 {
				time.Sleep(5 * time.Second)
				r.server.EditRequest("", func(q *stixv1.Request) { q.Progress = append(q.Progress, &stixv1.Progress{}) })
			}
			time.Sleep(5 * time.Second)
			r.server.EditRequest("", func(q *stixv1.Request) { q.State = stixv1.RequestState_REQUEST_STATE_SUCCEEDED })
			want := "0 REQUEST_STATE_RUNNING,1 REQUEST_STATE_RUNNING,2 REQUEST_STATE_RUNNING,2 REQUEST_STATE_SUCCEEDED"
			if got := strings.Join(<-done, ","); got != want {
				t.Errorf("cut after %d: steps %s, want %s", cut, got, want)
			}
		})
	}
}

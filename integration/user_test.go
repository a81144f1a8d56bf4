package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/internal/ids"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// anyCoordinator connects a user to the first coordinator that answers, each time beginning with another.
func (w *world) anyCoordinator() func(context.Context, string, string) (net.Conn, error) {
	var tries atomic.Int32
	return func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		first := int(tries.Add(1))
		for i := range w.hosts {
			if conn, err = w.net.Host("laptop").Dial(ctx, w.hosts[(first+i)%len(w.hosts)]+"/users"); err == nil {
				return conn, nil
			}
		}
		return nil, err
	}
}

// user returns a client that goes on trying for two minutes.
func (w *world) user() *client.Client {
	w.t.Helper()
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	c, err := client.New(client.Config{
		Endpoint: "http://coord", UserName: "ann", UserID: "deadbeef", Patience: 2 * time.Minute, Logger: w.logger("client"),
		Transport: &http.Transport{
			Protocols:       protocols,
			DialContext:     w.anyCoordinator(),
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// task is a command on n nodes.
func task(nodes int32, run string) *stixv1.Task {
	return &stixv1.Task{Name: "t", NumNodes: nodes, Run: run, Resources: []*stixv1.Resources{{}}}
}

// launch asks for a cluster and waits until the request is final.
func (w *world) launch(c *client.Client, name string, t *stixv1.Task) *stixv1.LaunchResponse {
	w.t.Helper()
	res, err := c.Launch(w.t.Context(), &stixv1.LaunchRequest{ClusterName: name, Task: t, UserName: "ann"})
	if err != nil {
		w.t.Fatalf("launch: %v", err)
	}
	w.await(c, res.RequestId)
	return res
}

// await follows a request to its end, which has to be good.
func (w *world) await(c *client.Client, id string) {
	w.t.Helper()
	var last *stixv1.Request
	for q, err := range c.FollowRequest(w.t.Context(), id) {
		if err != nil {
			w.t.Fatalf("follow request: %v", err)
		}
		last = q
	}
	if last.GetState() != stixv1.RequestState_REQUEST_STATE_SUCCEEDED {
		w.t.Fatalf("request is %s: %s", last.GetState(), last.GetError())
	}
}

// read follows a job to its end and returns its lines by rank and its state.
func (w *world) read(c *client.Client, jobUID string) (lines []string, end *stixv1.LogState) {
	w.t.Helper()
	text := map[string]*strings.Builder{}
	for m, err := range c.Logs(w.t.Context(), &stixv1.LogsRequest{JobUid: jobUID, Follow: true}) {
		if err != nil {
			w.t.Fatalf("read logs: %v", err)
		}
		if chunk := m.GetChunk(); chunk != nil {
			key := fmt.Sprintf("%d/%d", chunk.Phase, chunk.Rank)
			if text[key] == nil {
				text[key] = &strings.Builder{}
			}
			text[key].Write(chunk.Data)
		}
		if st := m.GetState(); st != nil && st.Final {
			end = st
		}
	}
	for _, b := range text {
		lines = append(lines, strings.Split(strings.TrimSpace(b.String()), "\n")...)
	}
	slices.Sort(lines)
	return lines, end
}

// down takes a cluster down and waits until it is gone.
func (w *world) down(c *client.Client, name string) {
	w.t.Helper()
	res, err := c.Down(w.t.Context(), &stixv1.DownRequest{ClusterName: name})
	if err != nil {
		w.t.Fatalf("down: %v", err)
	}
	w.await(c, res.RequestId)
}

// readArray reads the jobs of an array, each of which prints its index.
func (w *world) readArray(c *client.Client, cluster string, first, last int64) {
	w.t.Helper()
	for number := first; number <= last; number++ {
		res, err := c.ListJobs(w.t.Context(), &stixv1.ListJobsRequest{ClusterName: cluster, Numbers: []int64{number}})
		if err != nil || len(res.Jobs) != 1 {
			w.t.Fatalf("job %d of the array: %v, %v", number, res, err)
		}
		lines, end := w.read(c, res.Jobs[0].Job.Meta.Uid)
		if want := fmt.Sprintf("job %d", number-first); !slices.Equal(lines, []string{want}) {
			w.t.Errorf("job %d printed %q, want %q", number, lines, want)
		}
		w.wantEnd(end, stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
	}
}

// requestID is a fresh id in the bubble's time.
func (w *world) requestID() string { return ids.New() }

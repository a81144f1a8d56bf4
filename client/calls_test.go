package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/client/clienttest"
	"github.com/stix-run/stix/internal/ids"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestLostAnswerIsAskedForAgainWithTheSameRequestID(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.server.AddCluster(cluster("c"))
		r.server.Fail(clienttest.Fault{Procedure: "Submit", After: true, Times: 2})
		r.server.Fail(clienttest.Fault{Procedure: "Submit", Err: clienttest.Errorf(connect.CodeUnavailable, "not the leader")})
		res, err := r.client.Submit(t.Context(), &stixv1.SubmitRequest{ClusterName: "c", Task: &stixv1.Task{Run: "true"}})
		if err != nil {
			t.Fatal(err)
		}
		calls := r.server.Calls("Submit")
		if len(calls) != 4 {
			t.Fatalf("%d calls, want 4", len(calls))
		}
		for _, c := range calls {
			if id := c.Request.(*stixv1.SubmitRequest).GetRequestId(); id != res.GetRequestId() || !ids.Valid(id) {
				t.Errorf("request id %q, the answer's is %q", id, res.GetRequestId())
			}
		}
		if r.server.Job("c", 2) != nil {
			t.Error("the job was submitted twice")
		}
	})
}

func TestCallsCarryTheUser(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.dial(client.Config{UserName: "ann", UserID: "0123abcd", UserAgent: "stix/1"})
		defer c.Close()
		if _, err := c.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := r.server.Calls("Info")[0].Header
		for name, want := range map[string]string{client.HeaderUserName: "ann", client.HeaderUserID: "0123abcd", "User-Agent": "stix/1"} {
			if h.Get(name) != want {
				t.Errorf("%s = %q, want %q", name, h.Get(name), want)
			}
		}
	})
}

func TestServerThatStaysAwayIsUnreachableAfterThePatience(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.stop()
		retries := 0
		c := r.dial(client.Config{Patience: 3 * time.Second, OnRetry: func(error) { retries++ }})
		defer c.Close()
		began := time.Now()
		_, err := c.Down(t.Context(), &stixv1.DownRequest{ClusterName: "c"})
		if !client.IsUnreachable(err) {
			t.Fatalf("error %v of kind %v, want unreachable", err, client.KindOf(err))
		}
		if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("gave up after %v, want the patience of 3s", took)
		}
		var e *client.Error
		if !errors.As(err, &e) || e.RequestID == "" || e.Hint == "" {
			t.Errorf("error %+v lacks the request id or a hint", e)
		}
		if retries < 3 {
			t.Errorf("told of %d retries", retries)
		}
		r.start()
	})
}

//stix:bubble
func TestServerThatReturnsInTimeAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if _, err := r.client.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		r.stop()
		go func() {
			_, err := r.client.ListClusters(t.Context(), &stixv1.ListClustersRequest{})
			done <- err
		}()
		time.Sleep(2 * time.Second)
		r.start()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAnswersOfTheServerAreNotRetried(t *testing.T) {
	cases := map[connect.Code]client.Kind{
		connect.CodeNotFound:           client.NotFound,
		connect.CodeInvalidArgument:    client.Invalid,
		connect.CodeAlreadyExists:      client.Exists,
		connect.CodeFailedPrecondition: client.Precondition,
		connect.CodePermissionDenied:   client.Denied,
		connect.CodeUnauthenticated:    client.Unauthenticated,
		connect.CodeResourceExhausted:  client.Exhausted,
		connect.CodeUnimplemented:      client.Unsupported,
		connect.CodeInternal:           client.Internal,
	}
	bubble(t, func(t *testing.T, r *rig) {
		for code, kind := range cases {
			before := len(r.server.Calls("Launch"))
			fault := connect.NewError(code, errors.New("because"))
			fault.Meta().Set(client.HeaderHint, "do that")
			fault.Meta().Set(client.HeaderErrorKind, "some_word")
			r.server.Fail(clienttest.Fault{Procedure: "Launch", Err: fault})
			_, err := r.client.Launch(t.Context(), &stixv1.LaunchRequest{})
			var e *client.Error
			if !errors.As(err, &e) || e.Kind != kind || e.Message != "because" || e.Hint != "do that" || e.Word != "some_word" {
				t.Errorf("%v became %+v, want kind %v", code, e, kind)
			}
			if n := len(r.server.Calls("Launch")) - before; n != 1 {
				t.Errorf("%v: %d calls, want 1", code, n)
			}
		}
	})
}

func TestEndOfTheContextEndsTheRetries(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.client.Info(ctx)
		if client.KindOf(err) != client.Cancelled {
			t.Errorf("error %v, want cancelled", err)
		}
		r.start()
	})
}

func TestEndpointsAreChecked(t *testing.T) {
	for _, bad := range []string{"", "stixd.sock", "unix://relative", "ftp://host", "https://", "unix://host/path"} {
		if _, err := client.New(client.Config{Endpoint: bad}); err == nil {
			t.Errorf("endpoint %q was taken", bad)
		}
	}
	for _, good := range []string{"unix:///run/stixd.sock", "https://host:1/", "http://127.0.0.1:80"} {
		if _, err := client.New(client.Config{Endpoint: good}); err != nil {
			t.Errorf("endpoint %q: %v", good, err)
		}
	}
}

func TestPasswordsOfEndpointsAreNotShown(t *testing.T) {
	c, err := client.New(client.Config{Endpoint: "https://ann:secret@host:1/x"})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Endpoint(); got != "https://ann:<redacted>@host:1/x" {
		t.Errorf("endpoint shown as %q", got)
	}
}

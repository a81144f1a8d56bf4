package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/blobs"
	"github.com/stix-run/stix/coordinator/logs"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/coordinator/statetest"
	"github.com/stix-run/stix/internal/ids"
	"github.com/stix-run/stix/internal/seal"
	"github.com/stix-run/stix/internal/testlog"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
	"github.com/stix-run/stix/sched"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agents stands for the nodes behaviour where no node takes part.
type agents struct{ AgentSessions }

func (agents) Sessions() int { return 0 }

// alone is the consensus of a coordinator without peers.
type alone struct{}

func (alone) Leader() (id, address string) { return "c1", "" }
func (alone) Term() uint64                 { return 1 }
func (alone) AppliedIndex() uint64         { return 1 }

// world is the users' handler over a real store, reached through a real connection.
type world struct {
	t        *testing.T
	store    *state.Store
	clusters stixv1connect.ClusterServiceClient
	jobs     stixv1connect.JobServiceClient
	requests stixv1connect.RequestServiceClient
	now      time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: statetest.Store(t), now: time.Now()}
	b, err := blobs.New(blobs.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := logs.New(logs.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	h, err := Users(Config{
		Store: w.store, Consensus: alone{}, Nodes: agents{}, Logs: l, Blobs: b, Sealer: seal.NewBox(seal.NewKey()),
		Offers: func() []sched.Offer {
			return []sched.Offer{{Cloud: "local", InstanceType: "local", VCPUs: 2, MemoryGiB: 8}}
		},
		Info: &stixv1.InfoResponse{}, ClusterID: func() string { return "id" }, Now: func() time.Time { return w.now },
		Logger: testlog.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(UserSubject(h))
	t.Cleanup(func() {
		srv.Client().CloseIdleConnections()
		srv.Close()
	})
	w.clusters = stixv1connect.NewClusterServiceClient(srv.Client(), srv.URL)
	w.jobs = stixv1connect.NewJobServiceClient(srv.Client(), srv.URL)
	w.requests = stixv1connect.NewRequestServiceClient(srv.Client(), srv.URL)
	return w
}

func task(run string) *stixv1.Task {
	return &stixv1.Task{Name: "t", NumNodes: 1, Run: run, Resources: []*stixv1.Resources{{}}}
}

func (w *world) launch(change func(*stixv1.LaunchRequest)) (*stixv1.LaunchResponse, error) {
	req := &stixv1.LaunchRequest{RequestId: ids.New(), ClusterName: "demo", Task: task("echo")}
	change(req)
	return w.clusters.Launch(w.t.Context(), req)
}

// up makes the cluster what the behaviours would make of it.
func (w *world) up() {
	w.t.Helper()
	if _, err := w.launch(func(*stixv1.LaunchRequest) {}); err != nil {
		w.t.Fatal(err)
	}
	statetest.Do(w.t, w.store, func(tx *state.Tx) {
		c, _ := tx.ClusterByName("demo")
		tx.Clusters.Edit(c.Meta.Uid, func(c *stixv1.Cluster) {
			c.State, c.Infra, c.InstanceType, c.Vcpus = stixv1.ClusterState_CLUSTER_STATE_UP, "local", "local", 2
		})
	})
}

func (w *world) wantError(err error, code connect.Code, kind Kind, text string) {
	w.t.Helper()
	var e *connect.Error
	if !errors.As(err, &e) || e.Code() != code || e.Meta().Get(headerErrorKind) != string(kind) || !strings.Contains(e.Message(), text) {
		w.t.Errorf("error %v (kind %q), want %s, %q, text %q", err, e.Meta().Get(headerErrorKind), code, kind, text)
	}
}

func TestLaunchRefusesWhatMakesNoSense(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		change func(*stixv1.LaunchRequest)
		code   connect.Code
		kind   Kind
		text   string
	}{
		{func(r *stixv1.LaunchRequest) { r.Task = nil }, connect.CodeInvalidArgument, KindInvalid, "needs a task"},
		{func(r *stixv1.LaunchRequest) { r.ClusterName = "-x" }, connect.CodeInvalidArgument, KindInvalid, `"-x"`},
		{func(r *stixv1.LaunchRequest) { r.ClusterName = "" }, connect.CodeInvalidArgument, KindInvalid, "cluster name"},
		{func(r *stixv1.LaunchRequest) { r.Task.NumNodes = 0 }, connect.CodeInvalidArgument, KindInvalid, "num_nodes is 0"},
		{func(r *stixv1.LaunchRequest) { r.NumJobs = maxArray + 1 }, connect.CodeInvalidArgument, KindInvalid, "num_jobs"},
		{func(r *stixv1.LaunchRequest) { r.RequestId = "x" }, connect.CodeInvalidArgument, KindInvalid, "request id"},
		{func(r *stixv1.LaunchRequest) { r.Task.Resources[0].Cpus = &stixv1.Quantity{Value: 64} }, connect.CodeResourceExhausted, KindResources, "64 vCPUs are asked for"},
		{func(r *stixv1.LaunchRequest) { r.Task.Resources[0].Cloud = "aws" }, connect.CodeResourceExhausted, KindResources, "not enabled here"},
		{func(r *stixv1.LaunchRequest) { r.Mounts = []*stixv1.Mount{{Root: strings.Repeat("ab", 32)}} }, connect.CodeInvalidArgument, KindInvalid, "not on the server"},
	} {
		_, err := w.launch(c.change)
		w.wantError(err, c.code, c.kind, c.text)
	}
	if n := w.store.Read().Clusters.Len() + w.store.Read().Requests.Len() + w.store.Read().Jobs.Len(); n > 0 {
		t.Errorf("refused calls left %d records", n)
	}
}

func TestRequestIDsAreHeldToTheWindow(t *testing.T) {
	w := newWorld(t)
	w.now = time.Now().Add(RequestWindow + time.Minute)
	_, err := w.launch(func(*stixv1.LaunchRequest) {})
	w.wantError(err, connect.CodeFailedPrecondition, KindTooOld, "older than")
	w.now = time.Now().Add(-time.Hour)
	_, err = w.launch(func(*stixv1.LaunchRequest) {})
	w.wantError(err, connect.CodeInvalidArgument, KindInvalid, "from the future")
}

func TestSameRequestIsAnsweredOnceAndAnotherPayloadRefused(t *testing.T) {
	w := newWorld(t)
	id := ids.New()
	same := func(r *stixv1.LaunchRequest) { r.RequestId = id }
	first, err := w.launch(same)
	if err != nil {
		t.Fatal(err)
	}
	revision := w.store.Read().Revision
	again, err := w.launch(same)
	if err != nil || !proto.Equal(first, again) {
		t.Errorf("again: %v, %v, want %v", again, err, first)
	}
	if w.store.Read().Revision != revision {
		t.Error("a repetition wrote something")
	}
	_, err = w.launch(func(r *stixv1.LaunchRequest) { r.RequestId, r.Task.Run = id, "other" })
	w.wantError(err, connect.CodeAlreadyExists, KindReplay, "used for another request")
}

func TestExistingClusterHasToFit(t *testing.T) {
	w := newWorld(t)
	w.up()
	_, err := w.launch(func(r *stixv1.LaunchRequest) { r.Task.NumNodes = 2 })
	w.wantError(err, connect.CodeFailedPrecondition, KindMismatch, "2 nodes")
	res, err := w.launch(func(*stixv1.LaunchRequest) {})
	if err != nil || !res.Reused || res.JobNumber != 2 {
		t.Errorf("reuse: %v, %v", res, err)
	}
}

func TestExecNeedsAClusterThatIsUp(t *testing.T) {
	w := newWorld(t)
	submit := func(cluster string, task *stixv1.Task) error {
		_, err := w.jobs.Submit(t.Context(), &stixv1.SubmitRequest{RequestId: ids.New(), ClusterName: cluster, Task: task})
		return err
	}
	w.wantError(submit("none", task("x")), connect.CodeNotFound, KindClusterAbsent, `"none" does not exist`)
	if _, err := w.launch(func(*stixv1.LaunchRequest) {}); err != nil {
		t.Fatal(err)
	}
	w.wantError(submit("demo", task("x")), connect.CodeFailedPrecondition, KindClusterNotUp, "INIT")
	w.wantError(submit("demo", task("")), connect.CodeInvalidArgument, KindInvalid, "nothing to run")
	w.wantError(submit("demo", nil), connect.CodeInvalidArgument, KindInvalid, "nothing to run")
}

func TestArrayCommitsTogetherAndSharesItsTask(t *testing.T) {
	w := newWorld(t)
	w.up()
	res, err := w.jobs.Submit(t.Context(), &stixv1.SubmitRequest{RequestId: ids.New(), ClusterName: "demo", Task: task("x"), NumJobs: 1000})
	if err != nil || res.JobNumber != 2 || res.LastJobNumber != 1001 {
		t.Fatalf("array: %v, %v", res, err)
	}
	view := w.store.Read()
	specs, revisions := map[string]bool{}, map[uint64]bool{}
	for job := range view.JobsOfCluster(res.ClusterUid) {
		if job.ArraySize > 0 {
			specs[job.SpecUid], revisions[job.Meta.Revision] = true, true
			if job.ArrayIndex != job.Number-2 {
				t.Fatalf("job %d has index %d", job.Number, job.ArrayIndex)
			}
		}
	}
	if len(specs) != 1 || len(revisions) != 1 {
		t.Errorf("%d tasks and %d entries for one array", len(specs), len(revisions))
	}
}

func TestSecretsAreSealedBeforeTheyAreWritten(t *testing.T) {
	const planted = "pl4nted-s3cret"
	w := newWorld(t)
	_, err := w.launch(func(r *stixv1.LaunchRequest) { r.Task.Secrets = map[string]string{"TOKEN": planted} })
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := w.store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Release()
	var out bytes.Buffer
	if _, err := snapshot.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out.Bytes(), []byte(planted)) {
		t.Error("the snapshot holds a secret in clear")
	}
	if !bytes.Contains(out.Bytes(), []byte("TOKEN")) {
		t.Error("the name of the secret is lost: the test would not notice a secret")
	}
}

func TestCancelTakesTheJobsThatItNames(t *testing.T) {
	w := newWorld(t)
	w.up()
	if _, err := w.jobs.Submit(t.Context(), &stixv1.SubmitRequest{RequestId: ids.New(), ClusterName: "demo", Task: task("x"), NumJobs: 4}); err != nil {
		t.Fatal(err)
	}
	statetest.Do(t, w.store, func(tx *state.Tx) {
		c, _ := tx.ClusterByName("demo")
		for n, st := range map[int64]stixv1.JobState{1: stixv1.JobState_JOB_STATE_SUCCEEDED, 2: stixv1.JobState_JOB_STATE_RUNNING, 3: stixv1.JobState_JOB_STATE_RUNNING} {
			j, _ := tx.JobByNumber(c.Meta.Uid, n)
			tx.Jobs.Edit(j.Meta.Uid, func(j *stixv1.Job) { j.State = st })
		}
	})
	for _, c := range []struct {
		req  *stixv1.CancelRequest
		want string
	}{
		{&stixv1.CancelRequest{}, "[3]"},
		{&stixv1.CancelRequest{Numbers: []int64{1, 2, 99}}, "[2]"},
		{&stixv1.CancelRequest{All: true}, "[2 3 4 5]"},
	} {
		c.req.RequestId, c.req.ClusterName = ids.New(), "demo"
		res, err := w.jobs.Cancel(t.Context(), c.req)
		if err != nil || fmt.Sprint(res.Numbers) != c.want {
			t.Errorf("%v: %v, %v, want %s", c.req, res, err, c.want)
		}
	}
	_, err := w.jobs.Cancel(t.Context(), &stixv1.CancelRequest{RequestId: ids.New(), ClusterName: "demo", All: true, Numbers: []int64{1}})
	w.wantError(err, connect.CodeInvalidArgument, KindInvalid, "not both")
}

func TestRequestsAreFoundByPrefix(t *testing.T) {
	w := newWorld(t)
	res, err := w.launch(func(*stixv1.LaunchRequest) {})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := w.requests.Follow(t.Context(), &stixv1.FollowRequest{Id: res.RequestId[:20]})
	if err != nil {
		t.Fatal(err)
	}
	if !stream.Receive() || stream.Msg().Request.Meta.Uid != res.RequestId {
		t.Errorf("followed %v, %v", stream.Msg(), stream.Err())
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	stream, err = w.requests.Follow(t.Context(), &stixv1.FollowRequest{Id: "zz"})
	if err == nil {
		stream.Receive()
		err = stream.Err()
	}
	w.wantError(err, connect.CodeNotFound, KindNotFound, `"zz"`)
}

// TestEveryProcedureAsksForAccess walks all procedures with a subject that may nothing.
func TestEveryProcedureAsksForAccess(t *testing.T) {
	w := newWorld(t)
	s := &server{Config{Store: w.store, Now: time.Now, Sealer: seal.NewBox(seal.NewKey())}}
	nobody := context.WithValue(t.Context(), subjectKey, auth.Subject{Kind: auth.Node, ID: "n1"})
	calls := map[string]func() error{
		"Launch": func() error {
			_, err := s.dryRun(nobody, &stixv1.LaunchRequest{Task: task("x")})
			return err
		},
		"ListClusters": func() error { _, err := s.ListClusters(nobody, &stixv1.ListClustersRequest{}); return err },
		"ListJobs":     func() error { _, err := s.ListJobs(nobody, &stixv1.ListJobsRequest{}); return err },
		"Down": func() error {
			_, err := s.Down(nobody, &stixv1.DownRequest{RequestId: ids.New()})
			return err
		},
		"Cancel": func() error {
			_, err := s.Cancel(nobody, &stixv1.CancelRequest{RequestId: ids.New()})
			return err
		},
		"Logs":           func() error { return s.Logs(nobody, &stixv1.LogsRequest{}, nil) },
		"ListRequests":   func() error { _, err := s.ListRequests(nobody, &stixv1.ListRequestsRequest{}); return err },
		"Follow":         func() error { return s.Follow(nobody, &stixv1.FollowRequest{}, nil) },
		"CancelRequests": func() error { _, err := s.CancelRequests(nobody, &stixv1.CancelRequestsRequest{}); return err },
		"ListEvents":     func() error { _, err := s.ListEvents(nobody, &stixv1.ListEventsRequest{}); return err },
		"Info":           func() error { _, err := s.Info(nobody, &stixv1.InfoRequest{}); return err },
		"Missing":        func() error { _, err := s.Missing(nobody, &stixv1.MissingRequest{}); return err },
		"Upload":         func() error { _, err := s.Upload(nobody, nil); return err },
		"Session":        func() error { return s.Session(t.Context(), nil) },
		"PushLog":        func() error { _, err := s.PushLog(t.Context(), nil); return err },
		"FetchBlobs":     func() error { return s.FetchBlobs(t.Context(), &stixv1.FetchBlobsRequest{}, nil) },
	}
	for name, call := range calls {
		var denied *auth.DeniedError
		if err := call(); !errors.As(err, &denied) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

func TestErrorsHaveOneCodeForEachKind(t *testing.T) {
	for kind := range codes {
		if e := transportError(refuse(kind, "do that", "no")); e.Code() != codes[kind] || e.Meta().Get(headerHint) != "do that" {
			t.Errorf("%s: %v", kind, e)
		}
	}
	for err, want := range map[error]connect.Code{
		state.ErrNotLeader: connect.CodeUnavailable, state.ErrUnknownOutcome: connect.CodeUnavailable,
		state.ErrStartOver: connect.CodeUnavailable, auth.ErrRefused: connect.CodePermissionDenied,
		auth.ErrUnknownNode: connect.CodePermissionDenied, blobs.ErrNotFound: connect.CodeNotFound,
		blobs.ErrNoSpace: connect.CodeResourceExhausted, context.Canceled: connect.CodeCanceled, errors.New("x"): connect.CodeInternal,
	} {
		if got := transportError(fmt.Errorf("wrapped: %w", err)).Code(); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

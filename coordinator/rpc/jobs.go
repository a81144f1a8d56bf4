package rpc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/state"
	"github.com/stix-run/stix/internal/loglayout"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/sched"
)

// maxArray bounds the jobs of one call, which commit together or not at all.
const maxArray = 10000

func checkArray(n int64) error {
	if n < 0 || n > maxArray {
		return refuse(KindInvalid, "submit several arrays", "num_jobs is %d; it has to be from 1 to %d", n, maxArray)
	}
	return nil
}

// submission is a task on its way to jobs.
type submission struct {
	spec *stixv1.Spec
	// setup, mounts say what launch does and exec does not.
	setup, mounts bool
	// count above 0 makes an array.
	count    int64
	userName string
}

// newSubmission seals the secrets of the task: from here on they are in clear nowhere.
func (s *server) newSubmission(m *mutation, t *stixv1.Task, mounts []*stixv1.Mount) (*submission, error) {
	missing, err := s.Blobs.Missing(roots(mounts)) // which also keeps what is there until the record refers to it
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, refuse(KindInvalid, "upload the files again", "files of the task are not on the server: %s", strings.Join(missing, ", "))
	}
	task := proto.CloneOf(t)
	task.Secrets = nil
	spec := &stixv1.Spec{
		// Derived from the request, so that a repetition seals for the same record.
		Meta: &stixv1.Meta{Uid: "spec-" + m.id, Name: t.Name, Workspace: defaultWorkspace, Owner: m.subject.ID},
		Task: task, Mounts: mounts, SecretNames: slices.Sorted(maps.Keys(t.Secrets)),
	}
	if len(t.Secrets) > 0 {
		plain, err := proto.Marshal(&stixv1.Secrets{Values: t.Secrets})
		if err != nil {
			return nil, fmt.Errorf("encode the secrets: %w", err)
		}
		if spec.SealedSecrets, err = s.Sealer.Seal(plain, []byte("spec/"+spec.Meta.Uid)); err != nil {
			return nil, fmt.Errorf("seal the secrets: %w", err)
		}
	}
	return &submission{spec: spec}, nil
}

func roots(mounts []*stixv1.Mount) []string {
	var out []string
	for _, m := range mounts {
		out = append(out, m.Root)
	}
	return out
}

// nothing tells that no job is to be made: there is no text to run.
func (sub *submission) nothing() bool {
	return sub.spec.Task.Run == "" && (sub.spec.Task.Setup == "" || !sub.setup) && !sub.syncs()
}

func (sub *submission) syncs() bool {
	return slices.ContainsFunc(sub.spec.Mounts, func(m *stixv1.Mount) bool { return m.Workdir || sub.mounts })
}

// write puts the jobs into the queue of a cluster and notes them in the request.
func (sub *submission) write(tx *state.Tx, q *stixv1.Request, clusterUID string) error {
	if sub.nothing() {
		return nil
	}
	sub.spec.UserName = sub.userName
	tx.Specs.Put(sub.spec)
	if sub.spec.Task.Run == "" && (sub.spec.Task.Setup == "" || !sub.setup) {
		job := sub.job(tx, clusterUID, 0) // files only: never listed
		tx.Jobs.Put(job)
		q.JobUid = job.Meta.Uid
		return nil
	}
	c, _ := tx.Clusters.Get(clusterUID)
	first := c.NextJobNumber
	count := max(sub.count, 1)
	for i := range count {
		job := sub.job(tx, clusterUID, first+i)
		if sub.count > 0 {
			job.ArrayIndex, job.ArraySize = i, sub.count
		}
		tx.Jobs.Put(job)
		if i == 0 {
			q.JobUid = job.Meta.Uid
		}
	}
	tx.Clusters.Edit(clusterUID, func(c *stixv1.Cluster) { c.NextJobNumber = first + count })
	q.FirstJob, q.LastJob = first, first+count-1
	return nil
}

func (sub *submission) job(tx *state.Tx, clusterUID string, number int64) *stixv1.Job {
	m := sub.spec.Meta
	return &stixv1.Job{
		Meta:       &stixv1.Meta{Uid: tx.NewID(), Name: m.Name, Workspace: m.Workspace, Owner: m.Owner},
		ClusterUid: clusterUID, Number: number, SpecUid: m.Uid, NumNodes: sub.spec.Task.NumNodes,
		RunTimestamp: runTimestamp(tx.Now()), RunSetup: sub.setup, SyncMounts: sub.mounts,
		State: stixv1.JobState_JOB_STATE_PENDING,
	}
}

// runTimestamp is SkyPilot's form, in local time as there.
func runTimestamp(now int64) string {
	t := time.Unix(0, now)
	return fmt.Sprintf("sky-%s-%06d", t.Format("2006-01-02-15-04-05"), t.Nanosecond()/1000)
}

// Submit is part of JobService.
func (s *server) Submit(ctx context.Context, req *stixv1.SubmitRequest) (*stixv1.SubmitResponse, error) {
	if req.Task == nil || (req.Task.Run == "" && len(req.Mounts) == 0) {
		return nil, refuse(KindInvalid, "give a command, or a task with run", "there is nothing to run")
	}
	if err := checkArray(req.NumJobs); err != nil {
		return nil, err
	}
	m, err := s.mutate(ctx, auth.Exec, req.RequestId, req)
	if err != nil {
		return nil, err
	}
	sub, err := s.newSubmission(m, req.Task, req.Mounts)
	if err != nil {
		return nil, err
	}
	sub.userName, sub.count = req.UserName, req.NumJobs
	object := auth.Object{Kind: "cluster", Name: req.ClusterName, Workspace: defaultWorkspace}
	q, err := m.run(ctx, object, func(tx *state.Tx, q *stixv1.Request) error {
		return submit(tx, q, req, sub)
	})
	if err != nil {
		return nil, err
	}
	return &stixv1.SubmitResponse{
		RequestId: q.Meta.Uid, ClusterUid: q.ClusterUid, JobNumber: q.FirstJob, LastJobNumber: q.LastJob, JobUid: q.JobUid,
	}, nil
}

func submit(tx *state.Tx, q *stixv1.Request, req *stixv1.SubmitRequest, sub *submission) error {
	c, ok := tx.ClusterByName(req.ClusterName)
	if !ok {
		return absent(req.ClusterName)
	}
	name := c.Meta.Name
	if c.State != stixv1.ClusterState_CLUSTER_STATE_UP || c.Goal != stixv1.ClusterGoal_CLUSTER_GOAL_UP {
		return refuse(KindClusterNotUp, fmt.Sprintf("stix status %s shows what it is doing; stix launch -c %s brings it up", name, name),
			"cluster %q is not up (it is %s)", name, strings.TrimPrefix(c.State.String(), "CLUSTER_STATE_"))
	}
	if reason := sched.Reusable(c, offerOf(c), req.Task); reason != "" {
		return refuse(KindMismatch, "launch another cluster for it", "the task does not fit cluster %q: %s", name, reason)
	}
	q.ClusterUid = c.Meta.Uid
	if req.Command != "" && req.Command != c.LastCommand {
		tx.Clusters.Edit(c.Meta.Uid, func(c *stixv1.Cluster) { c.LastCommand = req.Command })
	}
	return sub.write(tx, q, c.Meta.Uid)
}

// ListJobs is part of JobService.
func (s *server) ListJobs(ctx context.Context, req *stixv1.ListJobsRequest) (*stixv1.ListJobsResponse, error) {
	object := auth.Object{Kind: "job", Name: req.ClusterName, Workspace: defaultWorkspace}
	if err := auth.Allow(subjectOf(ctx), auth.Read, object); err != nil {
		return nil, err
	}
	view := s.Store.Read()
	c, err := findCluster(view, req.ClusterName, req.History)
	if err != nil {
		return nil, err
	}
	res := &stixv1.ListJobsResponse{Revision: view.Revision}
	for job := range view.JobsOfClusterDesc(c.Meta.Uid) {
		if !listed(job, req) {
			continue
		}
		res.Total++
		past := req.Before > 0 && job.Number >= req.Before
		if !past && (req.Limit <= 0 || len(res.Jobs) < int(req.Limit)) {
			res.Jobs = append(res.Jobs, jobView(view, c, job))
		}
	}
	return res, nil
}

func findCluster(view *state.View, name string, history bool) (*stixv1.Cluster, error) {
	if c, ok := view.ClusterByName(name); ok {
		return c, nil
	}
	if history {
		for c := range view.ClustersByName(name) {
			return c, nil
		}
	}
	return nil, absent(name)
}

func listed(job *stixv1.Job, req *stixv1.ListJobsRequest) bool {
	return job.Number > 0 &&
		(len(req.States) == 0 || slices.Contains(req.States, job.State)) &&
		(len(req.Numbers) == 0 || slices.Contains(req.Numbers, job.Number)) &&
		(req.Owner == "" || req.Owner == job.Meta.Owner)
}

func jobView(view *state.View, c *stixv1.Cluster, job *stixv1.Job) *stixv1.JobView {
	spec, _ := view.Specs.Get(job.SpecUid)
	return &stixv1.JobView{
		Job: job, ClusterName: c.Meta.Name, UserName: spec.GetUserName(),
		Resources: resourcesText(job, spec.GetTask()), LogPath: "~/sky_logs/" + loglayout.Dir(job.Number, job.Meta.Name, job.Meta.Uid),
	}
}

// resourcesText is SkyPilot's column ("1x[CPU:1+]").
func resourcesText(job *stixv1.Job, t *stixv1.Task) string {
	what := "CPU:1+"
	if rs := t.GetResources(); len(rs) > 0 {
		if q := sched.QuantityText(rs[0].Cpus); q != "" {
			what = "CPU:" + q
		}
		for _, name := range slices.Sorted(maps.Keys(rs[0].Accelerators)) {
			what = fmt.Sprintf("%s:%g", name, rs[0].Accelerators[name])
		}
	}
	return fmt.Sprintf("%dx[%s]", job.NumNodes, what)
}

// Cancel is part of JobService.
func (s *server) Cancel(ctx context.Context, req *stixv1.CancelRequest) (*stixv1.CancelResponse, error) {
	if req.All && len(req.Numbers) > 0 {
		return nil, refuse(KindInvalid, "", "give job ids or --all, not both")
	}
	m, err := s.mutate(ctx, auth.Cancel, req.RequestId, req)
	if err != nil {
		return nil, err
	}
	object := auth.Object{Kind: "cluster", Name: req.ClusterName, Workspace: defaultWorkspace}
	q, err := m.run(ctx, object, func(tx *state.Tx, q *stixv1.Request) error {
		c, ok := tx.ClusterByName(req.ClusterName)
		if !ok {
			return absent(req.ClusterName)
		}
		q.ClusterUid = c.Meta.Uid
		for _, job := range cancelled(tx, c.Meta.Uid, m.subject.ID, req) {
			q.Cancelled = append(q.Cancelled, job.Number)
			if job.CancelRequestedAt == 0 {
				tx.Jobs.Edit(job.Meta.Uid, func(j *stixv1.Job) { j.CancelRequestedAt = tx.Now() })
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &stixv1.CancelResponse{Numbers: q.Cancelled}, nil
}

// cancelled are the jobs that a call is about: those named, all that are active, or the latest that runs. Final ones
// are passed over silently, as SkyPilot does.
func cancelled(tx *state.Tx, clusterUID, owner string, req *stixv1.CancelRequest) []*stixv1.Job {
	var out []*stixv1.Job
	for job := range tx.ActiveJobs(clusterUID) {
		mine := job.Meta.Owner == owner
		switch {
		case job.Number == 0:
		case len(req.Numbers) > 0:
			if slices.Contains(req.Numbers, job.Number) {
				out = append(out, job)
			}
		case req.All:
			if mine || req.AllUsers {
				out = append(out, job)
			}
		case mine && job.State == stixv1.JobState_JOB_STATE_RUNNING:
			out = []*stixv1.Job{job}
		}
	}
	return out
}

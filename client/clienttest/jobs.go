package clienttest

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/stix-run/stix/client"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Job is a job of the fake, and its logs.
type Job struct {
	s    *Server
	view *stixv1.JobView
	head *stixv1.LogHead
	logs []*Log
	wait string
	pids []int64
}

// Log is the log of one assignment.
type Log struct {
	job      *Job
	chunk    *stixv1.LogChunk // without data
	data     []byte
	complete bool
}

// Number is what users say.
func (j *Job) Number() int64 { return j.view.GetJob().GetNumber() }

func (j *Job) uid() string { return j.view.GetJob().GetMeta().GetUid() }

// Job returns a job of a cluster, nil when it does not exist.
func (s *Server) Job(cluster string, number int64) *Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(cluster, number, "")
}

func (s *Server) find(cluster string, number int64, uid string) *Job {
	jobs := s.jobs[cluster]
	if uid == "" && number == 0 && len(jobs) > 0 {
		return jobs[len(jobs)-1]
	}
	for _, all := range s.jobs {
		for _, j := range all {
			if (uid != "" && j.uid() == uid) || (uid == "" && j.Number() == number && j.view.GetClusterName() == cluster) {
				return j
			}
		}
	}
	return nil
}

// AddJob adds a job with that state to a cluster.
func (s *Server) AddJob(cluster string, edit func(*stixv1.JobView)) *Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.submit(s.Owner, s.cluster(cluster, true), &stixv1.Task{Name: "task", NumNodes: 1}, 1, "test")
	edit(j.view)
	s.fresh = nil // the test knows it
	s.signal()
	return j
}

// submit adds the jobs of an array, and returns the first.
func (s *Server) submit(owner string, view *stixv1.ClusterView, t *stixv1.Task, count int64, user string) *Job {
	name := view.GetCluster().GetMeta().GetName()
	first := int64(len(s.jobs[name]) + 1)
	for n := first; n < first+count; n++ {
		uid := fmt.Sprintf("job-%s-%d", name, n)
		j := &Job{s: s, view: &stixv1.JobView{
			Job: &stixv1.Job{
				Meta: s.meta(owner, uid, t.GetName()), Number: n, NumNodes: max(t.GetNumNodes(), 1),
				State: stixv1.JobState_JOB_STATE_PENDING,
			},
			ClusterName: name, UserName: user, Resources: "1x[CPU:1+]", LogPath: fmt.Sprintf("~/sky_logs/%d-%s", n, t.GetName()),
		}}
		j.head = &stixv1.LogHead{
			JobUid: uid, Number: n, JobName: t.GetName(), ClusterName: name, ClusterNodes: max(view.GetCluster().GetNumNodes(), 1),
			NumNodes: j.view.GetJob().GetNumNodes(),
		}
		s.jobs[name] = append(s.jobs[name], j)
		s.fresh = append(s.fresh, j)
	}
	return s.jobs[name][first-1]
}

// Run makes the job RUNNING with one log on its only node.
func (j *Job) Run() *Log {
	j.SetState(stixv1.JobState_JOB_STATE_RUNNING)
	return j.Log(&stixv1.LogChunk{Phase: stixv1.Phase_PHASE_RUN, Pid: 42, Ip: "127.0.0.2"})
}

// Log adds a log. The chunk says where it comes from.
func (j *Job) Log(from *stixv1.LogChunk) *Log {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	from.AssignmentUid = fmt.Sprintf("%s-%d", j.uid(), len(j.logs))
	l := &Log{job: j, chunk: from}
	j.logs = append(j.logs, l)
	j.s.signal()
	return l
}

// Write appends to the log.
func (l *Log) Write(text string) {
	l.job.s.mu.Lock()
	defer l.job.s.mu.Unlock()
	l.data = append(l.data, text...)
	l.job.s.signal()
}

// SetState changes the job's state.
func (j *Job) SetState(state stixv1.JobState, codes ...int32) {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	j.view.Job.State, j.view.Job.ExitCodes = state, codes
	j.s.signal()
}

// Pids sets the processes that a failed setup names.
func (j *Job) Pids(pids ...int64) {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	j.pids = pids
}

// Wait tells readers that bytes are late.
func (j *Job) Wait(text string) {
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	j.wait = text
	j.s.signal()
}

// Finish ends the job and its logs.
func (j *Job) Finish(state stixv1.JobState, codes ...int32) {
	j.s.mu.Lock()
	for _, l := range j.logs {
		l.complete = true
	}
	j.s.mu.Unlock()
	j.SetState(state, codes...)
}

// Submit adds jobs that wait for the test.
func (s *Server) Submit(ctx context.Context, req *stixv1.SubmitRequest) (*stixv1.SubmitResponse, error) {
	return unary(s, ctx, "Submit", req, func() (*stixv1.SubmitResponse, error) {
		return once(s, req.GetRequestId(), func() (*stixv1.SubmitResponse, error) {
			view := s.cluster(req.GetClusterName(), false)
			if view == nil {
				return nil, Errorf(connect.CodeNotFound, "Cluster '%s' does not exist.", req.GetClusterName())
			}
			count := max(req.GetNumJobs(), 1)
			job := s.submit(s.owner(ctx), view, req.GetTask(), count, req.GetUserName())
			s.request(ctx, req.GetRequestId(), "exec", req.GetClusterName())
			return &stixv1.SubmitResponse{
				RequestId: req.GetRequestId(), JobNumber: job.Number(), LastJobNumber: job.Number() + count - 1, JobUid: job.uid(),
			}, nil
		})
	})
}

// ListJobs lists those that match, newest first.
func (s *Server) ListJobs(ctx context.Context, req *stixv1.ListJobsRequest) (*stixv1.ListJobsResponse, error) {
	return unary(s, ctx, "ListJobs", req, func() (*stixv1.ListJobsResponse, error) {
		if s.cluster(req.GetClusterName(), req.GetHistory()) == nil {
			return nil, Errorf(connect.CodeNotFound, "Cluster '%s' does not exist.", req.GetClusterName())
		}
		res := &stixv1.ListJobsResponse{}
		for _, j := range slices.Backward(s.jobs[req.GetClusterName()]) {
			job := j.view.GetJob()
			if (len(req.GetNumbers()) > 0 && !slices.Contains(req.GetNumbers(), job.GetNumber())) ||
				(len(req.GetStates()) > 0 && !slices.Contains(req.GetStates(), job.GetState())) ||
				(req.GetOwner() != "" && req.GetOwner() != job.GetMeta().GetOwner()) {
				continue
			}
			res.Total++
			if req.GetLimit() == 0 || len(res.Jobs) < int(req.GetLimit()) {
				res.Jobs = append(res.Jobs, proto.CloneOf(j.view))
			}
		}
		return res, nil
	})
}

// Cancel ends jobs at once.
func (s *Server) Cancel(ctx context.Context, req *stixv1.CancelRequest) (*stixv1.CancelResponse, error) {
	return unary(s, ctx, "Cancel", req, func() (*stixv1.CancelResponse, error) {
		return once(s, req.GetRequestId(), func() (*stixv1.CancelResponse, error) {
			res := &stixv1.CancelResponse{}
			for _, j := range slices.Backward(s.jobs[req.GetClusterName()]) {
				latest := len(req.GetNumbers()) == 0 && !req.GetAll()
				if client.JobFinal(j.view.GetJob().GetState()) || (!latest && !req.GetAll() && !slices.Contains(req.GetNumbers(), j.Number())) {
					continue
				}
				j.view.Job.State = stixv1.JobState_JOB_STATE_CANCELLED
				res.Numbers = append(res.Numbers, j.Number())
				if latest {
					break
				}
			}
			s.request(ctx, req.GetRequestId(), "cancel", req.GetClusterName())
			return res, nil
		})
	})
}

// Logs streams a job's logs.
func (s *Server) Logs(ctx context.Context, req *stixv1.LogsRequest, stream *connect.ServerStream[stixv1.LogsResponse]) error {
	fault := s.enter(ctx, "Logs", req)
	s.mu.Lock()
	job := s.find(req.GetClusterName(), req.GetNumber(), req.GetJobUid())
	s.mu.Unlock()
	if job == nil {
		return Errorf(connect.CodeNotFound, "job %d of cluster '%s' does not exist", req.GetNumber(), req.GetClusterName())
	}
	r := logReader{job: job, req: req, sent: map[*Log]int64{}, ended: map[*Log]bool{}}
	for count := 0; ; {
		messages, changed, done := r.read()
		for _, m := range messages {
			if fault != nil && count >= fault.Messages {
				return fault.hit(ctx)
			}
			if err := stream.Send(m); err != nil {
				return err
			}
			count++
		}
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// logReader is what one stream has sent.
type logReader struct {
	job   *Job
	req   *stixv1.LogsRequest
	began bool
	state *stixv1.LogState
	wait  string
	sent  map[*Log]int64
	ended map[*Log]bool
}

// read returns what is new. Done says that the stream has said everything.
func (r *logReader) read() (messages []*stixv1.LogsResponse, changed <-chan struct{}, done bool) {
	j := r.job
	j.s.mu.Lock()
	defer j.s.mu.Unlock()
	if !r.began {
		r.began = true
		messages = append(messages, &stixv1.LogsResponse{Message: &stixv1.LogsResponse_Head{Head: proto.CloneOf(j.head)}})
	}
	job := j.view.GetJob()
	final := client.JobFinal(job.GetState())
	state := &stixv1.LogState{State: job.GetState(), ExitCodes: job.GetExitCodes(), Reason: job.GetReason(), Pids: j.pids, Final: final}
	if !final && !proto.Equal(state, r.state) {
		r.state = state
		messages = append(messages, &stixv1.LogsResponse{Message: &stixv1.LogsResponse_State{State: state}})
	}
	for _, l := range j.logs {
		if c := r.chunk(l); c != nil {
			messages = append(messages, &stixv1.LogsResponse{Message: &stixv1.LogsResponse_Chunk{Chunk: c}})
		}
	}
	if j.wait != r.wait {
		r.wait = j.wait
		messages = append(messages, &stixv1.LogsResponse{Message: &stixv1.LogsResponse_Wait{Wait: &stixv1.LogWait{Text: j.wait}}})
	}
	if final {
		messages = append(messages, &stixv1.LogsResponse{Message: &stixv1.LogsResponse_State{State: state}})
	}
	return messages, j.s.changed, final || !r.req.GetFollow()
}

func (r *logReader) chunk(l *Log) *stixv1.LogChunk {
	from, known := r.sent[l]
	if !known {
		from = r.start(l)
	}
	if known && from == int64(len(l.data)) && l.complete == r.ended[l] {
		return nil
	}
	c := proto.CloneOf(l.chunk)
	c.Offset, c.Data, c.Complete = from, bytes.Clone(l.data[from:]), l.complete
	r.sent[l], r.ended[l] = int64(len(l.data)), l.complete
	return c
}

// start is where the reader wants to begin.
func (r *logReader) start(l *Log) int64 {
	for _, cur := range r.req.GetCursors() {
		if cur.GetAssignmentUid() == l.chunk.GetAssignmentUid() {
			return cur.GetOffset()
		}
	}
	at := len(l.data)
	for n := r.req.GetTail(); n >= 0; n-- {
		if r.req.GetTail() == 0 || at <= 0 {
			return 0
		}
		at = bytes.LastIndexByte(l.data[:at], '\n')
	}
	return int64(at + 1)
}

package rpc

import (
	"context"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/coordinator/auth"
	"github.com/stix-run/stix/coordinator/logs"
	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const (
	// chunkSize is the most that one message of a log carries.
	chunkSize = 64 << 10
	// lateLimit is how long a reader of a job that is over waits for bytes that a node has not handed in.
	lateLimit = 10 * time.Second
	// holdLimit is how long the lines of run wait for the last ones of setup.
	holdLimit = 2 * time.Second
	// catchUpLimit is how long a reader waits for a node to say how much there is.
	catchUpLimit = 3 * time.Second
)

// Logs is part of JobService.
func (s *server) Logs(ctx context.Context, req *stixv1.LogsRequest, stream *connect.ServerStream[stixv1.LogsResponse]) error {
	object := auth.Object{Kind: "job", Name: req.ClusterName, Workspace: defaultWorkspace}
	if err := auth.Allow(subjectOf(ctx), auth.Read, object); err != nil {
		return err
	}
	view := s.Store.Read()
	job, c, err := findJob(view, req)
	if err != nil {
		return err
	}
	head := &stixv1.LogHead{
		JobUid: job.Meta.Uid, Number: job.Number, JobName: job.Meta.Name, ClusterName: c.Meta.Name,
		ClusterUid: c.Meta.Uid, ClusterNodes: c.NumNodes, NumNodes: job.NumNodes,
		Over: job.State > stixv1.JobState_JOB_STATE_RUNNING,
	}
	if err := stream.Send(&stixv1.LogsResponse{Message: &stixv1.LogsResponse_Head{Head: head}}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{s: s, req: req, jobUID: job.Meta.Uid, send: stream.Send, out: make(chan *stixv1.LogChunk), sources: map[string]*source{}}
	defer f.closeReaders() // when nobody uses them any more
	defer f.wg.Wait()
	defer cancel()
	return f.run(ctx, view)
}

func findJob(view *state.View, req *stixv1.LogsRequest) (*stixv1.Job, *stixv1.Cluster, error) {
	if req.JobUid != "" {
		job, ok := view.Jobs.Get(req.JobUid)
		c, okc := view.Clusters.Get(job.GetClusterUid())
		if !ok || !okc {
			return nil, nil, refuse(KindNotFound, "", "no such job")
		}
		return job, c, nil
	}
	c, err := findCluster(view, req.ClusterName, true)
	if err != nil {
		return nil, nil, err
	}
	if req.Number > 0 {
		if job, ok := view.JobByNumber(c.Meta.Uid, req.Number); ok {
			return job, c, nil
		}
		return nil, nil, refuse(KindNotFound, "stix queue "+c.Meta.Name+" lists the jobs there are", "cluster %q has no job %d", c.Meta.Name, req.Number)
	}
	for job := range view.JobsOfClusterDesc(c.Meta.Uid) {
		if job.Number > 0 {
			return job, c, nil
		}
	}
	return nil, nil, refuse(KindNotFound, "", "cluster %q has no jobs", c.Meta.Name)
}

// follower streams the logs of one job: one source for each assignment, and the job's states in between.
type follower struct {
	s      *server
	req    *stixv1.LogsRequest
	jobUID string
	send   func(*stixv1.LogsResponse) error
	out    chan *stixv1.LogChunk
	wg     sync.WaitGroup

	sources map[string]*source
	// state that was told last.
	told stixv1.JobState
	// over is when the job was first seen final here.
	over time.Time
	// waited says that the reader was told of late bytes.
	waited bool
	// held is since when lines of run wait for those of setup.
	held time.Time
}

// source is the log of one assignment.
type source struct {
	reader *logs.Reader
	// pumping says that its bytes flow.
	pumping bool
	// done is closed when no more bytes come.
	done chan struct{}
	stop context.CancelFunc
}

func (f *follower) run(ctx context.Context, view *state.View) error {
	changed := f.watch(ctx, view.Revision)
	late := time.NewTicker(time.Second)
	defer late.Stop()
	for {
		over, err := f.look(ctx)
		if over || err != nil {
			return err
		}
		select {
		case chunk := <-f.out:
			if err := f.send(&stixv1.LogsResponse{Message: &stixv1.LogsResponse_Chunk{Chunk: chunk}}); err != nil {
				return err
			}
		case <-changed:
		case <-late.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch signals when the job or its assignments change.
func (f *follower) watch(ctx context.Context, from uint64) <-chan struct{} {
	changed := make(chan struct{}, 1)
	w := f.s.Store.Watch(from, state.Filter{})
	f.wg.Go(func() {
		for ctx.Err() == nil {
			changes, err := w.Next(ctx)
			if err != nil {
				w = f.s.Store.Watch(f.s.Store.Read().Revision, state.Filter{})
			} else if !slices.ContainsFunc(changes, f.mine) {
				continue
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	return changed
}

func (f *follower) mine(c state.Change) bool {
	switch rec := c.New.(type) {
	case *stixv1.Job:
		return rec.Meta.Uid == f.jobUID
	case *stixv1.Assignment:
		return rec.JobUid == f.jobUID
	}
	return false
}

// look starts what can flow, tells of states, and says when all is told.
func (f *follower) look(ctx context.Context) (over bool, err error) {
	view := f.s.Store.Read()
	job, ok := view.Jobs.Get(f.jobUID)
	if !ok {
		return false, refuse(KindNotFound, "", "the job is not kept any more")
	}
	final := job.State > stixv1.JobState_JOB_STATE_RUNNING
	if final && f.over.IsZero() {
		f.over = f.s.Now()
	}
	open, setup := 0, 0
	for a := range view.AssignmentsOfJob(f.jobUID) {
		src := f.source(a)
		if a.Phase == stixv1.Phase_PHASE_RUN && f.hold(setup) {
			open++
			continue
		}
		if !f.flow(ctx, view, a, src, final) {
			open++
			if a.Phase == stixv1.Phase_PHASE_SETUP {
				setup++
			}
		}
	}
	if job.State != f.told && !final {
		f.told = job.State
		if err := f.tell(job, false); err != nil {
			return false, err
		}
	}
	switch {
	case open > 0 && final && !f.waited && f.s.Now().Sub(f.over) > lateLimit/4:
		f.waited = true
		return false, f.wait("waiting for the rest of the log")
	case open > 0:
		return false, nil
	case final || !f.req.Follow:
		return true, f.tell(job, final)
	}
	return false, nil
}

// source is the log of an assignment; from the first call on its node hands it in.
func (f *follower) source(a *stixv1.Assignment) *source {
	src := f.sources[a.Meta.Uid]
	if src == nil {
		src = &source{done: make(chan struct{}), reader: f.s.Config.Logs.Reader(key(a), f.offset(a))}
		f.sources[a.Meta.Uid] = src
	}
	return src
}

// hold keeps the lines of run back until those of setup are out, but not for the sake of a node that is silent.
func (f *follower) hold(setupOpen int) bool {
	if setupOpen == 0 {
		return false
	}
	if f.held.IsZero() {
		f.held = f.s.Now()
	}
	return f.s.Now().Sub(f.held) < holdLimit
}

// flow moves one log on; true when everything of it was sent.
func (f *follower) flow(ctx context.Context, view *state.View, a *stixv1.Assignment, src *source, final bool) bool {
	started := a.Status.Pid != 0 || exited(a)
	if started && !src.pumping {
		f.pump(ctx, view, a, src)
	}
	select {
	case <-src.done:
		return true
	default:
	}
	if !started {
		return final || !f.req.Follow // it never will, or not now
	}
	if final && f.s.Now().Sub(f.over) > lateLimit {
		src.stop() // its node does not hand the rest in
	}
	return false
}

func exited(a *stixv1.Assignment) bool {
	return a.Status.GetState() == stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED
}

func key(a *stixv1.Assignment) logs.Key { return logs.Key{JobUID: a.JobUid, AssignmentUID: a.Meta.Uid} }

// offset is where a reader that comes back goes on.
func (f *follower) offset(a *stixv1.Assignment) int64 {
	for _, c := range f.req.Cursors {
		if c.AssignmentUid == a.Meta.Uid {
			return c.Offset
		}
	}
	return 0
}

// pump sends the bytes of one log until it is complete, or until what there is has been sent when nobody follows.
func (f *follower) pump(ctx context.Context, view *state.View, a *stixv1.Assignment, src *source) {
	ctx, src.stop = context.WithCancel(ctx)
	src.pumping = true
	node, _ := view.Nodes.Get(a.NodeUid)
	chunk := stixv1.LogChunk{
		AssignmentUid: a.Meta.Uid, Phase: a.Phase, Rank: a.Rank, NodeIndex: node.GetIndex(), Ip: node.GetIp(), Pid: a.Status.Pid,
	}
	resumed := f.offset(a) > 0
	f.wg.Go(func() {
		defer close(src.done)
		if f.req.Tail > 0 && !resumed {
			f.skipToTail(ctx, a, src)
		}
		f.copy(ctx, key(a), &chunk, src)
	})
}

// skipToTail waits until the coordinator has what the node has, then leaves out all but the last lines.
func (f *follower) skipToTail(ctx context.Context, a *stixv1.Assignment, src *source) {
	f.catchUp(ctx, src)
	if at, err := f.s.Config.Logs.Tail(key(a), f.req.Tail); err == nil && at > 0 {
		whole := src.reader
		src.reader = f.s.Config.Logs.Reader(key(a), at)
		whole.Close()
	}
}

// catchUp waits, not for ever, until the copy here has what its node had when it was asked.
func (f *follower) catchUp(ctx context.Context, src *source) {
	ctx, cancel := context.WithTimeout(ctx, catchUpLimit)
	defer cancel()
	if err := src.reader.CatchUp(ctx); err != nil {
		f.s.Logger.Debug("reading a log that its node has not handed in", "error", err)
	}
}

func (f *follower) copy(ctx context.Context, k logs.Key, head *stixv1.LogChunk, src *source) {
	limit := int64(-1)
	if !f.req.Follow {
		f.catchUp(ctx, src)
		size, _, err := f.s.Config.Logs.Size(k)
		if err != nil {
			return
		}
		limit = size
	}
	for limit < 0 || src.reader.Offset() < limit {
		at := src.reader.Offset()
		data, complete, err := src.reader.Next(ctx, chunkSize)
		if err != nil {
			return
		}
		c := &stixv1.LogChunk{
			AssignmentUid: head.AssignmentUid, Phase: head.Phase, Rank: head.Rank, NodeIndex: head.NodeIndex,
			Ip: head.Ip, Pid: head.Pid, Offset: at, Data: slices.Clone(data), Complete: complete,
		}
		select {
		case f.out <- c:
		case <-ctx.Done():
			return
		}
		if complete {
			return
		}
	}
}

func (f *follower) tell(job *stixv1.Job, final bool) error {
	st := &stixv1.LogState{State: job.State, ExitCodes: job.ExitCodes, Reason: job.Reason, Final: final}
	if final && job.State == stixv1.JobState_JOB_STATE_FAILED_SETUP {
		for a := range f.s.Store.Read().AssignmentsOfJob(job.Meta.Uid) {
			st.Pids = append(st.Pids, a.Status.Pid)
		}
	}
	return f.send(&stixv1.LogsResponse{Message: &stixv1.LogsResponse_State{State: st}})
}

func (f *follower) wait(text string) error {
	return f.send(&stixv1.LogsResponse{Message: &stixv1.LogsResponse_Wait{Wait: &stixv1.LogWait{Text: text}}})
}

func (f *follower) closeReaders() {
	for _, src := range f.sources {
		src.reader.Close()
	}
}

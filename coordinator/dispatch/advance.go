package dispatch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stix-run/stix/coordinator/state"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// StateName is a job state as users see it ("FAILED_SETUP").
func StateName(s stixv1.JobState) string { return strings.TrimPrefix(s.String(), "JOB_STATE_") }

// advance moves one allotted job as far as its assignments allow.
func (p *pass) advance(job *stixv1.Job) {
	as := slices.Collect(p.tx.AssignmentsOfJob(job.Meta.Uid))
	s := summarise(as)
	if job.CancelRequestedAt > 0 || p.ending() {
		p.cancel(job, as, s)
		return
	}
	if s.failed != nil {
		p.fail(job, as, s)
		return
	}
	if s.open > 0 {
		p.watchUnreachable(job, as)
		return
	}
	if s.phase == stixv1.Phase_PHASE_RUN {
		p.finish(job, stixv1.JobState_JOB_STATE_SUCCEEDED, "", s.codes)
		return
	}
	p.startRun(job.Meta.Uid)
}

// summary of the assignments of the job's present phase.
type summary struct {
	phase stixv1.Phase
	// open are not EXITED.
	open int
	// failed is the first, by time, that did not end with 0.
	failed *stixv1.Assignment
	// codes by rank.
	codes []int32
}

func summarise(as []*stixv1.Assignment) summary {
	s := summary{phase: stixv1.Phase_PHASE_SETUP}
	for _, a := range as {
		s.phase = max(s.phase, a.Phase)
	}
	for _, a := range as {
		if a.Phase != s.phase {
			continue
		}
		st := a.Status
		if st.State != stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED {
			s.open++
			continue
		}
		for int(a.Rank) >= len(s.codes) {
			s.codes = append(s.codes, 0)
		}
		s.codes[a.Rank] = st.ExitCode
		if bad(st) && (s.failed == nil || failedBefore(st, s.failed.Status)) {
			s.failed = a
		}
	}
	return s
}

func bad(st *stixv1.AssignmentStatus) bool {
	return st.ExitCode != 0 || st.Outcome != stixv1.Outcome_OUTCOME_EXITED
}

// failedBefore orders failures: what was killed on request failed because of another.
func failedBefore(a, b *stixv1.AssignmentStatus) bool {
	ak, bk := a.Outcome == stixv1.Outcome_OUTCOME_KILLED, b.Outcome == stixv1.Outcome_OUTCOME_KILLED
	if ak != bk {
		return bk
	}
	return a.EndedAt < b.EndedAt
}

// cancel kills what is open and makes the job final when all of it has ended, or when that takes too long.
func (p *pass) cancel(job *stixv1.Job, as []*stixv1.Assignment, s summary) {
	if job.Deadline == 0 {
		p.tx.Jobs.Edit(job.Meta.Uid, func(j *stixv1.Job) { j.Deadline = p.now + int64(CancelLimit) })
		job, _ = p.tx.Jobs.Get(job.Meta.Uid)
	}
	reason := ""
	if job.CancelRequestedAt == 0 {
		reason = "the cluster was taken down"
	}
	if s.open > 0 && p.now < job.Deadline {
		p.kill(as)
		p.againAt(job.Deadline)
		return
	}
	p.finish(job, stixv1.JobState_JOB_STATE_CANCELLED, reason, s.codes)
}

// fail kills the other ranks and, when all have ended, says how the job failed.
func (p *pass) fail(job *stixv1.Job, as []*stixv1.Assignment, s summary) {
	if s.open > 0 {
		p.kill(as)
		p.watchUnreachable(job, as)
		return
	}
	p.finish(job, failureState(s), failureReason(s), s.codes)
}

func failureState(s summary) stixv1.JobState {
	switch {
	case s.failed.Status.Outcome == stixv1.Outcome_OUTCOME_LOST:
		return stixv1.JobState_JOB_STATE_FAILED_DRIVER
	case s.phase == stixv1.Phase_PHASE_SETUP:
		return stixv1.JobState_JOB_STATE_FAILED_SETUP
	case s.failed.Status.Outcome == stixv1.Outcome_OUTCOME_NOT_STARTED:
		return stixv1.JobState_JOB_STATE_FAILED_DRIVER
	}
	return stixv1.JobState_JOB_STATE_FAILED
}

func failureReason(s summary) string {
	st := s.failed.Status
	switch st.Outcome {
	case stixv1.Outcome_OUTCOME_LOST, stixv1.Outcome_OUTCOME_NOT_STARTED:
		return fmt.Sprintf("rank %d: %s", s.failed.Rank, st.Message)
	}
	return st.Message
}

// kill asks for the end of every assignment that is not over.
func (p *pass) kill(as []*stixv1.Assignment) {
	for _, a := range as {
		if over(a) || a.Goal == stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL {
			continue
		}
		p.tx.Assignments.Edit(a.Meta.Uid, func(a *stixv1.Assignment) { a.Goal = stixv1.AssignmentGoal_ASSIGNMENT_GOAL_KILL })
	}
}

func over(a *stixv1.Assignment) bool {
	return a.Status.GetState() == stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED
}

// watchUnreachable gives a job up when one of its nodes has been out of reach for too long.
func (p *pass) watchUnreachable(job *stixv1.Job, as []*stixv1.Assignment) {
	for _, a := range as {
		n := p.byUID[a.NodeUid]
		if over(a) || n.GetAgent().GetState() != stixv1.AgentState_AGENT_STATE_UNREACHABLE {
			continue
		}
		limit := n.Agent.ChangedAt + int64(UnreachableLimit)
		if p.now < limit {
			p.againAt(limit)
			continue
		}
		reason := fmt.Sprintf("node %d has been unreachable for %s", n.Index, UnreachableLimit)
		p.kill(as)
		p.finish(job, stixv1.JobState_JOB_STATE_FAILED_DRIVER, reason, nil)
		return
	}
}

// late replaces FAILED_DRIVER by the real result when it arrived after all: every rank ended by itself.
func late(tx *state.Tx, jobUID string) {
	job, ok := tx.Jobs.Get(jobUID)
	if !ok || job.State != stixv1.JobState_JOB_STATE_FAILED_DRIVER {
		return
	}
	s := summarise(slices.Collect(tx.AssignmentsOfJob(jobUID)))
	if s.open > 0 || len(s.codes) == 0 {
		return
	}
	e := ending{state: stixv1.JobState_JOB_STATE_SUCCEEDED, codes: s.codes}
	if s.failed != nil {
		e.state, e.reason = failureState(s), failureReason(s)
	} else if s.phase != stixv1.Phase_PHASE_RUN {
		return
	}
	if e.state != job.State {
		finish(tx, job, e)
	}
}

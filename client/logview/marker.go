package logview

import (
	"fmt"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const (
	killed   = 137 // 128 + SIGKILL
	segfault = 139 // 128 + SIGSEGV
)

// markWaiting writes the line with which a job's log begins.
func (v *View) markWaiting() {
	if v.waiting {
		return
	}
	v.waiting = true
	if !v.cut {
		n := v.head.GetNumNodes()
		v.line("%s%s", v.style.dim("├── "), v.style.dim(fmt.Sprintf("Waiting for task resources on %d node%s.", n, plural(n))))
	}
}

// markStarted writes the line after which the job's own output comes.
func (v *View) markStarted() {
	if v.started {
		return
	}
	v.markWaiting()
	v.started = true
	if !v.cut {
		v.line("%sJob started. Streaming logs... %s", v.style.dim("└── "),
			v.style.dim("(Ctrl-C to exit log streaming; job will not be killed)"))
	}
}

// finish writes what comes after the job's output.
func (v *View) finish(s *stixv1.LogState) {
	switch s.GetState() {
	case stixv1.JobState_JOB_STATE_SUCCEEDED, stixv1.JobState_JOB_STATE_FAILED, stixv1.JobState_JOB_STATE_FAILED_SETUP:
		v.markStarted()
	default:
		v.markWaiting()
	}
	v.flushPartials()
	if text := failure(v.head.GetNumber(), s); text != "" {
		v.line("%s", v.style.red("ERROR: ")+text)
	}
	v.line("%s Job finished (status: %s).", v.style.green("✓"), StateName(s.GetState()))
}

// failure says why a job failed, "" when it did not.
func failure(number int64, s *stixv1.LogState) string {
	switch s.GetState() {
	case stixv1.JobState_JOB_STATE_FAILED:
		text := fmt.Sprintf("Job %d failed with return code list: %s", number, codeList(s.GetExitCodes()))
		if reason := codeReason(s.GetExitCodes()); reason != "" {
			text += " (" + reason + ")"
		}
		if len(s.GetExitCodes()) == 0 && s.GetReason() != "" {
			text += " (" + s.GetReason() + ")"
		}
		return text
	case stixv1.JobState_JOB_STATE_FAILED_SETUP:
		return setupFailure(number, s)
	case stixv1.JobState_JOB_STATE_FAILED_DRIVER:
		if s.GetReason() != "" {
			return fmt.Sprintf("Job %d was lost: %s", number, s.GetReason())
		}
	}
	return ""
}

func setupFailure(number int64, s *stixv1.LogState) string {
	var workers []string
	for i, code := range s.GetExitCodes() {
		if code == 0 {
			continue
		}
		pid := int64(0)
		if i < len(s.GetPids()) {
			pid = s.GetPids()[i]
		}
		workers = append(workers, fmt.Sprintf("(pid=%d, returncode=%d)", pid, code))
	}
	text := fmt.Sprintf("Job %d's setup failed.", number)
	if len(workers) > 0 {
		text += " Failed workers: " + strings.Join(workers, ", ") + "."
	} else if s.GetReason() != "" {
		text += " " + s.GetReason() + "."
	}
	return text + " See error logs above for more details."
}

// codeReason explains exit codes that the list alone does not.
func codeReason(codes []int32) string {
	killedOnes, first := 0, int32(0)
	for _, code := range codes {
		switch {
		case code == segfault:
			return "likely due to a segmentation fault"
		case code == killed:
			killedOnes++
		case code != 0 && first == 0:
			first = code
		}
	}
	switch {
	case killedOnes == 0:
		return ""
	case first == 0:
		return "killed by SIGKILL, for example because the machine ran out of memory"
	}
	return fmt.Sprintf("A worker failed with return code %d, stix cleaned up the processes on other nodes with return code %d", first, killed)
}

func codeList(codes []int32) string {
	text := make([]string, len(codes))
	for i, c := range codes {
		text[i] = fmt.Sprint(c)
	}
	return "[" + strings.Join(text, ", ") + "]"
}

// StateName returns SkyPilot's word for a job's state.
func StateName(s stixv1.JobState) string {
	return strings.TrimPrefix(s.String(), "JOB_STATE_")
}

// prefix says where a line came from.
func prefix(head *stixv1.LogHead, c *stixv1.LogChunk) string {
	switch {
	case c.GetPhase() == stixv1.Phase_PHASE_SETUP && c.GetNodeIndex() == 0:
		return fmt.Sprintf("(setup pid=%d)", c.GetPid())
	case c.GetPhase() == stixv1.Phase_PHASE_SETUP:
		return fmt.Sprintf("(setup pid=%d, ip=%s)", c.GetPid(), c.GetIp())
	case head.GetClusterNodes() <= 1:
		name := head.GetJobName()
		if name == "" {
			name = "task"
		}
		return fmt.Sprintf("(%s, pid=%d)", name, c.GetPid())
	case c.GetNodeIndex() == 0:
		return fmt.Sprintf("(head, rank=%d, pid=%d)", c.GetRank(), c.GetPid())
	}
	return fmt.Sprintf("(worker%d, rank=%d, pid=%d, ip=%s)", c.GetNodeIndex(), c.GetRank(), c.GetPid(), c.GetIp())
}

func plural(n int32) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// style writes escape sequences, or none.
type style struct{ on bool }

func (s style) dim(text string) string    { return s.paint("2", text) }
func (s style) red(text string) string    { return s.paint("31", text) }
func (s style) green(text string) string  { return s.paint("32", text) }
func (s style) prefix(text string) string { return s.paint("36", text) }

func (s style) paint(code, text string) string {
	if !s.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

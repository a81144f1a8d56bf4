package command

import stixv1 "github.com/stix-run/stix/proto/stix/v1"

// style paints text, or leaves it as it is.
type style struct{ on bool }

func (s style) bold(text string) string   { return s.paint("1", text) }
func (s style) dim(text string) string    { return s.paint("2", text) }
func (s style) red(text string) string    { return s.paint("31", text) }
func (s style) green(text string) string  { return s.paint("32", text) }
func (s style) yellow(text string) string { return s.paint("33", text) }
func (s style) blue(text string) string   { return s.paint("34", text) }

func (s style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) clusterState(state stixv1.ClusterState, text string) string {
	switch state {
	case stixv1.ClusterState_CLUSTER_STATE_UP:
		return s.green(text)
	case stixv1.ClusterState_CLUSTER_STATE_INIT:
		return s.blue(text)
	}
	return s.yellow(text)
}

func (s style) jobState(state stixv1.JobState, text string) string {
	switch state {
	case stixv1.JobState_JOB_STATE_SUCCEEDED, stixv1.JobState_JOB_STATE_RUNNING:
		return s.green(text)
	case stixv1.JobState_JOB_STATE_FAILED, stixv1.JobState_JOB_STATE_FAILED_SETUP, stixv1.JobState_JOB_STATE_FAILED_DRIVER:
		return s.red(text)
	case stixv1.JobState_JOB_STATE_CANCELLED:
		return s.yellow(text)
	}
	return s.blue(text)
}

func (s style) requestState(state stixv1.RequestState, text string) string {
	switch state {
	case stixv1.RequestState_REQUEST_STATE_SUCCEEDED:
		return s.green(text)
	case stixv1.RequestState_REQUEST_STATE_FAILED:
		return s.red(text)
	case stixv1.RequestState_REQUEST_STATE_CANCELLED:
		return s.yellow(text)
	}
	return s.blue(text)
}

package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stix-run/stix/client"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Exit codes. Those of jobs are SkyPilot's.
const (
	exitOK           = 0
	exitError        = 1
	exitUsage        = 2
	exitJobFailed    = 100
	exitJobRunning   = 101
	exitJobNotFound  = 102
	exitJobCancelled = 103
)

// exitWith is an error that decides the exit code. Without a message the user
// has been told already.
type exitWith struct {
	code    int
	message string
	hint    string
}

func (e *exitWith) Error() string { return e.message }

// usageError is wrong usage of a command.
type usageError struct {
	cmd     *cobra.Command
	message string
}

func (e *usageError) Error() string { return e.message }

// usage returns a usage error with the formatted message.
func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd: cmd, message: fmt.Sprintf(format, args...)}
}

// fail returns an error that ends the program with 1.
func fail(format string, args ...any) error {
	return &exitWith{code: exitError, message: fmt.Sprintf(format, args...)}
}

var errAborted = errors.New("aborted")

// exitCode tells the user of an error and returns the exit code for it.
func (a *app) exitCode(err error) int {
	var wrong *usageError
	var with *exitWith
	var called *client.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		a.complain(usageText(wrong))
		return exitUsage
	case errors.As(err, &with):
		a.report(with.message, with.hint)
		return with.code
	case errors.Is(err, errAborted):
		a.complain("Aborted!")
	case errors.As(err, &called) && called.Kind == client.Cancelled, errors.Is(err, context.Canceled):
		a.complain("Interrupted.")
	case errors.As(err, &called):
		a.report(err.Error(), called.Hint)
		if called.Kind == client.Unreachable && called.RequestID != "" {
			a.complain(fmt.Sprintf("It is not known whether the request took effect: see `stix api status -a %s`.", called.RequestID))
		}
	default:
		a.report(err.Error(), "")
	}
	return exitError
}

func usageText(e *usageError) string {
	text := ""
	if e.cmd != nil {
		text = fmt.Sprintf("Usage: %s\nTry '%s -h' for help.\n\n", e.cmd.UseLine(), e.cmd.CommandPath())
	}
	return text + "Error: " + e.message
}

// report tells of an error.
func (a *app) report(message, hint string) {
	if message == "" {
		return
	}
	a.complain(a.style(a.sys.StderrTerminal).red("Error: ") + message)
	if hint != "" {
		a.complain("Hint: " + hint)
	}
}

// jobExit returns the exit code for the state of a job.
func jobExit(s stixv1.JobState) int {
	switch s {
	case stixv1.JobState_JOB_STATE_SUCCEEDED:
		return exitOK
	case stixv1.JobState_JOB_STATE_FAILED, stixv1.JobState_JOB_STATE_FAILED_SETUP, stixv1.JobState_JOB_STATE_FAILED_DRIVER:
		return exitJobFailed
	case stixv1.JobState_JOB_STATE_CANCELLED:
		return exitJobCancelled
	}
	return exitJobRunning
}

// silently ends the program with a code and no message; nil for 0.
func silently(code int) error {
	if code == exitOK {
		return nil
	}
	return &exitWith{code: code}
}

package main

import (
	"os/user"
	"slices"
	"strings"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// ofAgent are variables that are about the agent and would mislead a job.
var ofAgent = []string{"NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDS", "LISTEN_PID", "PWD", "OLDPWD", "_"}

// jobEnv is the environment of jobs: the agent's own, and what a login would set.
func jobEnv(environ []string) []string {
	have := map[string]bool{}
	var env []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		have[name] = true
		if !slices.Contains(ofAgent, name) {
			env = append(env, e)
		}
	}
	if !have["PATH"] {
		env = append(env, "PATH="+defaultPath)
	}
	if have["USER"] && have["LOGNAME"] {
		return env
	}
	if u, err := user.Current(); err == nil {
		env = append(env, "USER="+u.Username, "LOGNAME="+u.Username)
	}
	return env
}

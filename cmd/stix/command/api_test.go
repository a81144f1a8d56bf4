package command

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func requestsWorld(t *testing.T) *world {
	w := newWorld(t)
	for i, state := range []stixv1.RequestState{stixv1.RequestState_REQUEST_STATE_SUCCEEDED, stixv1.RequestState_REQUEST_STATE_RUNNING} {
		w.server.AddRequest(&stixv1.Request{
			Meta: &stixv1.Meta{Uid: []string{"0198-aaaa", "0198-bbbb"}[i], Owner: "0123abcd", CreatedAt: at(time.Hour)},
			Verb: "launch", ClusterName: "demo", State: state, FirstJob: 1, LastJob: 1,
			Progress: []*stixv1.Progress{{At: at(time.Minute), Stage: "boot", Text: "Waiting for 1 agent"}},
		})
	}
	return w
}

func TestRequestsAreListed(t *testing.T) {
	w := requestsWorld(t)
	w.expect(0, `ID         User  Name    Created   Status
0198-bbbb  ann   launch  1 hr ago  RUNNING
`, "api", "status")
	w.expect(0, `ID         User  Name    Cluster  Created   Status
0198-bbbb  ann   launch  demo     1 hr ago  RUNNING
0198-aaaa  ann   launch  demo     1 hr ago  SUCCEEDED
`, "api", "status", "-a", "-v")
	w.expect(0, "ID  User  Name  Created  Status\n-   -     -     -        -\n", "api", "status", "nothing")
	w.expect(0, `[
  {
    "request_id": "0198-aaaa",
    "name": "launch",
    "user_id": "0123abcd",
    "cluster_name": "demo",
    "status": "SUCCEEDED",
    "error": "",
    "error_kind": "",
    "first_job_id": 1,
    "last_job_id": 1,
    "created_at": "2026-11-24T11:00:00Z",
    "finished_at": ""
  }
]
`, "api", "status", "-o", "json", "0198-a")
}

func TestResultOfARequest(t *testing.T) {
	w := requestsWorld(t)
	w.expect(0, "SUCCEEDED, cluster demo, job 1\n", "api", "get", "0198-a")
	w.server.EditRequest("0198-b", func(r *stixv1.Request) {
		r.State, r.Error = stixv1.RequestState_REQUEST_STATE_FAILED, "no room"
	})
	contains(t, w.expect(1, "", "api", "get", "0198-b"), "Error: no room")
	code, out, _ := w.run("api", "get", "0198-b", "-o", "json")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	contains(t, out, `"status": "FAILED"`, `"error": "no room"`)
	contains(t, w.expect(1, "", "api", "get", "zzz"), "request 'zzz' does not exist")
}

func TestProgressOfARequest(t *testing.T) {
	w := requestsWorld(t)
	clock := time.Unix(0, at(time.Minute)).Format("15:04:05")
	w.expect(0, clock+" Waiting for 1 agent\n", "api", "logs", "0198-b", "--no-follow")
	w.out.watch = func(text string) {
		if strings.HasSuffix(text, "agent\n") {
			w.out.watch = nil
			w.server.EditRequest("0198-b", func(r *stixv1.Request) {
				r.Progress = append(r.Progress, &stixv1.Progress{At: at(0), Text: "Ready"})
				r.State = stixv1.RequestState_REQUEST_STATE_SUCCEEDED
			})
		}
	}
	w.expect(0, clock+" Waiting for 1 agent\n"+time.Unix(0, at(0)).Format("15:04:05")+" Ready\nSUCCEEDED, cluster demo, job 1\n",
		"api", "logs", "0198-b")
}

func TestRequestsAreCancelled(t *testing.T) {
	w := requestsWorld(t)
	w.stdin = "yes\n"
	contains(t, w.expect(1, "", "api", "cancel", "-a"), "Type 'cancel all requests' to go on: ", "Aborted!")
	w.stdin = "cancel all requests\n"
	w.expect(0, "Cancelled 1 request:\n  - 0198-bbbb\n", "api", "cancel", "-a")
	w.expect(0, "No requests need to be cancelled.\n", "api", "cancel", "0198-b")
}

func TestInfo(t *testing.T) {
	w := newWorld(t)
	w.server.ServerInfo = &stixv1.InfoResponse{
		Version: "v1", Build: "b1", Pid: 7, StateDir: "/s", CoordinatorId: "c1", LeaderId: "c1", Term: 3, StartedAt: at(time.Minute),
		UserId: "0123abcd", UserName: "ann", Clusters: 1, Nodes: 2, Jobs: 3,
	}
	w.expect(0, "Using the stix server: unix://"+w.state+"/stixd.sock\n"+`├── Status: healthy, commit: b1, version: v1, pid: 7, up 1m
├── Coordinator: c1 (leads, term 3), state in /s
├── Holds: 1 cluster, 2 nodes, 3 jobs
├── User: ann (0123abcd)
└── Endpoint: the stix server of this machine.
`, "api", "info")
	code, out, _ := w.run("api", "info", "-o", "json")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	contains(t, out, `"client": {`, `"server": {`, `"status": "healthy"`, `"user": {`)
}

func TestServersLog(t *testing.T) {
	w := emptyWorld(t)
	contains(t, w.expect(1, "", "api", "logs", "--server-logs"), "there is no server log yet")
	w.write("state/stixd.log", "one\ntwo\nthree\n")
	w.expect(0, "one\ntwo\nthree\n", "api", "logs", "--server-logs", "--no-follow")
	w.expect(0, "two\nthree\n", "api", "logs", "--server-logs", "--no-follow", "--tail", "2")
	w.expect(0, "one\ntwo\nthree\n", "api", "logs", "--server-logs", "--no-follow", "--tail", "9")
	ctx, interrupt := context.WithCancel(t.Context())
	w.out.watch = func(text string) {
		switch text {
		case "three\n":
			w.write("state/stixd.log", "one\ntwo\nthree\nfour\n")
		case "three\nfour\n":
			interrupt()
		}
	}
	if code, _, _ := w.runIn(ctx, "api", "logs", "--server-logs", "--tail", "1"); code != 1 {
		t.Errorf("exit code %d after Ctrl-C", code)
	}
}

func TestForegroundServerReplacesTheProgram(t *testing.T) {
	w := emptyWorld(t)
	w.stixd("exit 9")
	var got []string
	w.sys.Exec = func(path string, argv []string) error {
		got = append([]string{path}, argv...)
		return errors.New("replaced")
	}
	w.run("api", "start", "--foreground")
	bin := w.home + "/bin/stixd"
	if want := strings.Join([]string{bin, bin, "serve", "--state-dir", w.state}, " "); strings.Join(got, " ") != want {
		t.Errorf("executed %q, want %q", got, want)
	}
}

func TestCommandsAboutTheOwnServerRefuseAConfiguredOne(t *testing.T) {
	w := emptyWorld(t)
	w.env["STIX_API_SERVER"] = "https://ann:secret@stix.example.com"
	for _, args := range []string{"api start", "api stop", "api logs --server-logs"} {
		stderr := w.expect(1, "", strings.Fields(args)...)
		contains(t, stderr, "STIX_API_SERVER names the server https://ann:<redacted>@stix.example.com")
		if strings.Contains(stderr, "secret") {
			t.Errorf("the password is shown: %s", stderr)
		}
	}
}

package command

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/client/clienttest"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const (
	waitingLine = "├── Waiting for task resources on 1 node.\n"
	startedLine = "└── Job started. Streaming logs... (Ctrl-C to exit log streaming; job will not be killed)\n"
)

// jobsWorld has a cluster whose jobs print their number and end like that.
func jobsWorld(t *testing.T, state stixv1.JobState, codes ...int32) *world {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	w.server.OnJob = func(j *clienttest.Job) {
		j.Run().Write("out\n")
		j.Finish(state, codes...)
	}
	return w
}

func TestExecStreamsTheJobAndExitsWithItsResult(t *testing.T) {
	for _, c := range []struct {
		state stixv1.JobState
		codes []int32
		code  int
		text  string
	}{
		{stixv1.JobState_JOB_STATE_SUCCEEDED, []int32{0}, 0, ""},
		{stixv1.JobState_JOB_STATE_FAILED, []int32{3}, 100, "ERROR: Job 1 failed with return code list: [3]\n"},
		{stixv1.JobState_JOB_STATE_FAILED_DRIVER, nil, 100, ""},
		{stixv1.JobState_JOB_STATE_CANCELLED, nil, 103, ""},
	} {
		w := jobsWorld(t, c.state, c.codes...)
		stderr := w.expect(c.code, "Command to run: echo out\nSubmitting job to cluster: demo\n⚙︎ Job submitted, ID: 1\n"+
			waitingLine+startedLine+"(sky-cmd, pid=42) out\n"+c.text+
			"✓ Job finished (status: "+jobStateName(c.state)+").\n", "exec", "demo", "echo", "out")
		if stderr != "" {
			t.Errorf("standard error: %s", stderr)
		}
		req := w.server.Calls("Submit")[0].Request.(*stixv1.SubmitRequest)
		if req.GetTask().GetRun() != "echo out" || req.GetUserName() != "ann" || req.GetCommand() != "stix exec demo echo out" {
			t.Errorf("request %v", req)
		}
	}
}

func TestExecDetached(t *testing.T) {
	w := jobsWorld(t, stixv1.JobState_JOB_STATE_FAILED, 1)
	w.expect(0, "Command to run: false\nSubmitting job to cluster: demo\n⚙︎ Job submitted, ID: 1\n"+`
Job ID: 1
📋 Useful Commands
├── To cancel the job:		stix cancel demo 1
├── To stream job logs:		stix logs demo 1
└── To view job queue:		stix queue demo
`, "exec", "demo", "-d", "false")
}

func TestExecOfAnArray(t *testing.T) {
	w := jobsWorld(t, stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
	_, out, _ := w.run("exec", "demo", "--num-jobs", "1000", "-d", "echo $STIX_JOB_INDEX")
	contains(t, out, "⚙︎ Jobs submitted, IDs: 1-1000\n", "Job ID: 1-1000\n")
	if n := w.server.Calls("Submit")[0].Request.(*stixv1.SubmitRequest).GetNumJobs(); n != 1000 {
		t.Errorf("num_jobs %d", n)
	}
}

func TestExecOfAnArrayStreamsEachJob(t *testing.T) {
	w := jobsWorld(t, stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
	inner := w.server.OnJob
	w.server.OnJob = func(j *clienttest.Job) {
		inner(j)
		if j.Number() == 2 {
			j.SetState(stixv1.JobState_JOB_STATE_FAILED, 1)
		}
	}
	code, out, _ := w.run("exec", "demo", "--num-jobs", "3", "x")
	if code != exitJobFailed || strings.Count(out, "Job finished") != 3 {
		t.Errorf("exit code %d, output:\n%s", code, out)
	}
}

func TestExecUploadsTheWorkdirAndNothingElse(t *testing.T) {
	w := jobsWorld(t, stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
	w.write("src/a.txt", "a")
	w.write("data.txt", "d")
	w.write("task.yaml", "name: t\nworkdir: src\nfile_mounts:\n  ~/data.txt: data.txt\nenvs:\n  A: 1\nrun: cat a.txt\n")
	code, out, stderr := w.run("exec", "demo", "task.yaml", "--env", "B=2")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	contains(t, out, "YAML to run: task.yaml\n")
	req := w.server.Calls("Submit")[0].Request.(*stixv1.SubmitRequest)
	if len(req.GetMounts()) != 1 || req.GetMounts()[0].GetDestination() != "~/sky_workdir" || !req.GetMounts()[0].GetWorkdir() {
		t.Errorf("mounts %v", req.GetMounts())
	}
	if envs := req.GetTask().GetEnvs(); envs["A"] != "1" || envs["B"] != "2" {
		t.Errorf("envs %v", envs)
	}
	if w.server.Blobs() != 2 { // the file and its directory
		t.Errorf("%d blobs", w.server.Blobs())
	}
}

func TestExecIgnoresSizesOfTheCommandLine(t *testing.T) {
	w := jobsWorld(t, stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
	_, _, stderr := w.run("exec", "demo", "--cpus", "64", "x")
	contains(t, stderr, "--cpus and --memory are ignored")
	if r := w.server.Calls("Submit")[0].Request.(*stixv1.SubmitRequest).GetTask().GetResources(); r[0].GetCpus() != nil {
		t.Errorf("resources %v", r)
	}
}

func TestExecOnAMissingCluster(t *testing.T) {
	w := newWorld(t)
	stderr := w.expect(1, "Command to run: x\nSubmitting job to cluster: nope\n", "exec", "nope", "x")
	contains(t, stderr, "Cluster 'nope' does not exist.")
}

func TestAsyncPrintsTheRequest(t *testing.T) {
	w := jobsWorld(t, stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
	code, out, stderr := w.run("exec", "demo", "--async", "x")
	id := w.server.Calls("Submit")[0].Request.(*stixv1.SubmitRequest).GetRequestId()
	if code != 0 || !strings.HasSuffix(out, "\n"+id+"\n") {
		t.Errorf("exit code %d, output %q, want the id %s", code, out, id)
	}
	contains(t, stderr, "stix api logs "+shortID(id))
}

func TestCtrlCDetachesFromTheLog(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	w.server.OnJob = func(j *clienttest.Job) { j.Run().Write("working\n") }
	ctx, interrupt := context.WithCancel(t.Context())
	w.out.watch = func(text string) {
		if strings.Contains(text, "working") {
			interrupt()
		}
	}
	code, _, stderr := w.runIn(ctx, "exec", "demo", "x")
	if code != exitError {
		t.Errorf("exit code %d, want 1", code)
	}
	contains(t, stderr, "The job runs on. To follow it again: stix logs demo 1")
}

func TestLogsGoOnThroughALostConnection(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	job := w.server.AddJob("demo", func(*stixv1.JobView) {})
	log := job.Run()
	log.Write("one\ntw")
	w.server.Fail(clienttest.Fault{Procedure: "Logs", Messages: 3})
	w.out.watch = func(text string) {
		if strings.HasSuffix(text, "one\n") {
			w.out.watch = nil
			log.Write("o\nthree")
			job.Finish(stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
		}
	}
	stderr := w.expect(0, waitingLine+startedLine+"(task, pid=42) one\n(task, pid=42) two\n(task, pid=42) three\n"+
		"✓ Job finished (status: SUCCEEDED).\n", "logs", "demo")
	contains(t, stderr, "Showing the last 1000 lines (default). Pass --tail 0 to print the entire log.",
		"Tailing logs of the last job on cluster 'demo'...")
}

func TestLogsOfARunningJobWithoutFollowing(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	w.server.AddJob("demo", func(*stixv1.JobView) {}).Run().Write("a\nb\nc\n")
	w.expect(0, waitingLine+startedLine+"(task, pid=42) a\n(task, pid=42) b\n(task, pid=42) c\n", "logs", "--no-follow", "demo", "1")
	w.expect(0, "(task, pid=42) c\n", "logs", "--no-follow", "--tail", "1", "demo", "1")
}

func TestLogsExitWithTheResult(t *testing.T) {
	w := jobsWorld(t, stixv1.JobState_JOB_STATE_FAILED, 1)
	w.run("exec", "demo", "-d", "x")
	if code, _, _ := w.run("logs", "demo", "1", "--no-follow"); code != exitJobFailed {
		t.Errorf("exit code %d, want 100", code)
	}
}

func TestJobStatus(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	for i, c := range []struct {
		state stixv1.JobState
		code  int
		text  string
	}{
		{stixv1.JobState_JOB_STATE_SUCCEEDED, 0, "Job 1: SUCCEEDED\n"},
		{stixv1.JobState_JOB_STATE_FAILED_SETUP, 100, "Job 2: FAILED_SETUP\n"},
		{stixv1.JobState_JOB_STATE_RUNNING, 101, "Job 3: RUNNING\n"},
		{stixv1.JobState_JOB_STATE_CANCELLED, 103, "Job 4: CANCELLED\n"},
	} {
		w.server.AddJob("demo", func(v *stixv1.JobView) { v.Job.State = c.state })
		w.expect(c.code, c.text, "logs", "--status", "demo", string(rune('1'+i)))
		w.expect(c.code, c.text, "logs", "--status", "demo")
	}
	contains(t, w.expect(102, "", "logs", "--status", "demo", "9"), "Job 9 not found on cluster 'demo'")
	contains(t, w.expect(102, "", "logs", "demo", "9"), "Job 9 not found on cluster 'demo'")
	contains(t, w.expect(1, "", "logs", "--status", "nope"), "Cluster 'nope' does not exist.")
	contains(t, w.expect(1, "", "logs", "nope"), "Cluster 'nope' does not exist.")
}

func TestLogsWithoutAnyJob(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	contains(t, w.expect(102, "", "logs", "demo"), "No job found on cluster 'demo'.")
}

func TestLogsOfAClusterThatIsGone(t *testing.T) {
	w := jobsWorld(t, stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
	w.run("exec", "demo", "-d", "x")
	w.run("down", "-y", "demo")
	code, out, _ := w.run("logs", "demo", "1", "--tail", "0")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	contains(t, out, "(sky-cmd, pid=42) out\n")
}

func TestSyncDownWritesAFileForEachNode(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("gang", func(c *stixv1.Cluster) { c.NumNodes = 2 }))
	job := w.server.AddJob("gang", func(v *stixv1.JobView) {})
	run, setup := stixv1.Phase_PHASE_RUN, stixv1.Phase_PHASE_SETUP
	job.Log(&stixv1.LogChunk{Phase: setup, Pid: 1}).Write("s0\n")
	job.Log(&stixv1.LogChunk{Phase: setup, Pid: 2, NodeIndex: 1, Rank: 1, Ip: "10.0.0.2"}).Write("s1\n")
	job.Log(&stixv1.LogChunk{Phase: run, Pid: 3}).Write("r0\n")
	job.Log(&stixv1.LogChunk{Phase: run, Pid: 4, NodeIndex: 1, Rank: 1, Ip: "10.0.0.2"}).Write("r1\n")
	job.Finish(stixv1.JobState_JOB_STATE_SUCCEEDED, 0, 0)
	w.server.AddJob("gang", func(v *stixv1.JobView) {})
	for range 2 { // a second download replaces the first
		w.expect(0, "Job 1 logs: ~/sky_logs/gang/1-task\n", "logs", "-s", "gang", "1")
	}
	for name, want := range map[string]string{
		"tasks/setup.log": "s0\n", "tasks/setup-worker1.log": "s1\n", "tasks/0-head.log": "r0\n", "tasks/1-worker1.log": "r1\n",
		"run.log": waitingLine + startedLine + "(setup pid=1) s0\n(setup pid=2, ip=10.0.0.2) s1\n(head, rank=0, pid=3) r0\n" +
			"(worker1, rank=1, pid=4, ip=10.0.0.2) r1\n✓ Job finished (status: SUCCEEDED).\n",
	} {
		if got := w.read("sky_logs/gang/1-task/" + name); got != want {
			t.Errorf("%s holds:\n%s\nwant:\n%s", name, got, want)
		}
	}
	if info, err := os.Stat(filepath.Join(w.home, "sky_logs/gang/1-task/run.log")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("run.log: %v %v", info, err)
	}
	w.expect(0, "Job 2 logs: ~/sky_logs/gang/2-task\n", "logs", "-s", "gang")
	w.expect(0, "Job 2 logs: ~/sky_logs/gang/2-task\nJob 1 logs: ~/sky_logs/gang/1-task\n", "logs", "-s", "gang", "[12]")
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	for range 4 {
		w.server.AddJob("demo", func(v *stixv1.JobView) { v.Job.State = stixv1.JobState_JOB_STATE_RUNNING })
	}
	w.expect(0, "Cancelled job 2 on cluster 'demo'.\n", "cancel", "demo", "2", "-y")
	w.expect(0, "No jobs to cancel on cluster 'demo'.\n", "cancel", "demo", "2", "-y")
	contains(t, w.expect(0, "Cancelled job 4 on cluster 'demo'.\n", "cancel", "demo", "-y"), "cancelling the latest running job")
	w.stdin = "n\n"
	contains(t, w.expect(1, "", "cancel", "demo", "-a"), "Cancelling all your jobs on cluster(s): demo. Proceed? [Y/n]: ", "Aborted!")
	w.stdin = "\n"
	w.expect(0, "Cancelled jobs 1,3 on cluster 'demo'.\n", "cancel", "d*", "-a")
	w.expect(0, "Cluster(s) not found (tip: see `stix status`).\n", "cancel", "x*", "-a", "-y")
}

func TestDownOfSeveralClusters(t *testing.T) {
	w := clustersWorld(t)
	w.server.Fail(clienttest.Fault{Procedure: "Down", Err: clienttest.Errorf(connect.CodeInternal, "no luck")})
	code, out, _ := w.run("down", "-y", "demo")
	if want := "Terminating cluster demo...failed. Reason: no luck\n"; code != 0 || out != want {
		t.Errorf("exit code %d, output %q, want 0 and %q", code, out, want)
	}
	code, out, _ = w.run("down", "-y", "demo", "gan*", "nope")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	contains(t, out, "Cluster(s) not found: nope.\n", "Terminating cluster demo...done.\n", "Terminating cluster gang...done.\n",
		"Summary:\n  ✓ Terminated 2 clusters: demo, gang\n")
	w.expect(0, "Cluster(s) not found (tip: see `stix status`).\n", "down", "-a", "-y")
	w.stdin = "y\n"
	contains(t, w.expect(0, "Terminating cluster theirs...done.\n", "down", "-u"), "Terminating 1 cluster: theirs. Proceed? [Y/n]: ")
}

func TestDownThatNobodyAgreedTo(t *testing.T) {
	w := clustersWorld(t)
	contains(t, w.expect(1, "", "down", "demo"), "Proceed? [Y/n]: ", "Aborted!")
	if len(w.server.Calls("Down")) != 0 {
		t.Error("the cluster was taken down")
	}
}

func TestEvents(t *testing.T) {
	w := newWorld(t)
	w.server.AddEvent(&stixv1.Event{
		Meta: &stixv1.Meta{CreatedAt: at(0)}, ObjectKind: "cluster", ObjectUid: "u", Type: "cluster.up", Text: "it is up", Count: 2,
	})
	w.expect(0, "TIME                 OBJECT   EVENT       TEXT\n2026-11-24 12:00:00  cluster  cluster.up  it is up (2 times)\n", "events", "demo")
	w.expect(0, `[
  {
    "at": "2026-11-24T12:00:00Z",
    "object_kind": "cluster",
    "object_uid": "u",
    "type": "cluster.up",
    "text": "it is up",
    "count": 2
  }
]
`, "events", "demo", "-o", "json")
}

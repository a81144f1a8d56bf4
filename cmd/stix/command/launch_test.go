package command

import (
	"strings"
	"testing"

	"github.com/stix-run/stix/client/clienttest"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const planTable = `Considered resources (1 node):
INFRA  INSTANCE  vCPUs  Mem(GB)  GPUS  COST ($)  CHOSEN
Local  local     2      7.5      -     0.00      ✔
`

const hints = `
Job ID: 1
📋 Useful Commands
├── To cancel the job:		stix cancel demo 1
├── To stream job logs:		stix logs demo 1
└── To view job queue:		stix queue demo

Cluster name: demo
├── To submit a job:		stix exec demo yaml_file
└── To teardown the cluster:	stix down demo
`

func launchWorld(t *testing.T) *world {
	w := newWorld(t)
	w.server.OnJob = func(j *clienttest.Job) {
		j.Run().Write("hello\n")
		j.Finish(stixv1.JobState_JOB_STATE_SUCCEEDED, 0)
	}
	return w
}

func TestLaunchOfANewCluster(t *testing.T) {
	w := launchWorld(t)
	w.write("task.yaml", "name: greet\nrun: echo hello\n")
	stderr := w.expect(0, "YAML to run: task.yaml\n"+planTable+"⚙︎ Job submitted, ID: 1\n"+waitingLine+startedLine+
		"(greet, pid=42) hello\n✓ Job finished (status: SUCCEEDED).\n"+hints, "launch", "-y", "-c", "demo", "task.yaml", "--infra", "local")
	contains(t, stderr, "⚙︎ Launching on Local.\n└── Instance is up.\n✓ Cluster launched: demo.  View logs: stix api logs ")
	req := w.server.Calls("Launch")[0].Request.(*stixv1.LaunchRequest)
	if req.GetTask().GetResources()[0].GetCloud() != "local" || req.GetCommand() != "stix launch -y -c demo task.yaml --infra local" {
		t.Errorf("request %v", req)
	}
	if len(w.server.Calls("Launch")) != 1 {
		t.Error("with -y there is nothing to ask about first")
	}
}

func TestLaunchOnAClusterThatIsUp(t *testing.T) {
	w := launchWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	stderr := w.expect(0, "Command to run: x\nRunning on cluster: demo\n⚙︎ Job submitted, ID: 1\n"+waitingLine+startedLine+
		"(sky-cmd, pid=42) hello\n✓ Job finished (status: SUCCEEDED).\n"+hints, "launch", "-c", "demo", "x")
	if stderr != "" {
		t.Errorf("a cluster of one's own is not asked about: %s", stderr)
	}
}

func TestLaunchAsksBeforeItUsesAnotherUsersCluster(t *testing.T) {
	w := launchWorld(t)
	w.server.AddCluster(cluster("demo", func(c *stixv1.Cluster) { c.Meta.Owner = "ffffffff" }))
	w.stdin = "n\n"
	contains(t, w.expect(1, "Command to run: x\nRunning on cluster: demo\n", "launch", "-c", "demo", "x"),
		"Cluster 'demo' belongs to another user (ffffffff). Run on it? [Y/n]: ", "Aborted!")
}

func TestLaunchAsksBeforeANewCluster(t *testing.T) {
	w := launchWorld(t)
	w.stdin = "n\n"
	contains(t, w.expect(1, "Command to run: x\n"+planTable, "launch", "-c", "demo", "x"),
		"Launching a new cluster 'demo'. Proceed? [Y/n]: ", "Aborted!")
	w.stdin = "y\n"
	code, out, _ := w.run("launch", "-c", "demo", "-d", "x")
	if code != 0 || strings.Contains(out, "hello") {
		t.Errorf("exit code %d, output:\n%s", code, out)
	}
	calls := w.server.Calls("Launch")
	if len(calls) != 3 || !calls[1].Request.(*stixv1.LaunchRequest).GetDryRun() || calls[2].Request.(*stixv1.LaunchRequest).GetDryRun() {
		t.Errorf("%d calls", len(calls))
	}
}

func TestDryrunChangesNothing(t *testing.T) {
	w := launchWorld(t)
	contains(t, w.expect(0, "Command to run: x\n"+planTable, "launch", "--dryrun", "-c", "demo", "x"), "Dryrun finished.")
	w.expect(0, "Clusters\nNo existing clusters.\n", "status")
}

func TestLaunchMakesUpAName(t *testing.T) {
	w := launchWorld(t)
	w.sys.UserName = "Ann.O'Hara"
	w.run("launch", "-y", "x")
	name := w.server.Calls("Launch")[0].Request.(*stixv1.LaunchRequest).GetClusterName()
	if !strings.HasPrefix(name, "sky-") || !strings.HasSuffix(name, "-annohara") || len(name) != len("sky-0000-annohara") {
		t.Errorf("cluster name %q", name)
	}
}

func TestLaunchWithoutCommands(t *testing.T) {
	w := launchWorld(t)
	stderr := w.expect(0, planTable+"\nCluster name: demo\n├── To submit a job:\t\tstix exec demo yaml_file\n└── To teardown the cluster:\tstix down demo\n",
		"launch", "-y", "-c", "demo")
	contains(t, stderr, "Run commands are empty: no job was submitted.")
}

func TestLaunchThatFails(t *testing.T) {
	w := launchWorld(t)
	w.server.HoldLaunch = true
	w.err.watch = func(text string) {
		if strings.Contains(text, "Launching on Local") {
			w.err.watch = nil
			w.server.EditRequest("", func(q *stixv1.Request) {
				q.State, q.Error = stixv1.RequestState_REQUEST_STATE_FAILED, "no room on this machine"
			})
		}
	}
	contains(t, w.expect(1, "Command to run: x\n"+planTable, "launch", "-y", "-c", "demo", "x"), "Error: no room on this machine")
}

func TestLaunchUploadsFiles(t *testing.T) {
	w := launchWorld(t)
	w.write("src/a.txt", "a")
	w.write("one.txt", "1")
	w.write("task.yaml", "workdir: src\nfile_mounts:\n  ~/one: one.txt\n  data: src\nrun: x\n")
	code, _, stderr := w.run("launch", "-y", "-c", "demo", "task.yaml")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	got := map[string]int64{}
	for _, m := range w.server.Calls("Launch")[0].Request.(*stixv1.LaunchRequest).GetMounts() {
		got[m.GetDestination()] = m.GetFiles()
	}
	if len(got) != 3 || got["~/sky_workdir"] != 1 || got["~/one"] != 1 || got["~/sky_workdir/data"] != 1 {
		t.Errorf("mounts %v", got)
	}
}

func TestLaunchOfAMissingFile(t *testing.T) {
	w := launchWorld(t)
	// Also with -y: a misspelt name must not become a command.
	contains(t, w.expect(1, "", "launch", "-y", "tsak.yaml"), "'tsak.yaml' looks like a task file, but there is no such file. Run it as a command? [y/N]: ")
	w.write("task.yaml", "run: [1\n")
	contains(t, w.expect(1, "", "launch", "-y", "task.yaml"), "looks like a task file, but")
	w.write("task.yaml", "name: x\nruns: y\n")
	contains(t, w.expect(1, "YAML to run: task.yaml\n", "launch", "-y", "task.yaml"), "task.yaml:2:1: ", "did you mean \"run\"?")
}

func TestClusterNameThatLooksLikeAFile(t *testing.T) {
	w := launchWorld(t)
	contains(t, w.expect(1, "", "launch", "-c", "task.yaml", "x"), "looks like a file", "Proceed anyway? [y/N]: ")
}

func TestSecretsAreNotInTheCommandLine(t *testing.T) {
	got := strings.Join(redactSecrets([]string{"launch", "--secret", "A=1", "--secret=B=2", "--secret", "C", "--env", "D=4"}), " ")
	if want := "stix launch --secret A=<redacted> --secret=B=<redacted> --secret C --env D=4"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEnvironmentOptions(t *testing.T) {
	w := launchWorld(t)
	w.env["HERE"] = "from here"
	w.write("vars", "F=file\nHERE=lost\n")
	code, _, stderr := w.run("launch", "-y", "-c", "demo", "x", "--env", "HERE", "--env-file", "vars", "--secret", "S=1")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	task := w.server.Calls("Launch")[0].Request.(*stixv1.LaunchRequest).GetTask()
	if e := task.GetEnvs(); e["HERE"] != "from here" || e["F"] != "file" {
		t.Errorf("envs %v", e)
	}
	if s := task.GetSecrets(); s["S"] != "1" || s["F"] != "file" {
		t.Errorf("secrets %v", s)
	}
}

func TestHintsOfAnArrayAreAboutAllOfIt(t *testing.T) {
	contains(t, jobHints("demo", 3, 1002), "stix cancel demo 3-1002\n")
	contains(t, jobHints("demo", 3, 3), "stix cancel demo 3\n")
}

package command

import (
	"strings"
	"testing"
)

func TestWrongUsageExitsWithTwo(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("c", nil))
	w.server.AddCluster(cluster("c2", nil))
	for _, c := range []struct{ args, message string }{
		{"nope", "No such command 'nope'."},
		{"lanch", "Did you mean 'launch'?"},
		{"api nope", "No such command 'nope'."},
		{"launch --nope", "No such option: --nope"},
		{"launch --num-nodes x y", "num-nodes"},
		{"launch --env NOTSET x", "--env NOTSET: it is not set here"},
		{"launch --env-file nofile x", "Dotenv file does not exist: nofile."},
		{"launch --workdir nodir x", "Directory 'nodir' does not exist."},
		{"exec", "Missing argument 'CLUSTER' and 'ENTRYPOINT...'."},
		{"exec c", "Missing argument 'ENTRYPOINT...'."},
		{"exec c --num-jobs 0 x", "--num-jobs"},
		{"status -o xml", "'xml' is not one of 'table', 'json'."},
		{"status --ip", "exactly one cluster"},
		{"logs", "Missing argument 'CLUSTER'."},
		{"logs c 1 2", "Cannot stream logs of multiple jobs (IDs: 1, 2)."},
		{"logs c abc", "Invalid job ID abc. Job ID must be integers."},
		{"logs c 1 --status -s", "--sync-down and --status are specified"},
		{"logs c -w 1", "--worker can only be used with --provision."},
		{"logs c --provision -w 0", "--worker must be a positive integer."},
		{"logs c 1 --provision", "--provision cannot be combined"},
		{"logs c --provision", "--provision is not supported yet"},
		{"logs c --autostop", "--autostop is not supported yet"},
		{"logs c --hook", "--hook is not supported yet"},
		{"logs c --tail -1", "--tail"},
		{"cancel", "Missing argument 'CLUSTER'."},
		{"cancel c x", "'x' is not a valid integer."},
		{"cancel c 1 -a", "Both job IDs and --all"},
		{"cancel c* 1 -y", "Cannot cancel job IDs on several clusters: c, c2."},
		{"cancel nope 1 -y", "Cluster 'nope' does not exist."},
		{"down", "requires either a cluster name or glob"},
		{"api logs", "Give either a REQUEST_ID"},
		{"api logs x --server-logs", "Give either a REQUEST_ID"},
		{"api get", "Give one REQUEST_ID"},
		{"api cancel", "Give either REQUEST_IDS"},
		{"api status -l 0", "--limit"},
		{"validate", "Missing argument 'FILE...'."},
	} {
		code, out, stderr := w.run(strings.Fields(c.args)...)
		if code != exitUsage || out != "" {
			t.Errorf("stix %s: exit code %d, output %q", c.args, code, out)
		}
		contains(t, stderr, c.message, "Usage: stix ", " -h' for help.\n\nError: ")
	}
	if n := len(w.server.Calls("Launch")) + len(w.server.Calls("Submit")); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

func TestOptionsThatAreNotCarriedYetAreRefusedByName(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ command, options string }{
		{"launch x", "-i=5:idle-minutes-to-autostop --wait-for=jobs --down -r:retry-until-up --docker --clone-disk-from=x --clone=x " +
			"--resize -w=x:workspace --priority=1 --gpus=A100 -t=x:instance-type --disk-size=1 --use-spot --disk-tier=low " +
			"--network-tier=best --image-id=x --local-disk=x --ports=80 --git-url=x --git-ref=x --config=a.b=c"},
		{"exec c x", "--gpus=A100 --instance-type=x --disk-size=1 --use-spot --ports=80 --git-url=x --config=a=b --image-id=x"},
		{"status", "--endpoints --endpoint=80 --config=a=b"},
		{"queue", "--config=a=b"},
		{"logs c", "--hook=stop --config=a=b"},
		{"cancel c", "--config=a=b"},
		{"down c", "--graceful --graceful-timeout=1 --config=a=b"},
		{"api start", "--deploy --host=0.0.0.0 --port=1 --enable-basic-auth"},
		{"api logs x", "--log-path=x --config=a=b"},
	} {
		for option := range strings.FieldsSeq(c.options) {
			given, name, ok := strings.Cut(option, ":")
			if !ok {
				name, _, _ = strings.Cut(strings.TrimLeft(given, "-"), "=")
			}
			code, _, stderr := w.run(append(strings.Fields(c.command), given)...)
			if code != exitUsage || !strings.Contains(stderr, "Error: --"+name+" is not supported yet\n") {
				t.Errorf("stix %s %s: exit code %d, standard error:\n%s", c.command, given, code, stderr)
			}
		}
	}
	if n := len(w.server.Calls("")); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

func TestCommandsThatAreNotCarriedYetSaySo(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"stop", "start", "autostop", "cost-report", "check", "jobs", "serve", "storage", "volumes", "gpus",
		"show-gpus", "ssh", "local", "dashboard", "ui", "workspace", "debug-dump", "api login", "api logout"} {
		code, out, stderr := w.run(append(strings.Fields(name), "launch", "--whatever", "-x")...)
		if code != exitError || out != "" {
			t.Errorf("stix %s: exit code %d, output %q", name, code, out)
		}
		contains(t, stderr, "`stix "+name+"` is not supported yet.")
	}
}

func TestHelpListsCommandsAndOptions(t *testing.T) {
	w := newWorld(t)
	for _, args := range []string{"-h", "help", ""} {
		code, out, _ := w.run(strings.Fields(args)...)
		if code != 0 || strings.Contains(out, "autostop") {
			t.Errorf("stix %s: exit code %d, output:\n%s", args, code, out)
		}
		contains(t, out, "Usage: stix [OPTIONS] COMMAND [ARGS]...\n", "\nCommands:\n", "\n  launch ")
	}
	for _, args := range []string{"launch -h", "help launch"} {
		_, out, _ := w.run(strings.Fields(args)...)
		contains(t, out, "Usage: stix launch [OPTIONS] [ENTRYPOINT]...\n", "  -c, --cluster TEXT ", "--num-nodes INTEGER ")
	}
}

func TestVersion(t *testing.T) {
	w := newWorld(t)
	for _, flag := range []string{"-v", "--version"} {
		if code, out, _ := w.run(flag); code != 0 || !strings.HasPrefix(out, "stix, version ") {
			t.Errorf("stix %s: exit code %d, output %q", flag, code, out)
		}
	}
	if code, out, _ := w.run("-c"); code != 0 || len(strings.TrimSpace(out)) != 32 {
		t.Errorf("stix -c: exit code %d, output %q", code, out)
	}
}

func TestNoDStreams(t *testing.T) {
	w := launchWorld(t)
	_, out, _ := w.run("launch", "-y", "-c", "demo", "-d", "-no-d", "x")
	contains(t, out, "hello")
}

func TestValidate(t *testing.T) {
	w := emptyWorld(t)
	w.write("good.yaml", "run: x\n")
	w.write("bad.yaml", "num_nodes: none\nrun: x\n")
	w.expect(0, "good.yaml: ok\n", "validate", "good.yaml")
	contains(t, w.expect(1, "good.yaml: ok\n", "validate", "bad.yaml", "good.yaml", "missing.yaml"), "bad.yaml:1:12: ", "missing.yaml")
}

func TestCompletionOfClusterNames(t *testing.T) {
	w := clustersWorld(t)
	_, out, _ := w.run("__complete", "down", "g")
	if lines := strings.Split(out, "\n"); lines[0] != "gang" {
		t.Errorf("completed %q", out)
	}
	empty := emptyWorld(t)
	if code, _, _ := empty.run("__complete", "down", "g"); code != 0 {
		t.Errorf("exit code %d without a server", code)
	}
}

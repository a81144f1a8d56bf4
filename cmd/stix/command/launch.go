package command

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stix-run/stix/internal/ids"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const launchHelp = `Launch a cluster or task.

If ENTRYPOINT is a task file (YAML), it is read. Otherwise it is taken as a
bash command. The cluster is brought up, or reused when it is up; files are
synced and setup is run on all of its nodes; then the job is queued.

Exit code: that of the job when it is streamed (0 succeeded, 100 failed,
103 cancelled), otherwise 0 when it was submitted, 1 for errors.`

// launchFlags are the options of launch beside the task's.
type launchFlags struct {
	task                                      taskFlags
	cluster                                   string
	dryRun, detach, async, yes, noSetup, fast bool
}

func newLaunch(a *app) *cobra.Command {
	var f launchFlags
	cmd := newCommand("launch [OPTIONS] [ENTRYPOINT]...", "Launch a cluster or task.", func(cmd *cobra.Command, args []string) error {
		return a.launch(cmd, args, &f)
	})
	cmd.Long = launchHelp
	flags := cmd.Flags()
	flags.StringVarP(&f.cluster, "cluster", "c", "", "A cluster name: of one to reuse, or to bring up. Without it a name is made up.")
	flags.BoolVar(&f.dryRun, "dryrun", false, "Show where the task would run, and do nothing.")
	flags.BoolVarP(&f.detach, "detach-run", "d", false, "Return when the job is submitted, without streaming its log (-no-d streams).")
	flags.BoolVarP(&f.yes, "yes", "y", false, "Skip confirmation prompts.")
	flags.BoolVar(&f.noSetup, "no-setup", false, "Skip setup.")
	flags.BoolVar(&f.fast, "fast", false, "Skip setup when the cluster is up already.")
	addAsync(flags, &f.async)
	f.task.add(flags)
	addLaunchNotYet(cmd)
	completeFlag(cmd, "cluster", a.completeClusters)
	return cmd
}

func addLaunchNotYet(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntP("idle-minutes-to-autostop", "i", 0, "Autostop.")
	f.String("wait-for", "", "Autostop.")
	f.Bool("down", false, "Autodown.")
	f.BoolP("retry-until-up", "r", false, "Retry.")
	f.Bool("docker", false, "Docker.")
	f.String("clone-disk-from", "", "Clone a disk.")
	f.String("clone", "", "Clone a disk.")
	f.Bool("resize", false, "Resize the cluster.")
	f.StringP("workspace", "w", "", "Workspace.")
	f.String("priority", "", "Priority.")
	refuse(f, "idle-minutes-to-autostop", "wait-for", "down", "retry-until-up", "docker", "clone-disk-from", "clone",
		"resize", "workspace", "priority")
}

func (a *app) launch(cmd *cobra.Command, args []string, f *launchFlags) error {
	ctx := cmd.Context()
	if err := a.checkClusterName(ctx, cmd, f); err != nil {
		return err
	}
	t, err := a.readTask(ctx, cmd, args, &f.task)
	if err != nil {
		return err
	}
	if err := a.connect(ctx); err != nil {
		return err
	}
	name := f.cluster
	if name == "" {
		name = madeUpName(a.user.name)
	}
	req := &stixv1.LaunchRequest{
		RequestId: ids.New(), ClusterName: name, Task: t, NoSetup: f.noSetup, Fast: f.fast,
		Command: a.commandLine(), UserName: a.user.name,
	}
	agreed, err := a.plan(ctx, req, f)
	if err != nil || f.dryRun {
		return err
	}
	return a.launchNow(ctx, req, f, agreed)
}

// checkClusterName asks about a name that looks like a misplaced file.
func (a *app) checkClusterName(ctx context.Context, cmd *cobra.Command, f *launchFlags) error {
	if f.cluster == "" {
		if cmd.Flags().Changed("cluster") {
			return usage(cmd, "Invalid value for '-c' / '--cluster': the name is empty.")
		}
		return nil
	}
	_, err := os.Stat(a.abs(f.cluster))
	if err != nil && !hasSuffix(f.cluster, ".yaml", ".yml", ".json") {
		return nil
	}
	a.notice("Warning: the cluster name '%s' looks like a file.", f.cluster)
	if f.yes {
		return nil
	}
	return a.confirm(ctx, "Proceed anyway?", false)
}

// plan shows where the task would run and asks whether to go on. With -y and no
// dry run the answer to the launch itself tells the plan, and plan does nothing;
// agreed says that the user was asked.
func (a *app) plan(ctx context.Context, req *stixv1.LaunchRequest, f *launchFlags) (agreed bool, err error) {
	if f.yes && !f.dryRun {
		return false, nil
	}
	dry := &stixv1.LaunchRequest{
		RequestId: ids.New(), ClusterName: req.ClusterName, Task: req.Task, NoSetup: req.NoSetup, Fast: req.Fast,
		DryRun: true, UserName: req.UserName,
	}
	res, err := a.client.Launch(ctx, dry)
	if err != nil {
		return false, err
	}
	old, err := a.existing(ctx, f.cluster)
	if err != nil {
		return false, err
	}
	// One that is still being brought up is reused too.
	res.Reused = res.GetReused() || old != nil
	if err := a.showPlan(res); err != nil || f.dryRun {
		if err == nil {
			a.notice("Dryrun finished.")
		}
		return false, err
	}
	if old != nil && !a.owns(old.GetMeta()) {
		question := fmt.Sprintf("Cluster '%s' belongs to another user (%s). Run on it?", f.cluster, old.GetMeta().GetOwner())
		return true, a.confirm(ctx, question, true)
	}
	if res.GetReused() {
		return true, nil
	}
	return true, a.confirm(ctx, fmt.Sprintf("Launching a new cluster '%s'. Proceed?", res.GetClusterName()), true)
}

// existing returns the cluster of that name, nil when there is none.
func (a *app) existing(ctx context.Context, name string) (*stixv1.Cluster, error) {
	if name == "" {
		return nil, nil
	}
	res, err := a.client.ListClusters(ctx, &stixv1.ListClustersRequest{Names: []string{name}})
	if err != nil || len(res.GetClusters()) == 0 {
		return nil, err
	}
	return res.GetClusters()[0].GetCluster(), nil
}

// madeUpName is SkyPilot's name of a cluster that was given none:
// "sky-<4 hex>-<user>".
func madeUpName(user string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, user)
	return strings.Trim("sky-"+ids.Random(2)+"-"+clean, "-")
}

// showPlan writes the table of where a new cluster runs, or that one is reused.
func (a *app) showPlan(res *stixv1.LaunchResponse) error {
	if res.GetReused() {
		return a.printf("Running on cluster: %s\n", res.GetClusterName())
	}
	p := res.GetPlan()
	if p == nil {
		return nil
	}
	n := p.GetNumNodes()
	if err := a.printf("Considered resources (%d %s):\n", n, plural(int(n), "node", "nodes")); err != nil {
		return err
	}
	t := &table{header: []string{"INFRA", "INSTANCE", "vCPUs", "Mem(GB)", "GPUS", "COST ($)", "CHOSEN"}}
	t.add(append(
		plain(infraText(p.GetInfra(), ""), instanceText(p.GetInstanceType()), amount(p.GetVcpus()), amount(p.GetMemoryGib()), "-",
			fmt.Sprintf("%.2f", p.GetHourlyUsd())),
		painted("✔", a.out().green),
	)...)
	return a.writeTable(t)
}

// launchNow sends the request and follows it, and then the job.
func (a *app) launchNow(ctx context.Context, req *stixv1.LaunchRequest, f *launchFlags, agreed bool) error {
	p := a.startProgress()
	defer p.stop()
	mounts, err := a.sync(ctx, p, a.sources(req.Task, false))
	if err != nil {
		return err
	}
	req.Mounts = mounts
	p.stage("Launching")
	res, err := a.client.Launch(ctx, req)
	if err != nil {
		return err
	}
	if !agreed {
		p.pause(func() { err = a.showPlan(res) })
		if err != nil {
			return err
		}
	}
	if f.async {
		p.stop()
		return a.accepted(res.GetRequestId())
	}
	if err := a.awaitLaunch(ctx, p, res); err != nil {
		return err
	}
	p.stop()
	return a.afterLaunch(ctx, req.Task, res, f.detach)
}

func (a *app) awaitLaunch(ctx context.Context, p *progress, res *stixv1.LaunchResponse) error {
	name := res.GetClusterName()
	if !res.GetReused() {
		p.say("⚙︎ Launching on %s.", infraText(res.GetPlan().GetInfra(), ""))
	}
	last, err := a.await(ctx, p, res.GetRequestId())
	if err != nil {
		return err
	}
	if err := failedRequest(last); err != nil {
		return err
	}
	if !res.GetReused() {
		n := int(res.GetPlan().GetNumNodes())
		p.say("└── %s up.", plural(n, "Instance is", "Instances are"))
		p.say("%s Cluster launched: %s.  View logs: stix api logs %s", p.style.green("✓"), name, shortID(res.GetRequestId()))
	}
	return nil
}

// afterLaunch streams the job, if there is one, and says what can be done next.
func (a *app) afterLaunch(ctx context.Context, t *stixv1.Task, res *stixv1.LaunchResponse, detach bool) error {
	name, first, last := res.GetClusterName(), res.GetJobNumber(), max(res.GetLastJobNumber(), res.GetJobNumber())
	if first == 0 {
		if res.GetJobUid() != "" && !detach {
			if err := a.awaitFiles(ctx, res.GetJobUid()); err != nil {
				return err
			}
		}
		if t.GetRun() == "" && t.GetSetup() == "" {
			a.notice("Run commands are empty: no job was submitted.")
		}
		return a.printf("%s", clusterHints(name))
	}
	if err := a.printf("%s", submitted(first, last)); err != nil {
		return err
	}
	var result error
	if !detach {
		result = a.streamJobs(ctx, name, first, last, res.GetJobUid())
		if ctx.Err() != nil {
			return result
		}
	}
	if err := a.printf("%s%s", jobHints(name, first, last), clusterHints(name)); err != nil {
		return err
	}
	return result
}

// awaitFiles waits until the files of a launch without commands are on the
// nodes. The job that brings them is not listed; its log is shown when it fails.
func (a *app) awaitFiles(ctx context.Context, uid string) error {
	p := a.startProgress()
	defer p.stop()
	p.stage("Syncing files to the nodes")
	var log strings.Builder
	for msg, err := range a.client.Logs(ctx, &stixv1.LogsRequest{JobUid: uid, Follow: true}) {
		if err != nil {
			return err
		}
		log.Write(msg.GetChunk().GetData())
		s := msg.GetState()
		if s.GetFinal() && s.GetState() != stixv1.JobState_JOB_STATE_SUCCEEDED {
			p.stop()
			return fail("syncing files to the nodes failed (%s) %s\n%s", jobStateName(s.GetState()), s.GetReason(), log.String())
		}
	}
	return nil
}

func submitted(first, last int64) string {
	if first == last {
		return fmt.Sprintf("⚙︎ Job submitted, ID: %d\n", first)
	}
	return fmt.Sprintf("⚙︎ Jobs submitted, IDs: %s\n", ranges(span64(first, last)))
}

func jobHints(cluster string, first, last int64) string {
	id := fmt.Sprint(first)
	if last > first {
		id = ranges(span64(first, last))
	}
	return fmt.Sprintf("\nJob ID: %s\n📋 Useful Commands\n"+
		"├── To cancel the job:\t\tstix cancel %s %s\n"+
		"├── To stream job logs:\t\tstix logs %s %d\n"+
		"└── To view job queue:\t\tstix queue %s\n", id, cluster, id, cluster, first, cluster)
}

func clusterHints(cluster string) string {
	return fmt.Sprintf("\nCluster name: %s\n"+
		"├── To submit a job:\t\tstix exec %s yaml_file\n"+
		"└── To teardown the cluster:\tstix down %s\n", cluster, cluster, cluster)
}

// commandLine is what the user typed, for `status -v`. Values of secrets are
// not for others to read.
func (a *app) commandLine() string {
	return strings.Join(redactSecrets(a.args), " ")
}

// redactSecrets hides the values of --secret; those of --env are not secret.
func redactSecrets(args []string) []string {
	out := make([]string, len(args))
	hide := false
	for i, arg := range args {
		name, _, has := strings.Cut(strings.TrimPrefix(arg, "--secret="), "=")
		switch {
		case hide && strings.Contains(arg, "="):
			name, _, _ := strings.Cut(arg, "=")
			arg = name + "=<redacted>"
		case strings.HasPrefix(arg, "--secret=") && has:
			arg = "--secret=" + name + "=<redacted>"
		}
		hide = args[i] == "--secret"
		out[i] = arg
	}
	return append([]string{"stix"}, out...)
}

func hasSuffix(s string, suffixes ...string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

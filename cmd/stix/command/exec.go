package command

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stix-run/stix/internal/ids"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const execHelp = `Execute a task or command on an existing cluster.

If ENTRYPOINT is a task file (YAML), it is read. Otherwise it is taken as a
bash command. Only the workdir is synced; setup and file mounts are skipped:
use launch for those. The job waits in the cluster's queue for its turn.

--num-jobs N submits an array: N jobs of the same task that differ in
STIX_JOB_INDEX (0 to N-1).

Exit code: that of the job when it is streamed (0 succeeded, 100 failed,
103 cancelled), otherwise 0 when it was submitted, 1 for errors.`

// execFlags are the options of exec beside the task's.
type execFlags struct {
	task          taskFlags
	cluster       string
	detach, async bool
	numJobs       int64
}

func newExec(a *app) *cobra.Command {
	var f execFlags
	cmd := newCommand("exec [OPTIONS] CLUSTER ENTRYPOINT...", "Execute a task or command on an existing cluster.",
		func(cmd *cobra.Command, args []string) error { return a.exec(cmd, args, &f) })
	cmd.Long = execHelp
	flags := cmd.Flags()
	flags.StringVarP(&f.cluster, "cluster", "c", "", "The cluster, instead of the first argument.")
	flags.Lookup("cluster").Hidden = true
	flags.BoolVarP(&f.detach, "detach-run", "d", false, "Return when the job is submitted, without streaming its log.")
	flags.Int64Var(&f.numJobs, "num-jobs", 0, "Submit an array of this many jobs.")
	addAsync(flags, &f.async)
	f.task.add(flags)
	cmd.ValidArgsFunction = a.completeFirst(a.completeClusters)
	return cmd
}

// addAsync registers the option of commands that can return at once.
func addAsync(flags *pflag.FlagSet, async *bool) {
	flags.BoolVar(async, "async", false, "Return when the request is recorded, without waiting for its end.")
	flags.Bool("no-async", false, "Wait for the end (default).")
	flags.Lookup("no-async").Hidden = true
}

func (a *app) exec(cmd *cobra.Command, args []string, f *execFlags) error {
	cluster := f.cluster
	if cluster == "" && len(args) > 0 {
		cluster, args = args[0], args[1:]
	}
	switch {
	case cluster == "":
		return usage(cmd, "Missing argument 'CLUSTER' and 'ENTRYPOINT...'.")
	case len(args) == 0:
		return usage(cmd, "Missing argument 'ENTRYPOINT...'.")
	case cmd.Flags().Changed("num-jobs") && f.numJobs < 1:
		return usage(cmd, "Invalid value for '--num-jobs': it has to be at least 1.")
	}
	if cmd.Flags().Changed("cpus") || cmd.Flags().Changed("memory") {
		a.notice("--cpus and --memory are ignored: the cluster exists already.")
		f.task.cpus, f.task.memory = "", ""
	}
	t, err := a.readTask(cmd.Context(), cmd, args, &f.task)
	if err != nil {
		return err
	}
	if err := a.connect(cmd.Context()); err != nil {
		return err
	}
	return a.submit(cmd.Context(), cluster, t, f)
}

func (a *app) submit(ctx context.Context, cluster string, t *stixv1.Task, f *execFlags) error {
	if err := a.printf("Submitting job to cluster: %s\n", cluster); err != nil {
		return err
	}
	p := a.startProgress()
	defer p.stop()
	mounts, err := a.sync(ctx, p, a.sources(t, true))
	if err != nil {
		return err
	}
	p.stage("Submitting the job")
	res, err := a.client.Submit(ctx, &stixv1.SubmitRequest{
		RequestId: ids.New(), ClusterName: cluster, Task: t, Mounts: mounts, NumJobs: f.numJobs,
		Command: a.commandLine(), UserName: a.user.name,
	})
	if err != nil {
		return err
	}
	p.stop()
	if f.async {
		return a.accepted(res.GetRequestId())
	}
	first, last := res.GetJobNumber(), max(res.GetLastJobNumber(), res.GetJobNumber())
	if err := a.printf("%s", submitted(first, last)); err != nil {
		return err
	}
	if f.detach {
		return a.printf("%s", jobHints(cluster, first, last))
	}
	return a.streamJobs(ctx, cluster, first, last, res.GetJobUid())
}

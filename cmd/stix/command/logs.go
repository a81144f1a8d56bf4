package command

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stix-run/stix/client"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// defaultTail is how much of a log is shown when following.
const defaultTail = 1000

const logsHelp = `Tail the log of a job.

If JOB_IDS is not given, the latest job of the cluster is used.

Exit code: that of the job (0 succeeded, 100 failed, 101 not finished, for
--status only; 102 not found, 103 cancelled), 1 for errors and Ctrl-C.

--sync-down downloads the logs to ~/sky_logs/CLUSTER/ID-NAME: run.log is the
merged log, tasks/ holds one file for each node.`

type logsFlags struct {
	status, syncDown, follow, noFollow bool
	tail                               int64
	worker                             int
	provision, autostop                bool
}

func newLogs(a *app) *cobra.Command {
	var f logsFlags
	cmd := newCommand("logs [OPTIONS] CLUSTER [JOB_IDS]...", "Tail the log of a job.", func(cmd *cobra.Command, args []string) error {
		return a.logs(cmd, args, &f)
	})
	cmd.Long = logsHelp
	flags := cmd.Flags()
	flags.BoolVar(&f.status, "status", false, "Print the job's status and exit with its code.")
	flags.BoolVarP(&f.syncDown, "sync-down", "s", false, "Download the logs of jobs (several ids and globs are allowed).")
	flags.BoolVar(&f.follow, "follow", true, "Follow the log until the job ends.")
	flags.BoolVar(&f.noFollow, "no-follow", false, "Print the log so far and exit.")
	flags.Int64Var(&f.tail, "tail", 0, "Lines to show from the end; 0 is all. Default: 1000 when following, else all.")
	flags.BoolVar(&f.provision, "provision", false, "Provisioning log.")
	flags.IntVarP(&f.worker, "worker", "w", 0, "Worker of the provisioning log.")
	flags.BoolVar(&f.autostop, "autostop", false, "Autostop hook log.")
	flags.String("hook", "", "Hook log.")
	flags.Lookup("hook").NoOptDefVal = "*"
	flags.StringArray("config", nil, "Configuration.")
	refuse(flags, "hook", "config")
	for _, name := range []string{"provision", "worker", "autostop"} {
		flags.Lookup(name).Hidden = true
	}
	cmd.ValidArgsFunction = a.completeFirst(a.completeClusters)
	return cmd
}

func (a *app) logs(cmd *cobra.Command, args []string, f *logsFlags) error {
	if err := f.check(cmd, args); err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := a.connect(ctx); err != nil {
		return err
	}
	cluster, ids := args[0], args[1:]
	if f.syncDown {
		return a.syncDown(ctx, cluster, ids)
	}
	number := int64(0)
	if len(ids) == 1 {
		number, _ = strconv.ParseInt(ids[0], 10, 64)
	}
	if f.status {
		return a.jobStatus(ctx, cluster, number)
	}
	return a.tailLogs(ctx, cluster, number, f.request(a, cmd))
}

// check refuses what contradicts itself (spec core 4.6).
func (f *logsFlags) check(cmd *cobra.Command, args []string) error {
	worker := cmd.Flags().Changed("worker")
	switch {
	case len(args) == 0:
		return usage(cmd, "Missing argument 'CLUSTER'.")
	case worker && !f.provision:
		return usage(cmd, "--worker can only be used with --provision.")
	case worker && f.worker < 1:
		return usage(cmd, "--worker must be a positive integer.")
	case f.provision && (f.autostop || f.syncDown || f.status || len(args) > 1):
		return usage(cmd, "--provision cannot be combined with --autostop, --sync-down, --status or job IDs.")
	case f.autostop && (f.syncDown || f.status || len(args) > 1):
		return usage(cmd, "--autostop cannot be combined with --sync-down, --status or job IDs.")
	case f.syncDown && f.status:
		return usage(cmd, "Both --sync-down and --status are specified (ambiguous). To fix: specify at most one of them.")
	case f.provision:
		return usage(cmd, "--provision is not supported yet")
	case f.autostop:
		return usage(cmd, "--autostop is not supported yet")
	case f.tail < 0:
		return usage(cmd, "Invalid value for '--tail': %d is negative.", f.tail)
	}
	return f.checkIDs(cmd, args[1:])
}

func (f *logsFlags) checkIDs(cmd *cobra.Command, ids []string) error {
	if len(ids) > 1 && !f.syncDown {
		return usage(cmd, "Cannot stream logs of multiple jobs (IDs: %s).\nPass -s/--sync-down to download the logs instead.", joined(ids))
	}
	for _, id := range ids {
		if f.syncDown && isGlob(id) {
			continue
		}
		if n, err := strconv.ParseInt(id, 10, 64); err != nil || n < 1 {
			return usage(cmd, "Invalid job ID %s. Job ID must be integers.", id)
		}
	}
	return nil
}

// request says how much is shown.
func (f *logsFlags) request(a *app, cmd *cobra.Command) *stixv1.LogsRequest {
	req := &stixv1.LogsRequest{Follow: f.follow && !f.noFollow, Tail: f.tail}
	if req.Follow && !cmd.Flags().Changed("tail") {
		req.Tail = defaultTail
		a.notice("Showing the last %d lines (default). Pass --tail 0 to print the entire log.", defaultTail)
	}
	return req
}

func (a *app) tailLogs(ctx context.Context, cluster string, number int64, req *stixv1.LogsRequest) error {
	what := "the last job"
	if number > 0 {
		what = fmt.Sprintf("job %d", number)
	}
	a.notice("%s", a.style(a.sys.StderrTerminal).yellow(fmt.Sprintf("Tailing logs of %s on cluster '%s'...", what, cluster)))
	req.ClusterName, req.Number = cluster, number
	state, err := a.showLogs(ctx, req)
	if err != nil {
		return a.noSuchJob(ctx, err, cluster, number)
	}
	if !req.Follow && !client.JobFinal(state) {
		return nil
	}
	return silently(jobExit(state))
}

// noSuchJob tells a missing job (102) from a missing cluster (1).
func (a *app) noSuchJob(ctx context.Context, err error, cluster string, number int64) error {
	if client.KindOf(err) != client.NotFound {
		return err
	}
	res, listErr := a.client.ListClusters(ctx, &stixv1.ListClustersRequest{Names: []string{cluster}, History: true})
	if listErr != nil || len(res.GetClusters()) == 0 {
		return fail("Cluster '%s' does not exist.", cluster)
	}
	text := fmt.Sprintf("Job %d not found on cluster '%s' (see `stix queue %s`).", number, cluster, cluster)
	if number == 0 {
		text = fmt.Sprintf("No job found on cluster '%s'.", cluster)
	}
	return &exitWith{code: exitJobNotFound, message: text}
}

// jobStatus prints the state of one job: the latest when number is 0.
func (a *app) jobStatus(ctx context.Context, cluster string, number int64) error {
	job, err := a.oneJob(ctx, cluster, number)
	if err != nil {
		return a.noSuchJob(ctx, err, cluster, number)
	}
	if err := a.printf("Job %d: %s\n", job.GetNumber(), jobStateName(job.GetState())); err != nil {
		return err
	}
	return silently(jobExit(job.GetState()))
}

func (a *app) oneJob(ctx context.Context, cluster string, number int64) (*stixv1.Job, error) {
	req := &stixv1.ListJobsRequest{ClusterName: cluster, Limit: 1, History: true}
	if number > 0 {
		req.Numbers = []int64{number}
	}
	res, err := a.client.ListJobs(ctx, req)
	if err != nil {
		return nil, err
	}
	if len(res.GetJobs()) == 0 {
		return nil, &client.Error{Kind: client.NotFound, Message: "no such job"}
	}
	return res.GetJobs()[0].GetJob(), nil
}

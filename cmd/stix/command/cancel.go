package command

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/internal/backoff"
	"github.com/stix-run/stix/internal/ids"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const cancelHelp = `Cancel job(s).

  stix cancel CLUSTER 1 2 5-8   these jobs
  stix cancel CLUSTER           the latest running job
  stix cancel CLUSTER -a        all of your jobs
  stix cancel CLUSTER -u        all jobs of all users
  stix cancel 'GLOB*' -a        the same on all clusters that match

What a job has started is ended with it, also what ignores SIGTERM.`

const (
	// cancelWait is how long cancel waits for the jobs to end.
	cancelWait = 15 * time.Second
	// cancelWatch is how many jobs it waits for; of more it only asks for the end.
	cancelWatch = 1000
)

type cancelFlags struct{ all, allUsers, yes, async bool }

func newCancel(a *app) *cobra.Command {
	var f cancelFlags
	cmd := newCommand("cancel [OPTIONS] CLUSTER [JOBS]...", "Cancel job(s).", func(cmd *cobra.Command, args []string) error {
		return a.cancel(cmd, args, &f)
	})
	cmd.Long = cancelHelp
	flags := cmd.Flags()
	flags.BoolVarP(&f.all, "all", "a", false, "Cancel all your jobs on the cluster.")
	flags.BoolVarP(&f.allUsers, "all-users", "u", false, "Cancel all jobs of all users on the cluster.")
	flags.BoolVarP(&f.yes, "yes", "y", false, "Skip confirmation prompt.")
	addAsync(flags, &f.async)
	flags.StringArray("config", nil, "Configuration.")
	refuse(flags, "config")
	cmd.ValidArgsFunction = a.completeFirst(a.completeClusters)
	return cmd
}

func (a *app) cancel(cmd *cobra.Command, args []string, f *cancelFlags) error {
	if len(args) == 0 {
		return usage(cmd, "Missing argument 'CLUSTER'.")
	}
	numbers, err := f.numbers(cmd, args[1:])
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := a.connect(ctx); err != nil {
		return err
	}
	clusters, err := a.cancelClusters(ctx, cmd, args[0], numbers)
	if err != nil || len(clusters) == 0 {
		return err
	}
	if err := a.agreeCancel(ctx, clusters, numbers, f); err != nil {
		return err
	}
	var failed error
	for _, name := range clusters {
		if err := a.cancelOn(ctx, name, numbers, f); err != nil {
			if len(clusters) == 1 {
				return err
			}
			a.report(fmt.Sprintf("cluster '%s': %v", name, err), "")
			failed = silently(exitError)
		}
	}
	return failed
}

func (f *cancelFlags) numbers(cmd *cobra.Command, words []string) ([]int64, error) {
	var numbers []int64
	for _, w := range words {
		more, ok := parseRange(w)
		if !ok {
			return nil, usage(cmd, "Invalid value for '[JOBS]...': '%s' is not a valid integer.", w)
		}
		numbers = append(numbers, more...)
	}
	if len(numbers) > 0 && (f.all || f.allUsers) {
		return nil, usage(cmd, "Both job IDs and --all/--all-users are specified: specify one of them.")
	}
	return numbers, nil
}

// cancelClusters resolves a pattern over the clusters of all users.
func (a *app) cancelClusters(ctx context.Context, cmd *cobra.Command, pattern string, numbers []int64) ([]string, error) {
	res, err := a.client.ListClusters(ctx, &stixv1.ListClustersRequest{Names: []string{pattern}})
	if err != nil {
		return nil, err
	}
	names := clusterNames(res.GetClusters())
	switch {
	case len(names) == 0 && isGlob(pattern):
		return nil, a.printf("Cluster(s) not found (tip: see `stix status`).\n")
	case len(names) == 0:
		return nil, usage(cmd, "Cluster '%s' does not exist.", pattern)
	case len(names) > 1 && len(numbers) > 0:
		return nil, usage(cmd, "Cannot cancel job IDs on several clusters: %s.", joined(names))
	}
	return names, nil
}

func (a *app) agreeCancel(ctx context.Context, clusters []string, numbers []int64, f *cancelFlags) error {
	what := fmt.Sprintf("Cancelling %s %s", plural(len(numbers), "job", "jobs"), ranges(numbers))
	switch {
	case f.allUsers:
		what = "Cancelling all users' jobs"
	case f.all:
		what = "Cancelling all your jobs"
	case len(numbers) == 0:
		a.notice("No job IDs or --all/--all-users provided; cancelling the latest running job.")
		what = "Cancelling the latest running job"
	}
	if f.yes {
		return nil
	}
	return a.confirm(ctx, fmt.Sprintf("%s on cluster(s): %s. Proceed?", what, joined(clusters)), true)
}

func (a *app) cancelOn(ctx context.Context, cluster string, numbers []int64, f *cancelFlags) error {
	p := a.startProgress()
	defer p.stop()
	p.stage("Cancelling jobs on cluster " + cluster)
	id := ids.New()
	res, err := a.client.Cancel(ctx, &stixv1.CancelRequest{
		RequestId: id, ClusterName: cluster, Numbers: numbers, All: f.all || f.allUsers, AllUsers: f.allUsers,
	})
	if err != nil {
		return err
	}
	if f.async {
		p.stop()
		return a.accepted(id)
	}
	asked := res.GetNumbers()
	ended, err := a.awaitEnd(ctx, cluster, asked)
	p.stop()
	switch {
	case err != nil:
		return err
	case len(asked) == 0:
		return a.printf("No jobs to cancel on cluster '%s'.\n", cluster)
	case !ended:
		return a.printf("Cancelling %s %s on cluster '%s': still ending.\n", plural(len(asked), "job", "jobs"), ranges(asked), cluster)
	}
	return a.printf("Cancelled %s %s on cluster '%s'.\n", plural(len(asked), "job", "jobs"), ranges(asked), cluster)
}

// awaitEnd waits until the jobs have ended, for a time; it reports whether they have.
func (a *app) awaitEnd(ctx context.Context, cluster string, numbers []int64) (bool, error) {
	if len(numbers) == 0 {
		return true, nil
	}
	if len(numbers) > cancelWatch {
		return false, nil
	}
	pace := backoff.Backoff{Min: 20 * time.Millisecond, Max: time.Second}
	deadline := time.Now().Add(cancelWait)
	for try := 0; ; try++ {
		res, err := a.client.ListJobs(ctx, &stixv1.ListJobsRequest{ClusterName: cluster, Numbers: numbers})
		if err != nil || allFinal(res.GetJobs()) {
			return err == nil, err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		if err := backoff.Sleep(ctx, pace.Ceiling(try)); err != nil {
			return false, err
		}
	}
}

func allFinal(jobs []*stixv1.JobView) bool {
	for _, v := range jobs {
		if !client.JobFinal(v.GetJob().GetState()) {
			return false
		}
	}
	return true
}

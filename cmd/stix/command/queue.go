package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

type queueFlags struct {
	allUsers, skipFinished bool
	output                 output
}

func newQueue(a *app) *cobra.Command {
	var f queueFlags
	cmd := newCommand("queue [OPTIONS] [CLUSTERS]...", "Show the job queue for cluster(s).", func(cmd *cobra.Command, args []string) error {
		return a.queue(cmd, args, &f)
	})
	flags := cmd.Flags()
	flags.BoolVarP(&f.allUsers, "all-users", "u", false, "Show all users' jobs.")
	flags.BoolVarP(&f.skipFinished, "skip-finished", "s", false, "Show only pending and running jobs.")
	f.output.add(flags)
	flags.StringArray("config", nil, "Configuration.")
	refuse(flags, "config")
	cmd.ValidArgsFunction = a.completeClusters
	return cmd
}

func (a *app) queue(cmd *cobra.Command, names []string, f *queueFlags) error {
	asJSON, err := f.output.json(cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := a.connect(ctx); err != nil {
		return err
	}
	if names, err = a.expand(ctx, names, f.allUsers); err != nil {
		return err
	}
	all := []jobRecord{}
	for _, name := range names {
		res, err := a.client.ListJobs(ctx, a.listJobs(name, f))
		switch {
		case ctx.Err() != nil:
			return err
		case err != nil:
			// One cluster that cannot be listed is no reason to hide the others.
			st := a.style(a.sys.StderrTerminal)
			a.notice("%s", st.yellow(fmt.Sprintf("Failed to get the job queue for cluster '%s'.\n  %v", name, err)))
		case asJSON:
			all = append(all, jobRecords(res.GetJobs())...)
		default:
			if err := a.writeQueue(name, res.GetJobs()); err != nil {
				return err
			}
		}
	}
	if asJSON {
		return a.writeJSON(all)
	}
	return nil
}

func (a *app) listJobs(cluster string, f *queueFlags) *stixv1.ListJobsRequest {
	req := &stixv1.ListJobsRequest{ClusterName: cluster}
	if !f.allUsers {
		req.Owner = a.user.id
	}
	if f.skipFinished {
		req.States = []stixv1.JobState{
			stixv1.JobState_JOB_STATE_PENDING, stixv1.JobState_JOB_STATE_SETTING_UP, stixv1.JobState_JOB_STATE_RUNNING,
		}
	}
	return req
}

// expand resolves patterns among all users' clusters. Names stay as they are;
// no names are all of the user's clusters.
func (a *app) expand(ctx context.Context, names []string, allUsers bool) ([]string, error) {
	globs := len(names) == 0
	for _, name := range names {
		globs = globs || isGlob(name)
	}
	if !globs {
		return names, nil
	}
	res, err := a.client.ListClusters(ctx, &stixv1.ListClustersRequest{})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return clusterNames(a.ownClusters(res.GetClusters(), allUsers)), nil
	}
	var out []string
	seen := map[string]bool{}
	for _, pattern := range names {
		found := []string{pattern}
		if isGlob(pattern) {
			found = nil
			for _, name := range clusterNames(res.GetClusters()) {
				if matches(pattern, name) {
					found = append(found, name)
				}
			}
		}
		for _, name := range found {
			if !seen[name] {
				seen[name] = true
				out = append(out, name)
			}
		}
	}
	return out, nil
}

func (a *app) writeQueue(cluster string, jobs []*stixv1.JobView) error {
	if err := a.printf("\n%s\n", a.out().bold("Job queue of cluster "+cluster)); err != nil {
		return err
	}
	if len(jobs) == 0 {
		return a.printf("No jobs.\n")
	}
	t := &table{
		header: []string{"ID", "NAME", "USER", "SUBMITTED", "STARTED", "DURATION", "RESOURCES", "STATUS", "LOG", "GIT COMMIT"},
		keep:   map[string]bool{"ID": true, "STATUS": true},
	}
	now, st := a.sys.Now(), a.out()
	for _, v := range jobs {
		j := v.GetJob()
		row := plain(fmt.Sprint(j.GetNumber()), orDash(j.GetMeta().GetName()), orDash(v.GetUserName()),
			ago(now, j.GetMeta().GetCreatedAt()), ago(now, j.GetStartedAt()), lasted(now, j.GetStartedAt(), j.GetEndedAt()),
			orDash(v.GetResources()))
		row = append(row, painted(jobStateName(j.GetState()), func(s string) string { return st.jobState(j.GetState(), s) }))
		t.add(append(row, plain(orDash(v.GetLogPath()), "-")...)...)
	}
	return a.writeTable(t)
}

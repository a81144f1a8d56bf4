package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/internal/ids"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const downHelp = `Tear down cluster(s).

CLUSTERS are names or globs, also of other users' clusters. The machines are
terminated with all that is on them; the logs of their jobs are kept.

A cluster that cannot be terminated is told of and does not change the exit
code, which is 0.`

// downAtOnce bounds the clusters that are waited for at the same time.
const downAtOnce = 32

type downFlags struct{ all, allUsers, yes, purge, async bool }

func newDown(a *app) *cobra.Command {
	var f downFlags
	cmd := newCommand("down [OPTIONS] [CLUSTERS]...", "Tear down cluster(s).", func(cmd *cobra.Command, args []string) error {
		return a.down(cmd, args, &f)
	})
	cmd.Long = downHelp
	flags := cmd.Flags()
	flags.BoolVarP(&f.all, "all", "a", false, "Tear down all your clusters.")
	flags.BoolVarP(&f.allUsers, "all-users", "u", false, "Tear down all clusters of all users.")
	flags.BoolVarP(&f.yes, "yes", "y", false, "Skip confirmation prompt.")
	flags.BoolVarP(&f.purge, "purge", "p", false, "Forget the cluster even if its machines cannot be terminated. You must see to them.")
	addAsync(flags, &f.async)
	flags.Bool("graceful", false, "Wait for uploads.")
	flags.Int("graceful-timeout", 0, "Wait for uploads.")
	flags.StringArray("config", nil, "Configuration.")
	refuse(flags, "graceful", "graceful-timeout", "config")
	cmd.ValidArgsFunction = a.completeClusters
	return cmd
}

func (a *app) down(cmd *cobra.Command, args []string, f *downFlags) error {
	if len(args) == 0 && !f.all && !f.allUsers {
		return usage(cmd, "`stix down` requires either a cluster name or glob (see `stix status`), or the -a/--all flag for "+
			"all your clusters, or the -u/--all-users flag for all users' clusters.")
	}
	ctx := cmd.Context()
	if err := a.connect(ctx); err != nil {
		return err
	}
	names, err := a.downNames(ctx, args, f)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return a.printf("Cluster(s) not found (tip: see `stix status`).\n")
	}
	if !f.yes {
		question := fmt.Sprintf("Terminating %d %s: %s. Proceed?", len(names), plural(len(names), "cluster", "clusters"), joined(names))
		if err := a.confirm(ctx, question, true); err != nil {
			return err
		}
	}
	return a.terminate(ctx, names, f)
}

// downNames resolves the arguments, and tells of names that match nothing.
func (a *app) downNames(ctx context.Context, args []string, f *downFlags) ([]string, error) {
	if f.all || f.allUsers {
		if len(args) > 0 {
			a.notice("Both --all and cluster(s) specified for `stix down`. Letting --all take effect.")
		}
		args = nil
	}
	res, err := a.client.ListClusters(ctx, &stixv1.ListClustersRequest{Names: args})
	if err != nil {
		return nil, err
	}
	if missing := notFound(withoutGlobs(args), res.GetClusters()); len(missing) > 0 {
		if err := a.printf("Cluster(s) not found: %s.\n", joined(missing)); err != nil {
			return nil, err
		}
	}
	return clusterNames(a.ownClusters(res.GetClusters(), len(args) > 0 || f.allUsers)), nil
}

func withoutGlobs(names []string) []string {
	var plain []string
	for _, name := range names {
		if !isGlob(name) {
			plain = append(plain, name)
		}
	}
	return plain
}

// terminate takes the clusters down at the same time and tells of each as it ends.
func (a *app) terminate(ctx context.Context, names []string, f *downFlags) error {
	p := a.startProgress()
	defer p.stop()
	p.stage(fmt.Sprintf("Terminating %d %s", len(names), plural(len(names), "cluster", "clusters")))
	results := make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(downAtOnce)
	for i, name := range names {
		group.Go(func() error {
			var text string
			text, results[i] = a.terminateOne(ctx, name, f)
			p.pause(func() { a.printf("%s\n", text) })
			return nil
		})
	}
	group.Wait()
	p.stop()
	if ctx.Err() != nil {
		a.notice("\nInterrupted; what was asked for goes on. See `stix status`.")
		return silently(exitError)
	}
	return a.downSummary(names, results, f)
}

// terminateOne takes one cluster down and returns what to say of it.
func (a *app) terminateOne(ctx context.Context, name string, f *downFlags) (string, error) {
	id := ids.New()
	_, err := a.client.Down(ctx, &stixv1.DownRequest{RequestId: id, ClusterName: name, Purge: f.purge})
	if err == nil && f.async {
		return fmt.Sprintf("Terminating cluster %s: request %s", name, id), nil
	}
	for req, followErr := range a.follow(ctx, id, err) {
		if err = followErr; err == nil {
			err = failedRequest(req)
		}
	}
	if err != nil {
		return fmt.Sprintf("Terminating cluster %s...failed. Reason: %v", name, err), err
	}
	return fmt.Sprintf("Terminating cluster %s...done.", name), nil
}

// follow is FollowRequest of a request that may not have been accepted.
func (a *app) follow(ctx context.Context, id string, err error) func(func(*stixv1.Request, error) bool) {
	if err != nil {
		return func(yield func(*stixv1.Request, error) bool) { yield(nil, err) }
	}
	return a.client.FollowRequest(ctx, id)
}

func (a *app) downSummary(names []string, results []error, f *downFlags) error {
	var done, failed []string
	for i, name := range names {
		if results[i] != nil {
			failed = append(failed, name)
		} else {
			done = append(done, name)
		}
	}
	if len(names) < 2 || f.async {
		return a.unreachable(results)
	}
	var text strings.Builder
	text.WriteString("Summary:\n")
	if len(done) > 0 {
		fmt.Fprintf(&text, "  ✓ Terminated %d %s: %s\n", len(done), plural(len(done), "cluster", "clusters"), joined(done))
	}
	if len(failed) > 0 {
		fmt.Fprintf(&text, "  ✗ Failed to terminate %d %s: %s\n", len(failed), plural(len(failed), "cluster", "clusters"), joined(failed))
	}
	if err := a.printf("%s", text.String()); err != nil {
		return err
	}
	return a.unreachable(results)
}

// unreachable returns the error of a server that did not answer: unlike the
// failure of a cluster it changes the exit code.
func (a *app) unreachable(results []error) error {
	for _, err := range results {
		if client.IsUnreachable(err) {
			return err
		}
	}
	return nil
}

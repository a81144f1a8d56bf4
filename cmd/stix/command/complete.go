package command

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// completeWait bounds how long the shell waits for a word.
const completeWait = time.Second

// completion is cobra's function that completes an argument.
type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeClusters completes names of clusters. It starts no server.
func (a *app) completeClusters(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
	defer cancel()
	if a.findServer() != nil || (a.server.own && !answers(ctx, a.server.endpoint.Socket)) || a.dial(ctx) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	res, err := a.client.ListClusters(ctx, &stixv1.ListClustersRequest{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, name := range clusterNames(res.GetClusters()) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeFirst completes the first argument and leaves the others to the shell.
func (a *app) completeFirst(first completion) completion {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return first(cmd, args, prefix)
	}
}

func completeFlag(cmd *cobra.Command, flag string, complete completion) {
	// The only error is a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc(flag, complete)
}

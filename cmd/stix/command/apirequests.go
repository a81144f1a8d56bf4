package command

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// requestLimit is how many requests are listed by default.
const requestLimit = 50

type apiStatusFlags struct {
	all, verbose   bool
	limit, cluster string
	output         output
}

func newAPIStatus(a *app) *cobra.Command {
	var f apiStatusFlags
	cmd := newCommand("status [OPTIONS] [REQUEST_ID_PREFIXES]...", "List requests of the stix server.", func(cmd *cobra.Command, args []string) error {
		return a.apiStatus(cmd, args, &f)
	})
	flags := cmd.Flags()
	flags.BoolVarP(&f.all, "all-status", "a", false, "Also show finished requests.")
	flags.StringVarP(&f.limit, "limit", "l", strconv.Itoa(requestLimit), "Number of requests to show; \"none\" or \"all\" for all.")
	flags.StringVarP(&f.cluster, "cluster", "c", "", "Only requests about this cluster.")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "Show more details.")
	f.output.add(flags)
	flags.StringArray("config", nil, "Configuration.")
	refuse(flags, "config")
	return cmd
}

func (f *apiStatusFlags) count(cmd *cobra.Command) (int32, error) {
	if l := strings.ToLower(f.limit); l == "none" || l == "all" {
		return 0, nil
	}
	n, err := strconv.ParseInt(f.limit, 10, 32)
	if err != nil || n < 1 {
		return 0, usage(cmd, "Invalid value for '-l' / '--limit': %s is neither a positive number nor 'none' or 'all'.", f.limit)
	}
	return int32(n), nil
}

func (a *app) apiStatus(cmd *cobra.Command, prefixes []string, f *apiStatusFlags) error {
	asJSON, err := f.output.json(cmd)
	if err != nil {
		return err
	}
	limit, err := f.count(cmd)
	if err != nil {
		return err
	}
	if err := a.connect(cmd.Context()); err != nil {
		return err
	}
	res, err := a.client.ListRequests(cmd.Context(), &stixv1.ListRequestsRequest{
		IdPrefixes: prefixes, All: f.all || len(prefixes) > 0, Limit: limit, ClusterName: f.cluster,
	})
	if err != nil {
		return err
	}
	if asJSON {
		records := make([]requestRecord, len(res.GetRequests()))
		for i, r := range res.GetRequests() {
			records[i] = requestRecordOf(r)
		}
		return a.writeJSON(records)
	}
	return a.writeTable(a.requestTable(res.GetRequests(), f.verbose))
}

func (a *app) requestTable(requests []*stixv1.Request, verbose bool) *table {
	t := &table{header: []string{"ID", "User", "Name"}, keep: map[string]bool{"ID": true, "Status": true}}
	if verbose {
		t.header = append(t.header, "Cluster")
	}
	t.header = append(t.header, "Created", "Status")
	now, st := a.sys.Now(), a.out()
	for _, r := range requests {
		row := plain(r.GetMeta().GetUid(), orDash(a.userName(r.GetMeta())), r.GetVerb())
		if verbose {
			row = append(row, plain(orDash(r.GetClusterName()))...)
		}
		row = append(row, plain(ago(now, r.GetMeta().GetCreatedAt()))...)
		t.add(append(row, painted(requestStateName(r.GetState()), func(s string) string { return st.requestState(r.GetState(), s) }))...)
	}
	if len(requests) == 0 {
		row := make([]cell, len(t.header))
		for i := range row {
			row[i] = cell{text: "-"}
		}
		t.add(row...)
	}
	return t
}

func newAPIGet(a *app) *cobra.Command {
	var out output
	cmd := newCommand("get [OPTIONS] REQUEST_ID", "Wait for a request and print its result.", func(cmd *cobra.Command, args []string) error {
		return a.apiGet(cmd, args, out)
	})
	out.add(cmd.Flags())
	return cmd
}

func (a *app) apiGet(cmd *cobra.Command, args []string, out output) error {
	asJSON, err := out.json(cmd)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return usage(cmd, "Give one REQUEST_ID (see `stix api status -a`).")
	}
	ctx := cmd.Context()
	if err := a.connect(ctx); err != nil {
		return err
	}
	p := a.startProgress()
	defer p.stop()
	req, err := a.await(ctx, p, args[0])
	if err != nil {
		return err
	}
	p.stop()
	if asJSON {
		if err := a.writeJSON(requestRecordOf(req)); err != nil {
			return err
		}
		if failedRequest(req) != nil {
			return silently(exitError)
		}
		return nil
	}
	if err := failedRequest(req); err != nil {
		return err
	}
	return a.printf("%s\n", resultText(req))
}

// resultText says what came of a request that succeeded.
func resultText(r *stixv1.Request) string {
	text := requestStateName(r.GetState())
	if r.GetClusterName() != "" {
		text += ", cluster " + r.GetClusterName()
	}
	switch first, last := r.GetFirstJob(), r.GetLastJob(); {
	case first > 0 && last > first:
		text += ", jobs " + ranges(span64(first, last))
	case first > 0:
		text += fmt.Sprintf(", job %d", first)
	}
	return text
}

type apiCancelFlags struct{ all, allUsers, yes bool }

func newAPICancel(a *app) *cobra.Command {
	var f apiCancelFlags
	cmd := newCommand("cancel [OPTIONS] [REQUEST_IDS]...", "Cancel requests of the stix server.", func(cmd *cobra.Command, args []string) error {
		return a.apiCancel(cmd, args, &f)
	})
	flags := cmd.Flags()
	flags.BoolVarP(&f.all, "all", "a", false, "Cancel all your requests.")
	flags.BoolVarP(&f.allUsers, "all-users", "u", false, "Cancel all requests of all users.")
	flags.BoolVarP(&f.yes, "yes", "y", false, "Skip confirmation prompt.")
	flags.StringArray("config", nil, "Configuration.")
	refuse(flags, "config")
	return cmd
}

// cancelAllText is what has to be typed before all requests are cancelled.
const cancelAllText = "cancel all requests"

func (a *app) apiCancel(cmd *cobra.Command, args []string, f *apiCancelFlags) error {
	everything := f.all || f.allUsers
	if everything == (len(args) > 0) {
		return usage(cmd, "Give either REQUEST_IDS, or -a/--all or -u/--all-users.")
	}
	ctx := cmd.Context()
	if err := a.connect(ctx); err != nil {
		return err
	}
	if everything && !f.yes {
		if err := a.agreeCancelAll(ctx); err != nil {
			return err
		}
	}
	res, err := a.client.CancelRequests(ctx, &stixv1.CancelRequestsRequest{Ids: args, All: everything})
	if err != nil {
		return err
	}
	if len(res.GetIds()) == 0 {
		return a.printf("No requests need to be cancelled.\n")
	}
	if err := a.printf("Cancelled %d %s:\n", len(res.GetIds()), plural(len(res.GetIds()), "request", "requests")); err != nil {
		return err
	}
	return a.printf("  - %s\n", strings.Join(res.GetIds(), "\n  - "))
}

func (a *app) agreeCancelAll(ctx context.Context) error {
	answer, err := a.ask(ctx, fmt.Sprintf("This cancels all requests. Type '%s' to go on: ", cancelAllText))
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != cancelAllText {
		return errAborted
	}
	return nil
}

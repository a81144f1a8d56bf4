package command

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const statusHelp = `Show clusters.

If CLUSTERS (names or globs) are given, only those are shown, whoever owns
them; otherwise those of the current user.

Status: INIT is being brought up, or failed at it, or abnormal; UP is ready for
jobs; STOPPED is stopped with its disks kept.`

type statusFlags struct {
	verbose, allUsers, ip bool
	output                output
}

func newStatus(a *app) *cobra.Command {
	var f statusFlags
	cmd := newCommand("status [OPTIONS] [CLUSTERS]...", "Show clusters.", func(cmd *cobra.Command, args []string) error {
		return a.status(cmd, args, &f)
	})
	cmd.Long = statusHelp
	flags := cmd.Flags()
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "Show all information in full.")
	flags.BoolVarP(&f.allUsers, "all-users", "u", false, "Show all clusters, also of other users.")
	flags.BoolVar(&f.ip, "ip", false, "Print the IP address of the head node of the one cluster named.")
	f.output.add(flags)
	flags.BoolP("refresh", "r", false, "Ask the cloud.")
	flags.Bool("endpoints", false, "Endpoints.")
	flags.Int("endpoint", 0, "Endpoint.")
	for _, section := range []string{"managed-jobs", "services", "pools"} {
		// There are none to show yet, so that either choice is kept.
		flags.Bool("show-"+section, true, "")
		flags.Bool("no-show-"+section, false, "")
		flags.Lookup("show-" + section).Hidden = true
		flags.Lookup("no-show-" + section).Hidden = true
	}
	flags.StringArray("config", nil, "Configuration.")
	refuse(flags, "endpoints", "endpoint", "config")
	flags.Lookup("refresh").Hidden = true // the state shown is never a cached one
	cmd.ValidArgsFunction = a.completeClusters
	return cmd
}

func (a *app) status(cmd *cobra.Command, names []string, f *statusFlags) error {
	asJSON, err := f.output.json(cmd)
	if err != nil {
		return err
	}
	if f.ip && len(names) != 1 {
		return usage(cmd, "If --ip is specified, exactly one cluster must be specified.")
	}
	if err := a.connect(cmd.Context()); err != nil {
		return err
	}
	res, err := a.client.ListClusters(cmd.Context(), &stixv1.ListClustersRequest{Names: names})
	if err != nil {
		return err
	}
	views := a.ownClusters(res.GetClusters(), f.allUsers || len(names) > 0)
	switch {
	case asJSON:
		return a.writeJSON(clusterRecords(views))
	case f.ip:
		return a.headIP(views, names[0])
	}
	return a.writeClusters(views, names, f)
}

// ownClusters leaves out other users' clusters, unless all are wanted, and
// sorts the newest launch first.
func (a *app) ownClusters(views []*stixv1.ClusterView, all bool) []*stixv1.ClusterView {
	own := slices.DeleteFunc(slices.Clone(views), func(v *stixv1.ClusterView) bool {
		return !all && !a.owns(v.GetCluster().GetMeta())
	})
	slices.SortStableFunc(own, func(x, y *stixv1.ClusterView) int {
		return cmp.Or(
			cmp.Compare(y.GetCluster().GetLaunchedAt(), x.GetCluster().GetLaunchedAt()),
			cmp.Compare(x.GetCluster().GetMeta().GetName(), y.GetCluster().GetMeta().GetName()),
		)
	})
	return own
}

// owns reports whether a record is the current user's.
func (a *app) owns(m *stixv1.Meta) bool { return m.GetOwner() == "" || m.GetOwner() == a.user.id }

func (a *app) headIP(views []*stixv1.ClusterView, name string) error {
	if len(views) != 1 {
		return fail("Cluster '%s' not found.", name)
	}
	ip := headOf(views[0]).GetIp()
	if ip == "" {
		return fail("Cluster '%s' has no address yet.", name)
	}
	return a.printf("%s\n", ip)
}

// headOf returns the head node of a cluster, nil before it is planned.
func headOf(v *stixv1.ClusterView) *stixv1.Node {
	for _, n := range v.GetNodes() {
		if n.GetIndex() == 0 && n.GetState() != stixv1.NodeState_NODE_STATE_TERMINATED {
			return n
		}
	}
	return nil
}

func (a *app) writeClusters(views []*stixv1.ClusterView, names []string, f *statusFlags) error {
	if err := a.printf("%s\n", a.out().bold("Clusters")); err != nil {
		return err
	}
	missing := notFound(names, views)
	switch {
	case len(views) == 0 && len(names) == 0:
		return a.printf("No existing clusters.\n")
	case len(views) > 0:
		if err := a.writeTable(a.clusterTable(views, f)); err != nil {
			return err
		}
	}
	switch len(missing) {
	case 0:
		return nil
	case 1:
		return a.printf("Cluster '%s' not found.\n", missing[0])
	}
	return a.printf("Clusters not found: %s.\n", strings.Join(missing, ", "))
}

// notFound lists the names that are no globs and match no cluster.
func notFound(names []string, views []*stixv1.ClusterView) []string {
	var missing []string
	for _, name := range names {
		found := slices.ContainsFunc(views, func(v *stixv1.ClusterView) bool { return matches(name, v.GetCluster().GetMeta().GetName()) })
		if !found {
			missing = append(missing, name)
		}
	}
	return missing
}

func (a *app) clusterTable(views []*stixv1.ClusterView, f *statusFlags) *table {
	t := &table{header: []string{"NAME"}, keep: map[string]bool{"NAME": true, "STATUS": true}}
	if f.allUsers {
		t.header = append(t.header, "USER")
		if f.verbose {
			t.header = append(t.header, "USER_ID")
		}
	}
	if f.verbose {
		t.header = append(t.header, "WORKSPACE")
	}
	t.header = append(t.header, "INFRA", "RESOURCES", "STATUS", "AUTOSTOP", "LAUNCHED")
	if f.verbose {
		t.header = append(t.header, "HEAD_IP", "COMMAND", "LAST_EVENT")
	}
	for _, v := range views {
		t.add(a.clusterRow(v, f)...)
	}
	return t
}

func (a *app) clusterRow(v *stixv1.ClusterView, f *statusFlags) []cell {
	c, st := v.GetCluster(), a.out()
	row := plain(c.GetMeta().GetName())
	if f.allUsers {
		row = append(row, plain(orDash(a.userName(c.GetMeta())))...)
		if f.verbose {
			row = append(row, plain(orDash(c.GetMeta().GetOwner()))...)
		}
	}
	if f.verbose {
		row = append(row, plain(orDash(c.GetMeta().GetWorkspace()))...)
	}
	row = append(row, plain(infraText(c.GetInfra(), c.GetRegion()), resourcesText(c, f.verbose))...)
	row = append(row, painted(clusterStateName(c.GetState()), func(s string) string { return st.clusterState(c.GetState(), s) }))
	row = append(row, plain("-", ago(a.sys.Now(), c.GetLaunchedAt()))...)
	if f.verbose {
		row = append(row, plain(orDash(headOf(v).GetIp()), orDash(c.GetLastCommand()), orDash(c.GetReason()))...)
	}
	return row
}

// userName is the name of a record's owner where it is known: one's own.
func (a *app) userName(m *stixv1.Meta) string {
	if a.owns(m) {
		return a.user.name
	}
	return m.GetOwner()
}

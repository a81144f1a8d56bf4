package command

import (
	"path"
	"slices"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// isGlob reports whether a name is a pattern.
func isGlob(name string) bool { return strings.ContainsAny(name, "*?[") }

// matches reports whether a name, or a pattern, is that of a cluster.
func matches(pattern, name string) bool {
	if !isGlob(pattern) {
		return pattern == name
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// clusterNames lists the names of clusters, sorted.
func clusterNames(views []*stixv1.ClusterView) []string {
	var names []string
	for _, v := range views {
		names = append(names, v.GetCluster().GetMeta().GetName())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

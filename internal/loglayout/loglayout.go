// Package loglayout names the log files of a job as SkyPilot's users know them (skypilot-core.md §2.6): the same on the
// node, in listings, and where `stix logs --sync-down` puts them.
package loglayout

import (
	"fmt"
	"strconv"
	"strings"
)

// SetupFile is the log of setup on each node, below the job's directory.
const SetupFile = "tasks/setup.log"

// Dir is the directory of a job under ~/sky_logs ("1-hello"). A job without a number, which only syncs files, has one
// of its own by its uid.
func Dir(number int64, name, uid string) string {
	if number == 0 {
		return "sync-" + uid
	}
	if name == "" {
		name = "-"
	}
	return strconv.FormatInt(number, 10) + "-" + strings.ReplaceAll(name, "/", "_")
}

// RunFile is the log of one rank below the job's directory.
func RunFile(rank, nodeIndex, clusterNodes int32) string {
	if clusterNodes <= 1 {
		return "tasks/run.log"
	}
	return fmt.Sprintf("tasks/%d-%s.log", rank, Node(nodeIndex))
}

// Node is a node as people know it: "head" or "worker2".
func Node(index int32) string {
	if index == 0 {
		return "head"
	}
	return "worker" + strconv.Itoa(int(index))
}

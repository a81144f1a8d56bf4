//go:build integration && linux

package binaries

import (
	"path/filepath"
	"slices"
)

// clusterRecord is what the tests read of `status -o json`.
type clusterRecord struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Nodes  []struct {
		State      string `json:"state"`
		Agent      string `json:"agent"`
		InstanceID string `json:"instance_id"`
	} `json:"nodes"`
}

// jobRecord is what the tests read of `queue -o json`.
type jobRecord struct {
	ID        int64   `json:"job_id"`
	Name      string  `json:"name"`
	Status    string  `json:"status"`
	NumNodes  int     `json:"num_nodes"`
	ExitCodes []int32 `json:"exit_codes"`
	Index     int64   `json:"array_index"`
	StartedAt string  `json:"started_at"`
}

// clusters returns what `status` shows.
func (h *home) clusters() []clusterRecord {
	h.t.Helper()
	var all []clusterRecord
	h.json(&all, "status")
	return all
}

// jobs returns what `queue` shows of a cluster, by number.
func (h *home) jobs(cluster string) []jobRecord {
	h.t.Helper()
	var all []jobRecord
	h.json(&all, "queue", cluster)
	slices.Reverse(all) // newest first
	return all
}

// job returns one job.
func (h *home) job(cluster string, id int64) jobRecord {
	h.t.Helper()
	for _, j := range h.jobs(cluster) {
		if j.ID == id {
			return j
		}
	}
	h.t.Fatalf("cluster %s has no job %d", cluster, id)
	return jobRecord{}
}

// machines returns the ids of the machines that there are.
func (h *home) machines() []string {
	h.t.Helper()
	return names(h.t, filepath.Join(h.dir, "local/machines"))
}

// machineHome is the home directory on a machine.
func (h *home) machineHome(machine string) string {
	return filepath.Join(h.dir, "local/machines", machine, "home")
}

// machinesAreRecorded checks that there are exactly the machines of the records, and as many as wanted.
func (h *home) machinesAreRecorded(want int) {
	h.t.Helper()
	var recorded []string
	for _, c := range h.clusters() {
		for _, n := range c.Nodes {
			if n.State != "TERMINATED" {
				recorded = append(recorded, n.InstanceID)
			}
		}
	}
	there := h.machines()
	if !slices.Equal(sorted(recorded), sorted(there)) || len(there) != want {
		h.t.Errorf("%d machines wanted; the records name %q, and there are %q", want, recorded, there)
	}
}

// up brings up a cluster without a job.
func (h *home) up(cluster string, more ...string) {
	h.t.Helper()
	h.ok(append([]string{"launch", "-y", "-c", cluster, "--infra", "local"}, more...)...)
}

// serverAgain sees to it that a server runs, and returns its pid. A child that a killed server was about to start holds
// its sockets until it has become another program, so that the first try may meet nobody.
func (h *home) serverAgain() int {
	h.t.Helper()
	pid := 0
	eventually(h.t, settleLimit, "a server with its pid", func() bool {
		h.ok("api", "start")
		pid = h.server()
		return pid != 0
	})
	return pid
}

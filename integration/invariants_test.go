package integration

import (
	"fmt"
	"time"

	"github.com/stix-run/stix/agent/exec/fakeexec"
	"github.com/stix-run/stix/client"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// checkInvariants holds after every scenario: nothing lost, nothing doubled, the cloud equal to the records.
//
//stix:bubble
func (w *world) checkInvariants() {
	w.t.Helper()
	c := w.user()
	time.Sleep(time.Minute) // whatever is still under way gets its chance
	ctx := w.t.Context()
	res, err := c.ListClusters(ctx, &stixv1.ListClustersRequest{History: true})
	if err != nil {
		w.t.Fatal(err)
	}
	recorded := map[string]bool{}
	for _, v := range res.Clusters {
		for _, n := range v.Nodes {
			if n.InstanceId != "" {
				recorded[n.InstanceId] = true
			}
		}
	}
	for _, inst := range w.cloud.Live() {
		if !recorded[inst.ID] {
			w.t.Errorf("machine %s lives, but no record has it", inst.ID)
		}
		delete(recorded, inst.ID)
	}
	for id := range recorded {
		w.t.Errorf("the records have machine %s, which does not exist", id)
	}
	w.checkRequests(c)
	w.checkRuns()
}

func (w *world) checkRequests(c *client.Client) {
	w.t.Helper()
	res, err := c.ListRequests(w.t.Context(), &stixv1.ListRequestsRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, q := range res.Requests {
		w.t.Errorf("request %s (%s) is still %s", q.Meta.Uid, q.Verb, q.State)
	}
}

// checkRuns sees to it that no assignment was started twice, and no rank of a job by two assignments.
func (w *world) checkRuns() {
	w.t.Helper()
	byUID, byRank := map[string]int{}, map[string]int{}
	for _, r := range w.runs() {
		byUID[r.UID]++
		byRank[fmt.Sprintf("%s %s rank %d", r.Order.JobUid, r.Order.Phase, r.Order.Rank)]++
	}
	for what, n := range byUID {
		if n > 1 {
			w.t.Errorf("assignment %s was started %d times", what, n)
		}
	}
	for what, n := range byRank {
		if n > 1 {
			w.t.Errorf("job %s was started %d times", what, n)
		}
	}
}

// runs are the starts on all machines, also on those that are gone.
func (w *world) runs() []fakeexec.Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []fakeexec.Run
	for _, jobs := range w.retired {
		out = append(out, jobs.Runs()...)
	}
	for _, m := range w.machines {
		out = append(out, m.jobs.Runs()...)
	}
	return out
}

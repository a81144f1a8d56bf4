//go:build integration && linux

package binaries

import (
	"fmt"
	"testing"
	"time"
)

// TestArrayOfAThousandJobsRunsEachIndexOnce runs one to the end.
func TestArrayOfAThousandJobsRunsEachIndexOnce(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.up("demo")
	const total = 1000
	h.ok("exec", "demo", "--num-jobs", fmt.Sprint(total), "-d", "echo $((STIX_JOB_INDEX+1)) >>"+h.work+"/ran; echo index $STIX_JOB_INDEX")
	count := func() (ended int) {
		for _, j := range h.jobs("demo") {
			if j.Status != "PENDING" && j.Status != "RUNNING" {
				ended++
			}
		}
		return ended
	}
	eventually(t, 2*time.Minute, "all jobs have ended", func() bool { return len(h.read("ran")) >= total && count() == total })
	h.ranOnce(total)
	jobs := h.jobs("demo")
	for i, j := range jobs {
		if j.Status != "SUCCEEDED" || j.ID != int64(i+1) || j.Index != int64(i) || len(j.ExitCodes) != 1 || j.ExitCodes[0] != 0 {
			t.Errorf("job %d is %+v", i+1, j)
		}
	}
	for _, id := range []int{1, 500, 1000} {
		matches(t, h.ok("logs", "demo", fmt.Sprint(id)).stdout, fmt.Sprintf(`(?m)^\(sky-cmd, pid=\d+\) index %d$`, id-1))
	}
	h.end()
}

// TestDownOfABusyArrayIsQuick takes clusters down in the middle of their arrays. Jobs end within a second or so; down has
// no reason to wait until its patience ends.
func TestDownOfABusyArrayIsQuick(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	for range 4 {
		h.up("demo")
		h.ok("exec", "demo", "--num-jobs", "300", "-d", "echo $STIX_JOB_INDEX >>"+h.work+"/ran")
		before := len(h.read("ran"))
		eventually(t, settleLimit, "some jobs ran", func() bool { return len(h.read("ran")) > before+20 })
		begin := time.Now()
		h.ok("down", "-y", "demo")
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("down took %v", took)
		}
		h.machinesAreRecorded(0)
	}
	h.end()
}

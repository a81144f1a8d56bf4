//go:build integration && linux

package binaries

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTourOfTheReadme types what the README shows, in its order.
func TestTourOfTheReadme(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	hello, err := os.ReadFile("../../examples/hello.yaml")
	if err != nil {
		t.Fatal(err)
	}
	h.write("hello.yaml", string(hello))

	r := h.ok("launch", "-y", "-c", "demo", "hello.yaml", "--infra", "local")
	matches(t, r.stdout,
		`(?m)^⚙︎ Job submitted, ID: 1$`,
		`(?m)^├── Waiting for task resources on 1 node\.$`,
		`(?m)^└── Job started\. Streaming logs\.\.\.`,
		`(?m)^\(hello, pid=\d+\) Hello from \S+, rank 0 of 1$`,
		`(?m)^✓ Job finished \(status: SUCCEEDED\)\.$`)
	matches(t, r.stderr, `(?m)^Started the stix server \(pid \d+\)\.$`)

	r = h.code(100, "exec", "demo", "echo again; exit 3")
	matches(t, r.stdout,
		`(?m)^\(sky-cmd, pid=\d+\) again$`,
		`(?m)^ERROR: Job 2 failed with return code list: \[3\]$`,
		`(?m)^✓ Job finished \(status: FAILED\)\.$`)
	if strings.Contains(r.stderr, "Started the stix server") {
		t.Errorf("the server is said to have been started again: %v", r)
	}

	r = h.ok("launch", "-y", "-c", "gang", "--infra", "local", "--num-nodes", "4",
		`echo rank $SKYPILOT_NODE_RANK of $SKYPILOT_NUM_NODES on $(echo "$SKYPILOT_NODE_IPS" | wc -l)`)
	matches(t, r.stdout,
		`(?m)^├── Waiting for task resources on 4 nodes\.$`,
		`(?m)^\(head, rank=0, pid=\d+\) rank 0 of 4 on 4$`,
		`(?m)^\(worker1, rank=1, pid=\d+, ip=[\d.]+\) rank 1 of 4 on 4$`,
		`(?m)^\(worker2, rank=2, pid=\d+, ip=[\d.]+\) rank 2 of 4 on 4$`,
		`(?m)^\(worker3, rank=3, pid=\d+, ip=[\d.]+\) rank 3 of 4 on 4$`)
	if n := strings.Count(r.stdout, " of 4 on 4\n"); n != 4 {
		t.Errorf("%d lines of 4 ranks: %v", n, r)
	}
	h.machinesAreRecorded(5)

	r = h.ok("exec", "demo", "--num-jobs", "1000", "-d", "echo $STIX_JOB_INDEX")
	matches(t, r.stdout, `(?m)^⚙︎ Jobs submitted, IDs: 3-1002$`)

	tourListings(h)

	r = h.ok("down", "-y", "demo", "gang")
	matches(t, r.stdout+r.stderr, `Terminated 2 clusters: demo, gang`)
	h.machinesAreRecorded(0)

	r = h.ok("logs", "demo", "1")
	matches(t, r.stdout, `(?m)^\(hello, pid=\d+\) Hello from \S+, rank 0 of 1$`, `(?m)^✓ Job finished \(status: SUCCEEDED\)\.$`)
	matches(t, h.code(100, "logs", "demo", "2").stdout, `(?m)^\(sky-cmd, pid=\d+\) again$`)

	h.end()
	// What needs no server needs none.
	matches(t, h.ok("api", "stop").stdout, `not running`)
}

// tourListings looks at what there is in the middle of the tour.
func tourListings(h *home) {
	h.t.Helper()
	t := h.t
	matches(t, h.ok("status").stdout, `(?m)^NAME +INFRA +RESOURCES +STATUS`, `(?m)^demo +Local +1x\(.*\) +UP `, `(?m)^gang +Local +4x\(.*\) +UP `)
	matches(t, h.ok("queue", "demo").stdout,
		`(?m)^ID +NAME +USER +SUBMITTED +STARTED +DURATION +RESOURCES +STATUS +LOG`,
		`(?m)^1 +hello .* SUCCEEDED +~/sky_logs/1-hello`,
		`(?m)^2 +sky-cmd .* FAILED +~/sky_logs/2-sky-cmd`,
		`(?m)^1002 +sky-cmd `)
	r := h.ok("logs", "demo", "1")
	matches(t, r.stdout, `(?m)^\(hello, pid=\d+\) Hello from \S+, rank 0 of 1$`, `(?m)^✓ Job finished \(status: SUCCEEDED\)\.$`)
	matches(t, h.ok("logs", "demo", "1", "--status").stdout, `^Job 1: SUCCEEDED\n$`)
	matches(t, h.code(100, "logs", "demo", "2", "--status").stdout, `^Job 2: FAILED\n$`)
	h.code(102, "logs", "demo", "5000", "--status")
	h.ok("cancel", "demo", "2", "-y") // final already: nothing to do
	h.ok("cancel", "demo", "1002", "-y")
	h.code(103, "logs", "demo", "1002", "--status")

	if jobs := h.jobs("demo"); len(jobs) != 1002 || jobs[0].Status != "SUCCEEDED" || jobs[1].Status != "FAILED" || jobs[1001].Index != 999 {
		t.Errorf("queue shows %d jobs: %+v, …, %+v", len(jobs), jobs[:min(2, len(jobs))], jobs[max(len(jobs)-1, 0):])
	}
	matches(t, h.ok("api", "info").stdout, `healthy`, `state in `+regexp.QuoteMeta(h.dir))
	matches(t, h.ok("api", "status", "-a").stdout, `(?m) launch `, `(?m) exec `)
	for _, listing := range [][]string{
		{"status"}, {"status", "demo"}, {"queue"}, {"queue", "demo", "gang"}, {"queue", "demo", "-s"},
		{"api", "status"}, {"api", "status", "-a"}, {"api", "info"}, {"events", "demo"},
	} {
		var any json.RawMessage
		h.json(&any, listing...)
		if len(any) < 2 {
			t.Errorf("%q gives no value: %s", listing, any)
		}
	}
}

// TestRequestsAreShownAndCancelled uses what `api` has for requests.
func TestRequestsAreShownAndCancelled(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	r := h.ok("launch", "-y", "-c", "demo", "--infra", "local", "--async", "echo hello")
	id := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}(-[0-9a-f]+)*`).FindString(r.stdout + r.stderr)
	if id == "" {
		t.Fatalf("no request id: %v", r)
	}
	matches(t, h.ok("api", "logs", id).stdout, `.`)
	h.ok("api", "get", id)
	var one json.RawMessage
	h.json(&one, "api", "get", id)
	matches(t, string(one), `"SUCCEEDED"`, `"launch"`)
	h.ok("api", "cancel", id, "-y") // it is final: nothing to do
	matches(t, h.ok("logs", "demo", "1").stdout, `(?m)^\(sky-cmd, pid=\d+\) hello$`)
	matches(t, h.ok("api", "status", "-a").stdout, `(?m)launch .* SUCCEEDED`)
	h.end()
}

// TestNothingOfAHomeIsForOthers looks at every file that a tour leaves.
func TestNothingOfAHomeIsForOthers(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.ok("launch", "-y", "-c", "demo", "--infra", "local", "umask; sleep 0.1; echo done")
	err := filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		// Below the home of a machine the job decides.
		if info.Mode()&os.ModeSymlink == 0 && info.Mode().Perm()&0o077 != 0 && !strings.Contains(path, "/home/") {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	h.end()
}

// matches checks that the text matches each pattern.
func matches(t *testing.T, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(text) {
			t.Errorf("no match of %s in\n%s", p, text)
		}
	}
}

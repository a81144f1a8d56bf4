package command

import (
	"strings"
	"testing"
	"time"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func clustersWorld(t *testing.T) *world {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	w.server.AddCluster(cluster("gang", func(c *stixv1.Cluster) {
		c.NumNodes, c.LaunchedAt, c.State, c.Reason = 4, at(5*time.Minute), stixv1.ClusterState_CLUSTER_STATE_INIT, "waiting for 2 agents"
	}))
	w.server.AddCluster(cluster("theirs", func(c *stixv1.Cluster) {
		c.Meta.Owner, c.LaunchedAt = "ffffffff", at(40*24*time.Hour)
	}))
	return w
}

func TestStatusShowsTheUsersClusters(t *testing.T) {
	w := clustersWorld(t)
	w.expect(0, `Clusters
NAME  INFRA  RESOURCES            STATUS  AUTOSTOP  LAUNCHED
gang  Local  4x(cpus=2, mem=7.5)  INIT    -         5 mins ago
demo  Local  1x(cpus=2, mem=7.5)  UP      -         3 hrs ago
`, "status")
	w.expect(0, `Clusters
NAME    USER      INFRA  RESOURCES            STATUS  AUTOSTOP  LAUNCHED
gang    ann       Local  4x(cpus=2, mem=7.5)  INIT    -         5 mins ago
demo    ann       Local  1x(cpus=2, mem=7.5)  UP      -         3 hrs ago
theirs  ffffffff  Local  1x(cpus=2, mem=7.5)  UP      -         1 month ago
`, "status", "-u")
	w.expect(0, `Clusters
NAME  WORKSPACE  INFRA  RESOURCES            STATUS  AUTOSTOP  LAUNCHED   HEAD_IP    COMMAND              LAST_EVENT
demo  default    Local  1x(cpus=2, mem=7.5)  UP      -         3 hrs ago  127.0.0.2  stix launch -c demo  -
`, "status", "-v", "demo")
}

func TestStatusOfNamesAndPatterns(t *testing.T) {
	w := clustersWorld(t)
	w.expect(0, "Clusters\nCluster 'nope' not found.\n", "status", "nope")
	w.expect(0, `Clusters
NAME    INFRA  RESOURCES            STATUS  AUTOSTOP  LAUNCHED
theirs  Local  1x(cpus=2, mem=7.5)  UP      -         1 month ago
Clusters not found: a, b.
`, "status", "th*", "a", "b")
	w.expect(0, "127.0.0.2\n", "status", "--ip", "demo")
}

func TestStatusWithoutClusters(t *testing.T) {
	w := newWorld(t)
	w.expect(0, "Clusters\nNo existing clusters.\n", "status")
	w.expect(0, "[]\n", "status", "-o", "json")
}

func TestStatusAsJSON(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	w.expect(0, `[
  {
    "name": "demo",
    "uid": "uid-demo",
    "status": "UP",
    "reason": "",
    "user_id": "0123abcd",
    "workspace": "default",
    "infra": "local",
    "region": "",
    "instance_type": "local",
    "num_nodes": 1,
    "vcpus": 2,
    "memory_gib": 7.5,
    "price_usd_hourly": 0,
    "launched_at": "2026-11-24T09:00:00Z",
    "up_since": "",
    "last_command": "stix launch -c demo",
    "head_ip": "127.0.0.2",
    "nodes": [
      {
        "index": 0,
        "uid": "node-demo",
        "state": "LAUNCHED",
        "agent": "READY",
        "instance_id": "m-1",
        "ip": "127.0.0.2",
        "last_error": ""
      }
    ]
  }
]
`, "status", "-o", "json")
}

func TestColoursOnlyOnATerminalThatWantsThem(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	w.sys.StdoutTerminal = true
	for _, c := range []struct {
		name, value string
		color       bool
	}{{"TERM", "xterm", true}, {"NO_COLOR", "1", false}, {"TERM", "dumb", false}} {
		w.env = map[string]string{"STIX_HOME": w.state, c.name: c.value}
		_, out, _ := w.run("status")
		if got := strings.Contains(out, "\x1b[32mUP\x1b[0m"); got != c.color {
			t.Errorf("with %s=%s colour is %v:\n%q", c.name, c.value, got, out)
		}
	}
}

func TestTablesFitTheTerminal(t *testing.T) {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", func(c *stixv1.Cluster) {
		c.LastCommand = "stix launch -c demo 'echo 訓練を開始します some more words'"
	}))
	w.sys.StdoutTerminal = true
	w.env["NO_COLOR"] = "1"
	for _, width := range []int{100, 120, 150} {
		w.sys.Width = func() int { return width }
		_, out, _ := w.run("status", "-v")
		for line := range strings.Lines(out) {
			if n := columns(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("%d columns on a terminal of %d: %s", n, width, line)
			}
		}
		contains(t, out, "demo", "UP")
	}
}

func TestTableAlignsWideCharacters(t *testing.T) {
	tab := &table{header: []string{"NAME", "TEXT"}}
	tab.add(plain("訓練", "a")...)
	tab.add(plain("e\u0301tude", "b\nc")...)
	var b strings.Builder
	if err := tab.write(&b, 0, style{}); err != nil {
		t.Fatal(err)
	}
	want := "NAME   TEXT\n訓練   a\ne\u0301tude  b c\n"
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestCutKeepsToTheColumns(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{{"abcdefgh", 8, "abcdefgh"}, {"abcdefghi", 8, "abcde..."}, {"訓練を開始", 8, "訓練..."}, {"abcdef", 3, "..."}, {"abcdef", 2, ".."}} {
		if got := cut(c.text, c.n); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.text, c.n, got, c.want)
		}
	}
}

func queueWorld(t *testing.T) *world {
	w := newWorld(t)
	w.server.AddCluster(cluster("demo", nil))
	add := func(name string, edit func(*stixv1.Job)) {
		w.server.AddJob("demo", func(v *stixv1.JobView) {
			v.UserName, v.LogPath = "ann", "~/sky_logs/"+name
			v.Job.Meta.Name, v.Job.Meta.Owner = name, "0123abcd"
			edit(v.Job)
		})
	}
	add("hello", func(j *stixv1.Job) {
		j.Meta.CreatedAt, j.StartedAt, j.EndedAt = at(2*time.Hour), at(2*time.Hour-time.Second), at(2*time.Hour-75*time.Second)
		j.State, j.ExitCodes = stixv1.JobState_JOB_STATE_SUCCEEDED, []int32{0}
	})
	add("train", func(j *stixv1.Job) {
		j.Meta.CreatedAt, j.StartedAt = at(90*time.Second), at(80*time.Second)
		j.State = stixv1.JobState_JOB_STATE_RUNNING
	})
	add("", func(j *stixv1.Job) { j.Meta.CreatedAt, j.Meta.Owner = at(5*time.Second), "ffffffff" })
	return w
}

func TestQueueShowsJobs(t *testing.T) {
	w := queueWorld(t)
	w.expect(0, `
Job queue of cluster demo
ID  NAME   USER  SUBMITTED  STARTED    DURATION  RESOURCES   STATUS     LOG               GIT COMMIT
2   train  ann   1 min ago  1 min ago  1m 20s    1x[CPU:1+]  RUNNING    ~/sky_logs/train  -
1   hello  ann   2 hrs ago  1 hr ago   1m 14s    1x[CPU:1+]  SUCCEEDED  ~/sky_logs/hello  -
`, "queue", "demo")
	w.expect(0, `
Job queue of cluster demo
ID  NAME   USER  SUBMITTED       STARTED    DURATION  RESOURCES   STATUS   LOG               GIT COMMIT
3   -      ann   a few secs ago  -          -         1x[CPU:1+]  PENDING  ~/sky_logs/       -
2   train  ann   1 min ago       1 min ago  1m 20s    1x[CPU:1+]  RUNNING  ~/sky_logs/train  -
`, "queue", "-u", "-s", "demo")
}

func TestQueueOfAllClusters(t *testing.T) {
	w := queueWorld(t)
	w.server.AddCluster(cluster("other", nil))
	code, out, _ := w.run("queue")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	contains(t, out, "Job queue of cluster demo\n", "Job queue of cluster other\nNo jobs.\n")
}

func TestQueueTellsOfAClusterThatFailsAndGoesOn(t *testing.T) {
	w := queueWorld(t)
	code, out, stderr := w.run("queue", "nope", "demo")
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	contains(t, out, "Job queue of cluster demo")
	contains(t, stderr, "Failed to get the job queue for cluster 'nope'.\n  Cluster 'nope' does not exist.")
}

func TestQueueAsJSON(t *testing.T) {
	w := queueWorld(t)
	code, out, _ := w.run("queue", "demo", "-o", "json", "-s")
	want := `[
  {
    "cluster": "demo",
    "job_id": 2,
    "uid": "job-demo-2",
    "name": "train",
    "user": "ann",
    "user_id": "0123abcd",
    "status": "RUNNING",
    "reason": "",
    "num_nodes": 1,
    "resources": "1x[CPU:1+]",
    "submitted_at": "2026-11-24T11:58:30Z",
    "started_at": "2026-11-24T11:58:40Z",
    "ended_at": "",
    "exit_codes": [],
    "array_index": 0,
    "array_size": 0,
    "log_path": "~/sky_logs/train"
  }
]
`
	if code != 0 || out != want {
		t.Errorf("exit code %d, output:\n%s\nwant:\n%s", code, out, want)
	}
	w.expect(0, "[]\n", "queue", "-o", "json", "nope*")
}

func TestTimesAreWordsOfPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "a few secs ago", 44 * time.Second: "44 secs ago", time.Minute: "1 min ago", 59 * time.Minute: "59 mins ago",
		time.Hour: "1 hr ago", 23 * time.Hour: "23 hrs ago", 24 * time.Hour: "1 day ago", 8 * 24 * time.Hour: "1 week ago",
		90 * 24 * time.Hour: "3 months ago", 800 * 24 * time.Hour: "2 years ago",
	} {
		if got := ago(now, at(d)); got != want {
			t.Errorf("%v ago is %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 61 * time.Second: "1m 1s", 2*time.Hour + 5*time.Second: "2h 5s", 25*time.Hour + time.Minute + time.Second: "1d 1h 1m",
	} {
		if got := span(d); got != want {
			t.Errorf("span of %v is %q, want %q", d, got, want)
		}
	}
}

func TestRangesOfJobs(t *testing.T) {
	for want, numbers := range map[string][]int64{"5-8,11": {11, 5, 6, 8, 7, 7}, "1": {1}, "1-1000": span64(1, 1000), "": nil} {
		if got := ranges(numbers); got != want {
			t.Errorf("ranges(%v) = %q, want %q", numbers, got, want)
		}
	}
}

func TestRangesAreRead(t *testing.T) {
	for text, want := range map[string]string{"5": "5", "5-8": "5-8", "7-7": "7"} {
		if got, ok := parseRange(text); !ok || ranges(got) != want {
			t.Errorf("%q is %v %v, want %s", text, got, ok, want)
		}
	}
	for _, bad := range []string{"", "x", "-5", "5-", "8-5", "1-99999999999", "1-2-3"} {
		if got, ok := parseRange(bad); ok {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func TestInfraIsShownAsSkyPilotDoes(t *testing.T) {
	for _, c := range [][3]string{
		{"local", "", "Local"}, {"aws", "us-east-1", "AWS (us-east-1)"}, {"aws/us-east-1/us-east-1a", "", "AWS (us-east-1a)"},
		{"kubernetes", "a-very-long-name-of-a-context-somewhere", "Kubernetes (a-very-long...t-somewhere)"}, {"", "", "-"},
	} {
		if got := infraText(c[0], c[1]); got != c[2] {
			t.Errorf("infra %q is shown as %q, want %q", c[0], got, c[2])
		}
	}
}

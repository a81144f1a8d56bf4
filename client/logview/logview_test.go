package logview

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const (
	waiting  = "├── Waiting for task resources on 1 node.\n"
	started  = "└── Job started. Streaming logs... (Ctrl-C to exit log streaming; job will not be killed)\n"
	finished = "✓ Job finished (status: SUCCEEDED).\n"
)

func head(edit func(*stixv1.LogHead)) *stixv1.LogsResponse {
	h := &stixv1.LogHead{JobUid: "j", Number: 1, JobName: "sky-cmd", ClusterName: "c", ClusterNodes: 1, NumNodes: 1}
	if edit != nil {
		edit(h)
	}
	return &stixv1.LogsResponse{Message: &stixv1.LogsResponse_Head{Head: h}}
}

func state(s stixv1.JobState, codes ...int32) *stixv1.LogsResponse {
	return &stixv1.LogsResponse{Message: &stixv1.LogsResponse_State{State: &stixv1.LogState{
		State: s, ExitCodes: codes, Final: s >= stixv1.JobState_JOB_STATE_FAILED_DRIVER,
	}}}
}

func chunk(data string, edit func(*stixv1.LogChunk)) *stixv1.LogsResponse {
	c := &stixv1.LogChunk{AssignmentUid: "a", Phase: stixv1.Phase_PHASE_RUN, Pid: 7, Data: []byte(data)}
	if edit != nil {
		edit(c)
	}
	return &stixv1.LogsResponse{Message: &stixv1.LogsResponse_Chunk{Chunk: c}}
}

// show renders messages and closes the view.
func show(t *testing.T, cfg Config, messages ...*stixv1.LogsResponse) string {
	t.Helper()
	var out bytes.Buffer
	cfg.Out = &out
	v := New(cfg)
	for _, m := range messages {
		if err := v.Show(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestJobIsShownWithItsMarkers(t *testing.T) {
	got := show(t, Config{}, head(nil), state(stixv1.JobState_JOB_STATE_PENDING), state(stixv1.JobState_JOB_STATE_RUNNING),
		chunk("hel", nil), chunk("lo\nworld\n", nil), state(stixv1.JobState_JOB_STATE_SUCCEEDED, 0))
	expect(t, got, waiting+started+"(sky-cmd, pid=7) hello\n(sky-cmd, pid=7) world\n"+finished)
}

func TestPendingJobShowsThatItWaits(t *testing.T) {
	got := show(t, Config{Tail: 1000}, head(func(h *stixv1.LogHead) { h.NumNodes = 3 }), state(stixv1.JobState_JOB_STATE_PENDING))
	expect(t, got, "├── Waiting for task resources on 3 nodes.\n")
}

func TestPrefixes(t *testing.T) {
	setup := func(c *stixv1.LogChunk) { c.Phase = stixv1.Phase_PHASE_SETUP }
	cases := []struct {
		name  string
		nodes int32
		job   string
		edit  func(*stixv1.LogChunk)
		want  string
	}{
		{"setup on the head", 2, "x", setup, "(setup pid=7)"},
		{"setup elsewhere", 2, "x", func(c *stixv1.LogChunk) { setup(c); c.NodeIndex, c.Ip = 1, "10.0.0.2" }, "(setup pid=7, ip=10.0.0.2)"},
		{"one node", 1, "train", nil, "(train, pid=7)"},
		{"one node, no name", 1, "", nil, "(task, pid=7)"},
		{"head of several", 2, "train", func(c *stixv1.LogChunk) { c.Rank = 1 }, "(head, rank=1, pid=7)"},
		{"worker", 4, "train", func(c *stixv1.LogChunk) { c.Rank, c.NodeIndex, c.Ip = 0, 3, "10.0.0.4" }, "(worker3, rank=0, pid=7, ip=10.0.0.4)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := show(t, Config{}, head(func(h *stixv1.LogHead) { h.ClusterNodes, h.JobName = c.nodes, c.job }), chunk("x\n", c.edit))
			expect(t, got, waiting+started+c.want+" x\n")
		})
	}
}

func TestLinesOfTwoNodesAreNotMixed(t *testing.T) {
	other := func(c *stixv1.LogChunk) { c.AssignmentUid, c.Pid = "b", 8 }
	got := show(t, Config{}, head(nil), chunk("one ", nil), chunk("two ", other), chunk("line\n", nil), chunk("lines\n", other))
	expect(t, got, waiting+started+"(sky-cmd, pid=7) one line\n(sky-cmd, pid=8) two lines\n")
}

func TestLastLineWithoutAnEndIsShownWhenTheLogIsComplete(t *testing.T) {
	got := show(t, Config{}, head(nil), chunk("no newline", nil), chunk("", func(c *stixv1.LogChunk) { c.Complete = true }),
		state(stixv1.JobState_JOB_STATE_SUCCEEDED, 0))
	expect(t, got, waiting+started+"(sky-cmd, pid=7) no newline\n"+finished)
}

func TestCarriageReturnsAreKept(t *testing.T) {
	want := "(sky-cmd, pid=7) 10%\r(sky-cmd, pid=7) 20%\r\n(sky-cmd, pid=7) done\n"
	for _, pieces := range [][]string{{"10%\r20%\r\ndone\n"}, {"10%", "\r", "20%\r", "\n", "done\n"}, {"10%\r20%", "\r\n", "done", "\n"}} {
		messages := []*stixv1.LogsResponse{head(nil)}
		for _, p := range pieces {
			messages = append(messages, chunk(p, nil))
		}
		expect(t, show(t, Config{}, messages...), waiting+started+want)
	}
}

func TestProgressBarIsShownAsItMoves(t *testing.T) {
	var out bytes.Buffer
	v := New(Config{Out: &out})
	for _, m := range []*stixv1.LogsResponse{head(nil), chunk("10%\r", nil)} {
		if err := v.Show(m); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, out.String(), waiting+started+"(sky-cmd, pid=7) 10%\r")
}

func TestVeryLongLineIsShownAsItComes(t *testing.T) {
	long := strings.Repeat("x", openLine+1)
	var out bytes.Buffer
	v := New(Config{Out: &out})
	other := func(c *stixv1.LogChunk) { c.AssignmentUid, c.Pid = "b", 8 }
	for _, m := range []*stixv1.LogsResponse{head(nil), chunk(long, nil), chunk("y\n", nil), chunk(long, nil), chunk("other\n", other), chunk("z\n", nil)} {
		if err := v.Show(m); err != nil {
			t.Fatal(err)
		}
	}
	// The second long line is broken by the other node's, and goes on with its prefix.
	expect(t, out.String(), waiting+started+"(sky-cmd, pid=7) "+long+"y\n(sky-cmd, pid=7) "+long+"\n(sky-cmd, pid=8) other\n(sky-cmd, pid=7) z\n")
}

func TestFailuresAreExplained(t *testing.T) {
	failed := stixv1.JobState_JOB_STATE_FAILED
	cases := []struct {
		state *stixv1.LogState
		want  string
	}{
		{&stixv1.LogState{State: failed, ExitCodes: []int32{3}}, "ERROR: Job 1 failed with return code list: [3]\n"},
		{&stixv1.LogState{State: failed, ExitCodes: []int32{137, 1}},
			"ERROR: Job 1 failed with return code list: [137, 1] (A worker failed with return code 1, stix cleaned up the processes on other nodes with return code 137)\n"},
		{&stixv1.LogState{State: failed, ExitCodes: []int32{139}}, "ERROR: Job 1 failed with return code list: [139] (likely due to a segmentation fault)\n"},
		{&stixv1.LogState{State: failed, ExitCodes: []int32{137, 137}},
			"ERROR: Job 1 failed with return code list: [137, 137] (killed by SIGKILL, for example because the machine ran out of memory)\n"},
		{&stixv1.LogState{State: stixv1.JobState_JOB_STATE_FAILED_SETUP, ExitCodes: []int32{1, 0, 2}, Pids: []int64{10, 11, 12}},
			"ERROR: Job 1's setup failed. Failed workers: (pid=10, returncode=1), (pid=12, returncode=2). See error logs above for more details.\n"},
		{&stixv1.LogState{State: stixv1.JobState_JOB_STATE_FAILED_DRIVER, Reason: "node 1 is gone"}, "ERROR: Job 1 was lost: node 1 is gone\n"},
	}
	for _, c := range cases {
		c.state.Final = true
		got := show(t, Config{}, head(nil), chunk("x\n", nil), &stixv1.LogsResponse{Message: &stixv1.LogsResponse_State{State: c.state}})
		want := waiting + started + "(sky-cmd, pid=7) x\n" + c.want + fmt.Sprintf("✓ Job finished (status: %s).\n", StateName(c.state.GetState()))
		expect(t, got, want)
	}
}

func TestJobCancelledInTheQueueDidNotStart(t *testing.T) {
	got := show(t, Config{}, head(nil), state(stixv1.JobState_JOB_STATE_PENDING), state(stixv1.JobState_JOB_STATE_CANCELLED))
	expect(t, got, waiting+"✓ Job finished (status: CANCELLED).\n")
}

func TestSilentJobShowsItsMarkers(t *testing.T) {
	got := show(t, Config{Tail: 1000}, head(nil), state(stixv1.JobState_JOB_STATE_RUNNING), state(stixv1.JobState_JOB_STATE_SUCCEEDED, 0))
	expect(t, got, waiting+started+finished)
}

func TestMarkersAreLeftOutWhenTheBeginningIs(t *testing.T) {
	got := show(t, Config{Tail: 1}, head(nil), state(stixv1.JobState_JOB_STATE_RUNNING),
		chunk("last\n", func(c *stixv1.LogChunk) { c.Offset = 1000 }), state(stixv1.JobState_JOB_STATE_SUCCEEDED, 0))
	expect(t, got, "(sky-cmd, pid=7) last\n"+finished)
}

func TestLastLinesAreOfTheMergedLog(t *testing.T) {
	setup := func(c *stixv1.LogChunk) { c.AssignmentUid, c.Phase = "s", stixv1.Phase_PHASE_SETUP }
	got := show(t, Config{Tail: 2, LastLines: 2}, head(nil), chunk("s1\ns2\n", setup), chunk("r1\nr2", nil))
	expect(t, got, "(sky-cmd, pid=7) r1\n(sky-cmd, pid=7) r2\n")
}

func TestTailOfAJobThatIsOverIsOfTheMergedLog(t *testing.T) {
	over := head(func(h *stixv1.LogHead) { h.Over = true })
	setup := func(c *stixv1.LogChunk) { c.AssignmentUid, c.Phase = "s", stixv1.Phase_PHASE_SETUP }
	messages := []*stixv1.LogsResponse{
		over, chunk("s1\ns2\n", setup), chunk("r1\nr2\n", nil), state(stixv1.JobState_JOB_STATE_SUCCEEDED, 0),
	}
	expect(t, show(t, Config{Tail: 3}, messages...), "(setup pid=7) s2\n(sky-cmd, pid=7) r1\n(sky-cmd, pid=7) r2\n"+finished)
	expect(t, show(t, Config{Tail: 100}, messages...),
		waiting+started+"(setup pid=7) s1\n(setup pid=7) s2\n(sky-cmd, pid=7) r1\n(sky-cmd, pid=7) r2\n"+finished)
	// The stream broke and came back in between.
	expect(t, show(t, Config{Tail: 1}, over, chunk("r1\n", nil), over, chunk("r2\n", nil), state(stixv1.JobState_JOB_STATE_SUCCEEDED, 0)),
		"(sky-cmd, pid=7) r2\n"+finished)
}

func TestColours(t *testing.T) {
	got := show(t, Config{Color: true}, head(nil), chunk("x\n", nil), state(stixv1.JobState_JOB_STATE_FAILED, 3))
	want := "\x1b[2m├── \x1b[0m\x1b[2mWaiting for task resources on 1 node.\x1b[0m\n" +
		"\x1b[2m└── \x1b[0mJob started. Streaming logs... \x1b[2m(Ctrl-C to exit log streaming; job will not be killed)\x1b[0m\n" +
		"\x1b[36m(sky-cmd, pid=7)\x1b[0m x\n" +
		"\x1b[31mERROR: \x1b[0mJob 1 failed with return code list: [3]\n" +
		"\x1b[32m✓\x1b[0m Job finished (status: FAILED).\n"
	expect(t, got, want)
}

func TestLateBytesAreNoticedAndNotPartOfTheLog(t *testing.T) {
	var notices []string
	cfg := Config{Notice: func(text string) { notices = append(notices, text) }}
	wait := &stixv1.LogsResponse{Message: &stixv1.LogsResponse_Wait{Wait: &stixv1.LogWait{Text: "node 1 is unreachable"}}}
	expect(t, show(t, cfg, head(nil), wait), "")
	if len(notices) != 1 || notices[0] != "node 1 is unreachable" {
		t.Errorf("notices %q", notices)
	}
}

// FuzzPiecesMakeNoDifference cuts a log at random places: the text must be the
// same as in one piece.
func FuzzPiecesMakeNoDifference(f *testing.F) {
	f.Add([]byte("a\r\nb\rc\n\nd"), uint64(1))
	f.Add([]byte("\r\r\n\n\r"), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		whole := show(t, Config{}, head(nil), chunk(string(data), nil))
		rnd := rand.New(rand.NewPCG(seed, seed))
		messages := []*stixv1.LogsResponse{head(nil), chunk("", nil)}
		for rest := data; len(rest) > 0; {
			n := 1 + rnd.IntN(len(rest))
			messages = append(messages, chunk(string(rest[:n]), nil))
			rest = rest[n:]
		}
		if pieces := show(t, Config{}, messages...); pieces != whole {
			t.Errorf("in pieces %q, whole %q", pieces, whole)
		}
	})
}

func BenchmarkShow(b *testing.B) {
	data := strings.Repeat(strings.Repeat("x", 79)+"\n", 400)
	v := New(Config{Out: discard{}})
	v.Show(head(nil))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		v.Show(chunk(data, nil))
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

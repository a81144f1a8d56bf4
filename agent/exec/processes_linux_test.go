package exec

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stix-run/stix/internal/ids"
	"github.com/stix-run/stix/internal/testlog"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// node is a machine for one test.
type node struct {
	t    testing.TB
	home string
	dir  string
	uid  string // of the job, the test's own: lost ones are found by it on the whole machine
	exec *Processes
}

func newNode(t testing.TB) *node {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, home: t.TempDir(), dir: t.TempDir(), uid: ids.New()}
	n.exec, err = NewProcesses(ProcessConfig{
		Dir: n.dir, Shim: []string{self, "shim"}, BootID: "boot",
		Env:     []string{"GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"},
		LogSize: fileSize,
		Logger:  testlog.New(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (n *node) job(uid, text string) Job {
	return Job{Home: n.home, Order: &stixv1.Order{
		AssignmentUid: uid, LogDir: "1-x", LogFile: "tasks/" + uid + ".log", Script: text, Phase: stixv1.Phase_PHASE_RUN,
	}}
}

func (n *node) start(j Job) Process {
	n.t.Helper()
	p, err := n.exec.Start(n.t.Context(), j)
	if err != nil {
		n.t.Fatal(err)
	}
	if p.Started().PID == 0 {
		n.t.Fatal("no shell was started")
	}
	return p
}

func wait(t testing.TB, p Process) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := p.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (n *node) run(text string) (Result, string) {
	n.t.Helper()
	j := n.job(n.uid, text)
	r := wait(n.t, n.start(j))
	return r, n.log(j)
}

func (n *node) log(j Job) string {
	n.t.Helper()
	path, err := LogPath(n.home, j.Order)
	if err != nil {
		n.t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		n.t.Fatal(err)
	}
	return string(data)
}

// followed returns when the log of a job has a text.
func (n *node) followed(j Job, text string) string {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if log := n.log(j); strings.Contains(log, text) {
			return log
		}
		if err := pause(n.t.Context(), 2*time.Millisecond); err != nil {
			n.t.Fatal(err)
		}
	}
	n.t.Fatalf("log never had %q: %q", text, n.log(j))
	return ""
}

func TestOutputIsExactlyWhatTheScriptWrote(t *testing.T) {
	r, log := newNode(t).run("echo out; echo err >&2; printf 'no newline'; printf '\\0\\377\\r\\n'; echo 'wow!!'")
	if r.Outcome != stixv1.Outcome_OUTCOME_EXITED || r.ExitCode != 0 {
		t.Fatalf("result %+v", r)
	}
	if want := "out\nerr\nno newline\x00\xff\r\nwow!!\n"; log != want {
		t.Fatalf("log %q, want %q", log, want)
	}
	if r.LogBytes != int64(len(log)) {
		t.Fatalf("%d bytes reported of %d", r.LogBytes, len(log))
	}
}

func TestExitCodeIsThatOfTheLastCommandOrSignal(t *testing.T) {
	for text, want := range map[string]int32{
		"":                        0,
		"exit 3":                  3,
		"false":                   1,
		"false; true":             0,
		"nosuchcommand":           127,
		"exit 256":                0,
		"bash -c 'kill -SEGV $$'": 139,
		"kill -9 $$":              137,
		"trap 'exit 9' EXIT":      9,
	} {
		if r, log := newNode(t).run(text); r.ExitCode != want || r.Outcome != stixv1.Outcome_OUTCOME_EXITED {
			t.Errorf("%q: %+v, want %d; log %q", text, r, want, log)
		}
	}
}

func TestTheShellIsWhatTasksExpect(t *testing.T) {
	n := newNode(t)
	if err := os.WriteFile(filepath.Join(n.home, ".bashrc"), []byte("case $- in *i*) ;; *) return;; esac\nFROM_RC=yes\nalias hi='echo aliased'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	j := n.job(n.uid, `echo "flags ${-//[^i]/} rc $FROM_RC cwd $PWD unbuffered $PYTHONUNBUFFERED"
hi
shopt -q login_shell && echo login
[ -t 0 ] || [ -t 1 ] || echo "no tty"
read line || echo "stdin ended"
echo "$A|$B|${GONE-unset}|$HOME"
ps -o sid= -p $$ | tr -d ' '; echo $$
ls /proc/$$/fd | tr '\n' ' '
[ $(ulimit -n) -ge 4096 ] && echo files`)
	j.Order.Envs = []*stixv1.Env{{Name: "A", Value: "it's $HOME `x` \"!\"\\"}, {Name: "B", Value: "two\nlines"}, {Name: "GONE", Value: "x"}}
	j.Order.Unset = []string{"GONE"}
	r := wait(t, n.start(j))
	lines := strings.Split(n.log(j), "\n")
	want := []string{
		"flags i rc yes cwd " + n.home + "/sky_workdir unbuffered 1", "aliased", "no tty", "stdin ended",
		"it's $HOME `x` \"!\"\\|two", "lines|unset|" + n.home,
	}
	for i, w := range want {
		if i >= len(lines) || lines[i] != w {
			t.Fatalf("line %d of %q, want %q", i, lines, w)
		}
	}
	if lines[6] != lines[7] {
		t.Errorf("session %s is not the shell's own %s", lines[6], lines[7])
	}
	if r.ExitCode != 0 {
		t.Errorf("result %+v: %q", r, lines)
	}
}

func TestNoFileHoldsASecret(t *testing.T) {
	n := newNode(t)
	secret := "s3cr3t-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	j := n.job(n.uid, "echo begin; sleep 100; echo "+secret)
	j.Order.Envs = []*stixv1.Env{{Name: "TOKEN", Value: secret}}
	p := n.start(j)
	n.followed(j, "begin")
	search(t, secret, n.home, n.dir)
	p.Kill(0)
	if r := wait(t, p); r.Outcome != stixv1.Outcome_OUTCOME_KILLED {
		t.Fatalf("result %+v", r)
	}
	j2 := n.job("b", "true")
	j2.Order.Envs = j.Order.Envs
	wait(t, n.start(j2))
	search(t, secret, n.home, n.dir)
}

func search(t *testing.T, secret string, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%s has the secret", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFilesAreTheUsersAlone(t *testing.T) {
	n := newNode(t)
	j := n.job(n.uid, "true")
	wait(t, n.start(j))
	log, err := LogPath(n.home, j.Order)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		log: 0o600, filepath.Dir(log): 0o700 | os.ModeDir,
		filepath.Join(n.dir, n.uid): 0o700 | os.ModeDir, filepath.Join(n.dir, n.uid, fileExit): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestHundredMegabytesArriveWithoutLoss(t *testing.T) {
	n := newNode(t)
	j := n.job(n.uid, "yes 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd | head -c 130000000; echo; echo end")
	r := wait(t, n.start(j))
	path, err := LogPath(n.home, j.Order)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != 130000005 || r.LogBytes != 130000005 {
		t.Fatalf("%d bytes, %d reported, %v", info.Size(), r.LogBytes, err)
	}
}

// gone returns when no process with a pid is left, zombies aside.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return
		}
		if _, state, ok := parseStat(data); ok && state == 'Z' {
			return
		}
		if err := pause(t.Context(), 2*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("process %d is still there", pid)
}

// pids returns the numbers that a job wrote in lines "NAME PID".
func pids(t *testing.T, log string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for line := range strings.Lines(log) {
		name, number, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		if pid, err := strconv.Atoi(number); err == nil {
			found[name] = pid
		}
	}
	return found
}

const stubborn = `
trap '' TERM
(trap '' TERM; setsid bash -c 'trap "" TERM; echo daemon $$; (setsid sleep 1000 & echo deep $!) ; while :; do sleep 1; done' &)
(while :; do sleep 0.2; done) & echo child $!
echo shell $$
echo ready
while :; do sleep 0.1; done`

func TestKillEndsWhatIgnoresSIGTERMDoubleForksAndDaemonises(t *testing.T) {
	n := newNode(t)
	j := n.job(n.uid, stubborn)
	p := n.start(j)
	n.followed(j, "ready")
	log := n.followed(j, "deep")
	p.Kill(200 * time.Millisecond)
	if r := wait(t, p); r.Outcome != stixv1.Outcome_OUTCOME_KILLED || r.ExitCode != 137 || r.Message != "" {
		t.Fatalf("result %+v", r)
	}
	for name, pid := range pids(t, log) {
		t.Log(name, pid)
		gone(t, pid)
	}
	if got := len(pids(t, log)); got != 4 {
		t.Fatalf("test saw %d processes: %q", got, log)
	}
}

func TestKillLetsAHandlerFinishAndTheScriptGoesNoFurther(t *testing.T) {
	n := newNode(t)
	j := n.job(n.uid, `python3 -c '
import signal, sys, time
def bye(*_):
    sys.stdout.write("cleaned up\n"); sys.stdout.flush(); sys.exit(0)
signal.signal(signal.SIGTERM, bye)
sys.stdout.write("ready\n"); sys.stdout.flush()
while True:
    time.sleep(0.05)'
echo carried on`)
	p := n.start(j)
	n.followed(j, "ready\n")
	before := time.Now()
	p.Kill(20 * time.Second)
	r := wait(t, p)
	if log := n.log(j); log != "ready\ncleaned up\n" || r.ExitCode != 137 {
		t.Fatalf("log %q, result %+v", log, r)
	}
	if took := time.Since(before); took > 5*time.Second {
		t.Fatalf("waited for the whole grace: %v", took)
	}
}

func TestKillEndsAForkBomb(t *testing.T) {
	n := newNode(t)
	j := n.job(n.uid, "echo ready; f() { sleep 0.01; [ $(ps -e | wc -l) -lt 400 ] && { f & f & }; sleep 0.2; f; }; f")
	p := n.start(j)
	n.followed(j, "ready")
	p.Kill(50 * time.Millisecond)
	if r := wait(t, p); r.Outcome != stixv1.Outcome_OUTCOME_KILLED || r.Message != "" {
		t.Fatalf("result %+v", r)
	}
	if left := marked(n.uid); len(left) != 0 {
		t.Fatalf("left: %v", left)
	}
}

func TestRunEndsWithItsShellAndSetupLeavesServices(t *testing.T) {
	n := newNode(t)
	text := "nohup sleep 1000 >/dev/null 2>&1 & echo service $!"
	run := n.job("run", text)
	wait(t, n.start(run))
	gone(t, pids(t, n.log(run))["service"])

	setup := n.job("setup", text)
	setup.Order.Phase = stixv1.Phase_PHASE_SETUP
	wait(t, n.start(setup))
	service := pids(t, n.log(setup))["service"]
	if err := syscall.Kill(service, 0); err != nil {
		t.Fatalf("service of setup: %v", err)
	}
	_ = syscall.Kill(service, syscall.SIGKILL)
}

func TestBackgroundWriterIsGivenTimeToFlush(t *testing.T) {
	_, log := newNode(t).run("(sleep 0.3; echo late) & echo first")
	if log != "first\nlate\n" {
		t.Fatalf("log %q", log)
	}
}

func TestKilledShimIsALostJobWithoutProcesses(t *testing.T) {
	n := newNode(t)
	j := n.job(n.uid, stubborn)
	p := n.start(j)
	n.followed(j, "ready")
	log := n.followed(j, "deep")
	s, err := readStart(filepath.Join(n.dir, n.uid))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.ShimPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r := wait(t, p)
	if r.Outcome != stixv1.Outcome_OUTCOME_LOST || r.Message == "" || r.LogBytes == 0 {
		t.Fatalf("result %+v", r)
	}
	for _, pid := range pids(t, log) {
		gone(t, pid)
	}
}

func TestPreparedShimEndsWithItsContext(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithCancel(t.Context())
	j := n.job(n.uid, "true")
	if err := n.exec.Prepare(ctx, j); err != nil {
		t.Fatal(err)
	}
	n.exec.mu.Lock()
	pid := n.exec.prepared[n.uid].cmd.Process.Pid
	n.exec.mu.Unlock()
	cancel()
	gone(t, pid)
	if _, ok, err := n.exec.Adopt(t.Context(), j); ok || err != nil {
		t.Fatalf("adopted what never began: %v, %v", ok, err)
	}
}

func TestOrdersThatReachOutsideAreRefused(t *testing.T) {
	n := newNode(t)
	for name, change := range map[string]func(*stixv1.Order){
		"uid":    func(o *stixv1.Order) { o.AssignmentUid = "../x" },
		"log":    func(o *stixv1.Order) { o.LogFile = "../../../x" },
		"env":    func(o *stixv1.Order) { o.Envs = []*stixv1.Env{{Name: "A=1;x"}} },
		"unset":  func(o *stixv1.Order) { o.Unset = []string{"a b"} },
		"script": func(o *stixv1.Order) { o.Script = "a\x00b" },
	} {
		j := n.job(n.uid, "true")
		change(j.Order)
		if _, err := n.exec.Start(t.Context(), j); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestJobThatCannotStartSaysWhy(t *testing.T) {
	n := newNode(t)
	if err := os.WriteFile(filepath.Join(n.home, "sky_logs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.exec.Start(t.Context(), n.job(n.uid, "true")); err == nil || !strings.Contains(err.Error(), "sky_logs") {
		t.Fatalf("got %v", err)
	}
}

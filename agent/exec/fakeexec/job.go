package fakeexec

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stix-run/stix/agent/exec"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// job is one job and its log.
type job struct {
	began   bool // guarded by the mutex of the Machine
	started exec.Started
	killed  chan time.Duration // grace, cap 1
	gone    chan struct{}      // closed by vanish
	over    chan struct{}      // closed when result is set

	mu       sync.Mutex
	result   exec.Result
	output   []byte
	readers  map[*Log]bool
	vanished bool
}

func newJob() *job {
	return &job{
		killed: make(chan time.Duration, 1), gone: make(chan struct{}), over: make(chan struct{}),
		readers: map[*Log]bool{},
	}
}

func (j *job) begin(pid int64) {
	j.began = true
	j.started = exec.Started{PID: pid, At: time.Now().UnixNano()}
}

func (j *job) alive() bool {
	select {
	case <-j.over:
		return false
	default:
		return j.began
	}
}

func (j *job) vanish() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.vanished {
		j.vanished = true
		close(j.gone)
	}
}

// interpreter is a script on its way.
type interpreter struct {
	job      *job
	envs     map[string]string
	stubborn bool
	code     int32
}

func (j *job) run(o *stixv1.Order) {
	in := &interpreter{job: j, envs: map[string]string{}}
	for _, e := range o.GetEnvs() {
		in.envs[e.GetName()] = e.GetValue()
	}
	r := in.script(o.GetScript())
	j.mu.Lock()
	defer j.mu.Unlock()
	r.At, r.LogBytes = time.Now().UnixNano(), int64(len(j.output))
	j.result = r
	close(j.over)
}

func (in *interpreter) script(text string) exec.Result {
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ';' }) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if r, done := in.command(line); done {
			return r
		}
	}
	return exec.Result{Outcome: stixv1.Outcome_OUTCOME_EXITED, ExitCode: in.code}
}

func (in *interpreter) command(line string) (exec.Result, bool) {
	name, arg, _ := strings.Cut(line, " ")
	in.code = 0
	switch name {
	case "print", "echo":
		in.job.write([]byte(os.Expand(arg, func(n string) string { return in.envs[n] }) + "\n"))
	case "fill":
		n, _ := strconv.Atoi(arg)
		in.job.write(bytes.Repeat([]byte("x"), n))
	case "sleep":
		return in.wait(parseSleep(arg))
	case "hang":
		return in.wait(1 << 62)
	case "stubborn":
		in.stubborn = true
	case "exit":
		n, _ := strconv.Atoi(arg)
		return exec.Result{Outcome: stixv1.Outcome_OUTCOME_EXITED, ExitCode: int32(n)}, true
	case "crash":
		return lost(), true
	default:
		in.job.write([]byte(fmt.Sprintf("bash: %s: command not found\n", name)))
		in.code = 127
	}
	return in.wait(0)
}

func lost() exec.Result {
	return exec.Result{Outcome: stixv1.Outcome_OUTCOME_LOST, ExitCode: 137, Message: "supervision of the job was killed"}
}

func parseSleep(arg string) time.Duration {
	if n, err := strconv.ParseFloat(arg, 64); err == nil {
		return time.Duration(n * float64(time.Second))
	}
	d, _ := time.ParseDuration(arg)
	return d
}

// wait sleeps, but not longer than the job lives.
func (in *interpreter) wait(d time.Duration) (exec.Result, bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case grace := <-in.job.killed:
		if in.stubborn {
			in.pause(grace)
		}
		return exec.Result{Outcome: stixv1.Outcome_OUTCOME_KILLED, ExitCode: 137}, true
	case <-in.job.gone:
		return lost(), true
	case <-t.C:
		return exec.Result{}, false
	}
}

func (in *interpreter) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-in.job.gone:
	}
}

func (j *job) write(p []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.output = append(j.output, p...)
	for l := range j.readers {
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}
}

func (j *job) open() *Log {
	l := &Log{job: j, changed: make(chan struct{}, 1)}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.readers[l] = true
	return l
}

// Log reads the output of a job.
type Log struct {
	job     *job
	changed chan struct{}
}

// ReadAt reads what there is from off on.
func (l *Log) ReadAt(p []byte, off int64) (int, error) {
	l.job.mu.Lock()
	defer l.job.mu.Unlock()
	if off >= int64(len(l.job.output)) {
		return 0, nil
	}
	return copy(p, l.job.output[off:]), nil
}

// Changed receives after the job wrote something.
func (l *Log) Changed() <-chan struct{} { return l.changed }

// Close ends the reading.
func (l *Log) Close() error {
	l.job.mu.Lock()
	defer l.job.mu.Unlock()
	delete(l.job.readers, l)
	return nil
}

// process is a job as an agent sees it.
type process struct{ job *job }

// Started implements exec.Process.
func (p process) Started() exec.Started { return p.job.started }

// Wait implements exec.Process.
func (p process) Wait(ctx context.Context) (exec.Result, error) {
	select {
	case <-p.job.over:
		p.job.mu.Lock()
		defer p.job.mu.Unlock()
		return p.job.result, nil
	case <-ctx.Done():
		return exec.Result{}, ctx.Err()
	}
}

// Kill implements exec.Process.
func (p process) Kill(grace time.Duration) {
	select {
	case p.job.killed <- grace:
	default:
	}
}

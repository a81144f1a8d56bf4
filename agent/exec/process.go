package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// aliveLook is how often the pipe is read where the kernel does not tell.
	aliveLook = 20 * time.Millisecond
	// killPatience is how long after the grace a shim may take to kill its job.
	killPatience = 20 * time.Second
)

// process is the Process of a job under a shim. It belongs to one goroutine.
type process struct {
	owner    *Processes
	uid      string
	log      string
	shim     *shimHandle
	text     string // read from the pipe, not understood yet
	started  Started
	ended    bool // the shim is gone
	result   *Result
	killed   bool
	deadline time.Time // when the shim is killed too
}

func (p *Processes) process(uid, log string, h *shimHandle) *process {
	proc := &process{owner: p, uid: uid, log: log, shim: h, ended: h.alive == nil}
	proc.understand(h.text)
	return proc
}

// Started implements Process.
func (p *process) Started() Started {
	if p.started.PID == 0 {
		if f, err := readPID(p.shim.dir); err == nil {
			p.started = Started{PID: f.PID, At: f.At}
		}
	}
	return p.started
}

func (p *process) over() bool { return p.ended }

// awaitStart returns when the user's shell runs, the shim is gone, or ctx ends.
func (p *process) awaitStart(ctx context.Context) {
	for !p.ended && p.Started().PID == 0 {
		if err := p.listen(ctx); err != nil {
			return
		}
	}
}

// Wait implements Process.
func (p *process) Wait(ctx context.Context) (Result, error) {
	for !p.ended {
		if err := p.listen(ctx); err != nil {
			return Result{}, err
		}
	}
	if p.result == nil {
		r := p.conclude(ctx)
		p.result = &r
	}
	return *p.result, nil
}

// listen reads what the shim says next. The end of the pipe is that of the shim.
func (p *process) listen(ctx context.Context) error {
	ctx, cancel := p.bounded(ctx)
	defer cancel()
	buf := make([]byte, 128)
	n, err := readAlive(ctx, p.shim.alive, buf)
	switch {
	case n > 0:
		p.understand(string(buf[:n]))
	case err == nil:
		p.ended = true
		p.shim.close()
	case errors.Is(context.Cause(ctx), errImpatient):
		p.deadline = time.Time{}
		p.shim.signal(syscall.SIGKILL)
	default:
		return err
	}
	return nil
}

var errImpatient = errors.New("shim takes too long to kill its job")

// bounded ends ctx also when the patience with a shim that kills is over.
func (p *process) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, p.deadline, errImpatient)
}

// understand takes lines "started PID TIME"; others are for newer agents.
func (p *process) understand(text string) {
	p.text += text
	for {
		line, rest, ok := strings.Cut(p.text, "\n")
		if !ok {
			return
		}
		p.text = rest
		word := strings.Fields(line)
		if len(word) != 3 || word[0] != "started" {
			continue
		}
		pid, _ := strconv.ParseInt(word[1], 10, 64)
		at, _ := strconv.ParseInt(word[2], 10, 64)
		p.started = Started{PID: pid, At: at}
	}
}

// Kill implements Process. The file comes first: a shim that does not handle
// signals yet looks for it.
func (p *process) Kill(grace time.Duration) {
	if p.ended {
		return
	}
	p.killed = true
	p.deadline = time.Now().Add(grace + killPatience)
	err := writeFile(p.shim.dir, fileKill, killFile{headerOf(fileKill), millis(grace)})
	if err != nil {
		p.owner.config.Logger.Warn("tell shim how to kill", "assignment", p.uid, "error", err)
	}
	p.shim.signal(syscall.SIGTERM)
}

// conclude finds out how the job ended, once the shim is gone.
func (p *process) conclude(ctx context.Context) Result {
	e, r, err := readExit(p.shim.dir)
	if err == nil {
		if e.PID != 0 {
			p.started = Started{PID: e.PID, At: e.StartedAt}
		}
		return r
	}
	r = p.unexplained(err)
	if n := killMarked(ctx, p.uid, p.Started().PID); n > 0 {
		p.owner.config.Logger.Info("killed what a lost shim left", "assignment", p.uid, "processes", n)
	}
	if size, err := p.owner.config.LogSize(p.log); err == nil {
		r.LogBytes = size
	}
	return r
}

// unexplained is the result of a job without a good exit file.
func (p *process) unexplained(err error) Result {
	now := p.owner.config.Now().UnixNano()
	switch {
	case p.killed:
		return killed(now)
	case !absent(err):
		return lost(now, err.Error())
	case !began(p.shim.dir):
		return notStarted(now, fmt.Errorf("shim ended early: %s", p.shim.lastWords()))
	case p.otherBoot():
		return lost(now, "machine was restarted")
	}
	return lost(now, "supervision of the job was killed")
}

func (p *process) otherBoot() bool {
	s, err := readStart(p.shim.dir)
	return err == nil && s.BootID != p.owner.config.BootID
}

// readAlive reads from the pipe of a shim; 0 and nil is its end. On systems where
// the kernel does not tell of a pipe with a name, it looks from time to time.
func readAlive(ctx context.Context, f *os.File, buf []byte) (int, error) {
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			_ = f.SetReadDeadline(time.Time{})
		}
	}()
	for {
		n, err := f.Read(buf)
		switch {
		case n > 0:
			return n, nil
		case errors.Is(err, syscall.EAGAIN):
			if err := pause(ctx, aliveLook); err != nil {
				return 0, err
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			_ = f.SetReadDeadline(time.Time{})
		default:
			return 0, nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lastWords returns what the shim wrote to its standard error.
func (h *shimHandle) lastWords() string {
	data, err := os.ReadFile(filepath.Join(h.dir, fileErrors))
	if err != nil || len(data) == 0 {
		return "no reason given"
	}
	return strings.TrimSpace(string(data[:min(len(data), 512)]))
}

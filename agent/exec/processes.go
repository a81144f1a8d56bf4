package exec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// markName is a variable in the environment of every process of a job, unless the
// process removes it. By it the processes are found whose shim was killed.
const markName = "STIX_ASSIGNMENT"

// ProcessConfig says how Processes runs jobs.
type ProcessConfig struct {
	// Dir has a directory for each job. It belongs to this agent alone.
	Dir string
	// Shim is the command that runs a shim; the directory of the job is appended.
	Shim []string
	// Env of the jobs, NAME=value; HOME is set for each job.
	Env []string
	// BootID of the machine.
	BootID string
	// LogSegmentBytes is passed to the shim. Zero means the shim's default.
	LogSegmentBytes int64
	// LogSize returns the size of a log that nobody writes any more.
	LogSize func(path string) (int64, error)
	// Now tells the time. Nil means time.Now.
	Now    func() time.Time
	Logger hclog.Logger
}

// Processes is the Executor that runs jobs as processes of this machine.
type Processes struct {
	config ProcessConfig

	mu       sync.Mutex
	prepared map[string]*shimHandle
}

// NewProcesses returns the executor.
func NewProcesses(c ProcessConfig) (*Processes, error) {
	if c.Dir == "" || len(c.Shim) == 0 || c.LogSize == nil || c.Logger == nil {
		return nil, errors.New("exec: Dir, Shim, LogSize and Logger are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Processes{config: c, prepared: map[string]*shimHandle{}}, nil
}

func (p *Processes) dir(uid string) string { return filepath.Join(p.config.Dir, uid) }

// IndexPath returns where the marks of a job's log are.
func (p *Processes) IndexPath(uid string) string { return filepath.Join(p.dir(uid), fileIndex) }

// LogPath returns where the log of an order is.
func LogPath(home string, o *stixv1.Order) (string, error) {
	rel := filepath.Join(o.GetLogDir(), o.GetLogFile())
	if o.GetLogDir() == "" || o.GetLogFile() == "" || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("bad log name %q, %q", o.GetLogDir(), o.GetLogFile())
	}
	return filepath.Join(home, "sky_logs", rel), nil
}

// validate refuses orders that could reach outside their directories or would not
// mean what they say.
func validate(j Job) error {
	uid := j.UID()
	if uid == "" || uid == "." || uid == ".." || strings.ContainsAny(uid, "/\x00") {
		return fmt.Errorf("bad assignment uid %q", uid)
	}
	for _, e := range j.Order.GetEnvs() {
		if !validName(e.GetName()) || strings.Contains(e.GetValue(), "\x00") {
			return fmt.Errorf("bad variable %q", e.GetName())
		}
	}
	for _, name := range j.Order.GetUnset() {
		if !validName(name) {
			return fmt.Errorf("bad variable %q", name)
		}
	}
	if strings.Contains(j.Order.GetScript(), "\x00") {
		return errors.New("script has a zero byte")
	}
	_, err := LogPath(j.Home, j.Order)
	return err
}

// Prepare implements Executor: it starts a shim, which waits to be told what to
// run. The shim ends with ctx, or with this process, if Start does not come.
func (p *Processes) Prepare(ctx context.Context, j Job) error {
	if err := validate(j); err != nil {
		return err
	}
	log, err := LogPath(j.Home, j.Order)
	if err != nil {
		return err
	}
	if err := newLog(log); err != nil {
		return err
	}
	h, err := startShim(p.config, p.dir(j.UID()), j.Home, j.UID())
	if err != nil {
		return fmt.Errorf("start shim: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prepared[j.UID()] = h
	h.release = context.AfterFunc(ctx, func() {
		if taken := p.take(j.UID()); taken != nil {
			taken.abandon()
		}
	})
	return nil
}

// newLog makes an empty log, so that a reader can wait for it to grow.
func newLog(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func (p *Processes) take(uid string) *shimHandle {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.prepared[uid]
	delete(p.prepared, uid)
	return h
}

// Start implements Executor.
func (p *Processes) Start(ctx context.Context, j Job) (Process, error) {
	h := p.take(j.UID())
	if h == nil {
		if err := p.Prepare(ctx, j); err != nil {
			return nil, err
		}
		if h = p.take(j.UID()); h == nil {
			return nil, context.Cause(ctx)
		}
	}
	h.release()
	log, err := LogPath(j.Home, j.Order)
	if err != nil {
		return nil, err
	}
	err = h.tell(payload{
		Home: j.Home, Log: log, BootID: p.config.BootID, UID: j.UID(),
		KeepChildren: j.Order.GetPhase() == stixv1.Phase_PHASE_SETUP,
		LogSegment:   p.config.LogSegmentBytes,
		script:       script(j.Order),
	})
	if err != nil {
		h.abandon()
		return nil, fmt.Errorf("tell shim: %w", err)
	}
	proc := p.process(j.UID(), log, h)
	proc.awaitStart(ctx)
	return proc, nil
}

// Adopt implements Executor.
func (p *Processes) Adopt(ctx context.Context, j Job) (Process, bool, error) {
	if err := validate(j); err != nil {
		return nil, false, err
	}
	log, err := LogPath(j.Home, j.Order)
	if err != nil {
		return nil, false, err
	}
	dir := p.dir(j.UID())
	alive, text, living, err := openAlive(dir)
	if absent(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if !living {
		alive.Close()
		if began(dir) {
			return p.process(j.UID(), log, &shimHandle{dir: dir}), true, nil
		}
		return nil, false, os.RemoveAll(dir)
	}
	proc := p.process(j.UID(), log, &shimHandle{dir: dir, alive: alive, text: text})
	proc.awaitStart(ctx)
	if proc.over() && !began(dir) { // it had not been told what to run
		return nil, false, os.RemoveAll(dir)
	}
	return proc, true, nil
}

// began tells whether the user's shell may have been started.
func began(dir string) bool {
	for _, name := range []string{fileStart, fileExit} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// Remove implements Executor.
func (p *Processes) Remove(uid string) error {
	if h := p.take(uid); h != nil {
		h.abandon()
	}
	if uid == "" || strings.Contains(uid, "/") {
		return fmt.Errorf("bad assignment uid %q", uid)
	}
	return os.RemoveAll(p.dir(uid))
}

// Sweep implements Executor. A shim of a job that is not on record was never told
// what to run and ends by itself; one that runs nevertheless, because the journal
// was lost, is killed.
func (p *Processes) Sweep(ctx context.Context, keep func(uid string) bool) error {
	entries, err := os.ReadDir(p.config.Dir)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !keep(e.Name()) {
			errs = append(errs, p.sweep(ctx, e.Name()))
		}
	}
	return errors.Join(errs...)
}

func (p *Processes) sweep(ctx context.Context, uid string) error {
	dir := p.dir(uid)
	if alive, text, living, err := openAlive(dir); err == nil {
		if living {
			proc := p.process(uid, "", &shimHandle{dir: dir, alive: alive, text: text})
			if proc.awaitStart(ctx); !proc.over() {
				proc.Kill(0)
			}
			if _, err := proc.Wait(ctx); err != nil {
				return err
			}
		} else {
			alive.Close()
		}
	}
	return os.RemoveAll(dir)
}

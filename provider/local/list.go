package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stix-run/stix/internal/machine"
	"github.com/stix-run/stix/provider"
)

const (
	// abandoned is the age at which what a launch left is swept; no launch takes so long.
	abandoned = 10 * time.Minute
	// sweepEvery is how often List sweeps.
	sweepEvery = time.Minute
	// remembered is how long the token of a terminated machine is refused.
	remembered = 7 * 24 * time.Hour
	// checkTime bounds the trial run of the agent's program.
	checkTime = 10 * time.Second
)

// List returns the machines that match. It is also the sweep: those that should run and have lost their supervisor get another,
// and what was begun by somebody who is no more is finished, as far as that takes no waiting.
func (d *Driver) List(ctx context.Context, f provider.Filter) ([]provider.Instance, error) {
	t, err := d.open()
	if err != nil {
		return nil, err
	}
	d.reap()
	ids, err := t.ids()
	if err != nil {
		return nil, err
	}
	var all []provider.Instance
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := t.load(id)
		if k, _ := d.Kind(err); err != nil && k == provider.KindNotFound {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if f.Match(r.Tags) {
			all = append(all, d.instance(t, r))
			d.mend(ctx, t, r)
		}
	}
	if d.sweepDue() {
		d.sweep(ctx, t)
	}
	return all, nil
}

// mend finishes what somebody began with the machine, unless he is still at it. What fails is tried again by the next List.
func (d *Driver) mend(ctx context.Context, t *table, r machine.Record) {
	if r.State == machine.Stopped || r.State != machine.Terminating && r.HostBoot != d.boot {
		return
	}
	dir := t.dir(r.ID)
	lock, err := dir.TryLock()
	if err != nil {
		return
	}
	defer lock.Unlock()
	if r, err = dir.Load(); err == nil {
		err = d.mendLocked(ctx, t, dir, r)
	}
	if err != nil {
		d.cfg.Logger.Warn("machine cannot be mended", "machine", r.ID, "state", string(r.State), "error", err)
	}
}

func (d *Driver) mendLocked(ctx context.Context, t *table, dir machine.Dir, r machine.Record) error {
	switch r.State {
	case machine.Running:
		return d.power(dir, r)
	case machine.Stopping:
		if over, err := dir.Nudge(r); !over {
			return err
		}
		r.State = machine.Stopped
		return dir.Save(r)
	case machine.Terminating:
		if over, err := dir.Nudge(r); !over {
			return err
		}
		return d.discard(ctx, t, dir, r)
	}
	return nil
}

// sweepDue tells whether it is time to look for rubbish; there is little of it, and looking takes time.
func (d *Driver) sweepDue() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.cfg.Now()
	due := d.swept.IsZero() || now.Sub(d.swept) >= sweepEvery
	if due {
		d.swept = now
	}
	return due
}

// sweep removes what nobody will come back for.
func (d *Driver) sweep(ctx context.Context, t *table) {
	now := d.cfg.Now()
	for _, path := range olderThan(t.building(), now.Add(-abandoned)) {
		removeAll(ctx, path)
	}
	for _, path := range olderThan(t.gone(), now.Add(-remembered)) {
		os.Remove(path)
	}
	for _, link := range olderThan(t.addresses(), now.Add(-abandoned)) {
		if id, err := os.Readlink(link); err == nil && !exists(string(t.dir(id))) {
			os.Remove(link)
		}
	}
	t.emptyTrash(ctx)
}

// olderThan returns what was last changed before the time.
func olderThan(dir string, limit time.Time) []string {
	entries, _ := os.ReadDir(dir)
	var old []string
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.ModTime().Before(limit) {
			old = append(old, filepath.Join(dir, e.Name()))
		}
	}
	return old
}

// holdTrash keeps others from emptying the trash until the file is closed: who puts something there deletes it himself. It only
// saves the others the work, so it does not matter if it cannot be had.
func (t *table) holdTrash() (release func()) {
	lock, err := t.lockTrash(unix.LOCK_SH)
	if err != nil {
		return func() {}
	}
	return func() { lock.Close() }
}

func (t *table) lockTrash(how int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(t.root, "trash.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// emptyTrash deletes what was left in the trash, unless somebody is just deleting.
func (t *table) emptyTrash(ctx context.Context) {
	names, _ := readNames(t.trash())
	if len(names) == 0 {
		return
	}
	lock, err := t.lockTrash(unix.LOCK_EX)
	if err != nil {
		return
	}
	defer lock.Close()
	for _, name := range names {
		removeAll(ctx, filepath.Join(t.trash(), name))
	}
}

// removeAll deletes a tree, also what is read-only in it, and stops early when ctx ends.
func removeAll(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if os.RemoveAll(path) == nil {
		return nil
	}
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if e != nil && e.IsDir() {
			os.Chmod(p, 0o700)
		}
		return ctx.Err()
	})
	return errors.Join(err, os.RemoveAll(path))
}

// Check tells whether machines can be made here and the agent's program runs.
func (d *Driver) Check(ctx context.Context) error {
	t, err := d.open()
	if err != nil {
		return err
	}
	trial := temp(t.building(), "check")
	if err := os.Mkdir(trial, 0o700); err != nil {
		return err
	}
	if err := os.Remove(trial); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	if out, err := exec.CommandContext(ctx, d.cfg.AgentPath, "version").CombinedOutput(); err != nil {
		return provider.Errorf(provider.KindInvalid, provider.ScopeCloud, "agent program %s does not run: %w (%.200s)", d.cfg.AgentPath, err, out)
	}
	return nil
}

// reap takes notice of supervisors of ours that have ended: until then they are zombies.
func (d *Driver) reap() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for pid := range d.ours {
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); got == pid || errors.Is(err, unix.ECHILD) {
			delete(d.ours, pid)
		}
	}
}

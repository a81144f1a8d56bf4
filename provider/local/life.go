package local

import (
	"context"
	"errors"
	"os"

	"github.com/stix-run/stix/internal/atomicfile"
	"github.com/stix-run/stix/internal/machine"
	"github.com/stix-run/stix/provider"
)

// Start starts a stopped machine: a supervisor for the same directory.
func (d *Driver) Start(ctx context.Context, id string) error {
	return d.change(ctx, id, func(_ *table, dir machine.Dir, r machine.Record) error {
		if r.State == machine.Terminating {
			return terminating(id)
		}
		if d.state(r) == provider.StateRunning {
			return d.power(dir, r)
		}
		if err := dir.Shutdown(ctx, r); err != nil { // a stop that was cut off
			return err
		}
		r.State, r.HostBoot, r.Boots, r.Agent = machine.Running, d.boot, r.Boots+1, d.cfg.AgentPath
		if err := dir.Save(r); err != nil {
			return err
		}
		return d.power(dir, r)
	})
}

// Stop ends every process of the machine.
func (d *Driver) Stop(ctx context.Context, id string) error {
	return d.change(ctx, id, func(_ *table, dir machine.Dir, r machine.Record) error {
		switch r.State {
		case machine.Terminating:
			return terminating(id)
		case machine.Stopped:
			return nil
		}
		return d.stop(ctx, dir, r)
	})
}

func (d *Driver) stop(ctx context.Context, dir machine.Dir, r machine.Record) error {
	r.State = machine.Stopping
	if err := dir.Save(r); err != nil {
		return err
	}
	if err := dir.Shutdown(ctx, r); err != nil {
		return err
	}
	r.State = machine.Stopped
	return dir.Save(r)
}

// Terminate ends every process of the machine and deletes its directory.
func (d *Driver) Terminate(ctx context.Context, id string) error {
	err := d.change(ctx, id, func(t *table, dir machine.Dir, r machine.Record) error {
		return d.remove(ctx, t, dir, r)
	})
	if k, _ := d.Kind(err); err != nil && k == provider.KindNotFound {
		return nil
	}
	return err
}

// change runs do with the lock of a machine, and reaps the supervisors that it ended.
func (d *Driver) change(ctx context.Context, id string, do func(*table, machine.Dir, machine.Record) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t, err := d.open()
	if err != nil {
		return err
	}
	defer d.reap()
	return t.change(ctx, id, func(dir machine.Dir, r machine.Record) error { return do(t, dir, r) })
}

// remove terminates a machine whose lock is held. From the moment its record says so, it can only go on: after a crash the next
// Terminate or List does.
func (d *Driver) remove(ctx context.Context, t *table, dir machine.Dir, r machine.Record) error {
	if r.State != machine.Terminating {
		r.State = machine.Terminating
		if err := dir.Save(r); err != nil {
			return err
		}
	}
	if err := dir.Shutdown(ctx, r); err != nil {
		return err
	}
	return d.discard(ctx, t, dir, r)
}

// discard deletes the directory of a machine on which nothing runs. It is over when the directory is in the trash.
func (d *Driver) discard(ctx context.Context, t *table, dir machine.Dir, r machine.Record) error {
	if err := t.markGone(r.ID); err != nil {
		return err
	}
	defer t.holdTrash()()
	dead := temp(t.trash(), r.ID)
	if err := os.Rename(string(dir), dead); err != nil {
		return err
	}
	err := errors.Join(atomicfile.SyncDir(t.machines()), t.freeAddress(r.IP, r.ID))
	if e := removeAll(ctx, dead); e != nil {
		d.cfg.Logger.Warn("files of a terminated machine remain", "machine", r.ID, "path", dead, "error", e)
	}
	return err
}

package local

import (
	"context"
	"errors"
	"maps"
	"os"

	"github.com/stix-run/stix/internal/machine"
	"github.com/stix-run/stix/provider"
)

// Launch makes a machine and starts its supervisor; it does not wait for the agent.
//
// Crash points: an address without machine and a directory in building are swept; a machine in its place without supervisor gets
// one from the next Launch or List.
func (d *Driver) Launch(ctx context.Context, req provider.LaunchRequest) (provider.Instance, error) {
	if err := errors.Join(ctx.Err(), refuse(req)); err != nil {
		return provider.Instance{}, err
	}
	if !exists(d.cfg.AgentPath) {
		return provider.Instance{}, provider.Errorf(provider.KindInvalid, provider.ScopeCloud, "there is no agent program %s", d.cfg.AgentPath)
	}
	t, err := d.open()
	if err != nil {
		return provider.Instance{}, err
	}
	d.reap()
	id := t.machineID(req.Token)
	if t.used(id) {
		return provider.Instance{}, tokenUsed(req.Token)
	}
	if !exists(string(t.dir(id))) {
		if err := d.build(t, id, req); err != nil {
			return provider.Instance{}, err
		}
	}
	return d.bringUp(ctx, t, id, req.Token)
}

func refuse(req provider.LaunchRequest) error {
	switch {
	case req.UseSpot:
		return provider.Errorf(provider.KindUnsupported, provider.ScopeCloud, "there are no spot machines on this computer")
	case req.DiskGiB > 0:
		return provider.Errorf(provider.KindUnsupported, provider.ScopeCloud, "machines share the disk of this computer")
	case req.Region != "" && req.Region != Name, req.Zone != "":
		return provider.Errorf(provider.KindInvalid, provider.ScopeMachine, "no such place: %q %q; there is only %q", req.Region, req.Zone, Name)
	case req.InstanceType != "" && req.InstanceType != Name:
		return provider.Errorf(provider.KindInvalid, provider.ScopeMachine, "no such instance type: %q; there is only %q", req.InstanceType, Name)
	}
	return nil
}

// build makes the machine's directory and moves it to its place. Of two that build one machine, the second finds it there.
func (d *Driver) build(t *table, id string, req provider.LaunchRequest) error {
	ip, err := t.reserveAddress(id)
	if err != nil {
		return err
	}
	built := machine.Dir(temp(t.building(), id))
	defer os.RemoveAll(string(built))
	err = built.Create(machine.Record{
		ID: id, Token: req.Token, Name: req.Name, Tags: maps.Clone(req.Tags), IP: ip, LaunchedAt: d.cfg.Now().UTC(),
		State: machine.Running, Boots: 1, HostBoot: d.boot, Agent: d.cfg.AgentPath, Env: d.env,
	}, req.UserData)
	if err != nil {
		return err
	}
	_, err = t.place(built, id)
	return err
}

// bringUp gives a machine that is in its place a supervisor, if it is to run.
func (d *Driver) bringUp(ctx context.Context, t *table, id, token string) (inst provider.Instance, err error) {
	err = t.change(ctx, id, func(dir machine.Dir, r machine.Record) error {
		switch {
		case r.Token != token:
			return provider.Errorf(provider.KindConflict, provider.ScopeMachine, "machine %s was launched with another token", id)
		case r.State == machine.Terminating:
			return tokenUsed(token)
		case t.used(id):
			// Terminated by another between our first look and our placing it: undo.
			return errors.Join(tokenUsed(token), d.remove(ctx, t, dir, r))
		}
		inst = d.instance(t, r)
		if inst.State != provider.StateRunning {
			return nil
		}
		return d.power(dir, r)
	})
	if err != nil {
		if k, _ := d.Kind(err); k == provider.KindNotFound {
			err = tokenUsed(token) // terminated before we got the lock
		}
		return provider.Instance{}, err
	}
	return inst, nil
}

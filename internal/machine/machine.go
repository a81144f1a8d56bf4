// Package machine keeps a machine that is only a directory on this computer: what `local` calls an instance.
//
// The directory holds a record (machine.json), the machine's home, the state directory of its agent, and two lock files. A
// supervisor process, the agent's program run as `stix-agent supervise DIR`, is the machine's power: while it lives it keeps an
// agent running, and when it ends it leaves no process of the machine behind. It outlives whoever started it.
//
// # Who may do what
//
// Whoever changes the record, starts a supervisor or looks whether there is one holds change.lock ([Dir.Lock]); supervisor.lock is
// held by the supervisor for its life. The lock is taken before the supervisor's process is made and handed to it, so there is no
// moment in which a second one could start.
//
// # Crashes
//
// A supervisor that is killed takes nothing with it: the agent runs on, its jobs too. The next [Dir.Power] (a sweep of the
// driver, which lists at least as often as its controllers look) starts another, which waits for the old agent's lock to
// become free before it starts an agent of its own. The agent never starts a supervisor itself: two parties that revive each other
// could not be stopped. Processes that lost their supervisor are still known by the variable STIX_MACHINE in their environment.
// A half-done stop or termination is in the record; who finds it calls [Dir.Shutdown] again.
package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stix-run/stix/internal/atomicfile"
)

// Format and version of machine.json.
const (
	format  = "stix machine"
	version = 1
)

// State is what is to become of the machine.
type State string

// The states of a machine. RUNNING ⇄ STOPPING → STOPPED → RUNNING; from each to TERMINATING, which ends with the directory.
const (
	Running     State = "RUNNING"
	Stopping    State = "STOPPING"
	Stopped     State = "STOPPED"
	Terminating State = "TERMINATING"
)

// Record is the content of machine.json.
type Record struct {
	Format     string            `json:"format"`
	Version    int               `json:"version"`
	ID         string            `json:"id"`
	Token      string            `json:"token"`
	Name       string            `json:"name"`
	Tags       map[string]string `json:"tags"`
	IP         string            `json:"ip"`
	LaunchedAt time.Time         `json:"launched_at"`
	State      State             `json:"state"`
	// Boots counts how often the machine was started; HostBoot is the boot of this computer in which it was last.
	Boots    int    `json:"boots"`
	HostBoot string `json:"host_boot"`
	// Agent is the path of the stix-agent program, Env what the machine's processes get besides what Environ adds.
	Agent string   `json:"agent"`
	Env   []string `json:"env"`
}

// Decode reads a record and refuses what it does not understand.
func Decode(data []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("machine record: %w", err)
	}
	switch {
	case r.Format != format:
		return Record{}, fmt.Errorf("machine record: format is %q, not %q", r.Format, format)
	case r.Version > version:
		return Record{}, fmt.Errorf("machine record: written by a newer stix (version %d, this one knows %d)", r.Version, version)
	case r.Version < 1, r.ID == "":
		return Record{}, errors.New("machine record: incomplete")
	}
	switch r.State {
	case Running, Stopping, Stopped, Terminating:
		return r, nil
	}
	return Record{}, fmt.Errorf("machine record: unknown state %q", r.State)
}

// Encode writes a record as it is kept.
func (r Record) Encode() ([]byte, error) {
	r.Format, r.Version = format, version
	return json.MarshalIndent(r, "", "  ")
}

// Names of environment variables that every process of a machine has.
const (
	// EnvMachine is the machine's id. It also tells its processes from all others.
	EnvMachine = "STIX_MACHINE"
	// EnvIP is the machine's own address.
	EnvIP = "STIX_MACHINE_IP"
	// EnvBoot changes with each start of the machine, as a boot id does on a real one.
	EnvBoot = "STIX_MACHINE_BOOT"
)

// Environ is the environment of the machine's processes.
func (r Record) Environ(d Dir) []string {
	return append(append([]string(nil), r.Env...),
		"HOME="+d.Home(),
		EnvMachine+"="+r.ID,
		EnvIP+"="+r.IP,
		fmt.Sprintf("%s=%s-%d", EnvBoot, r.HostBoot, r.Boots),
	)
}

// Dir is the directory of a machine.
type Dir string

func (d Dir) path(name string) string { return filepath.Join(string(d), name) }

// Home is the machine's home directory.
func (d Dir) Home() string { return d.path("home") }

// Agent is the state directory of the machine's agent.
func (d Dir) Agent() string { return d.path("agent") }

// Bootstrap is the file in which the agent finds what it needs to enrol.
func (d Dir) Bootstrap() string { return filepath.Join(d.Agent(), "bootstrap.json") }

// agentLock is held by the agent, with flock, for as long as it runs.
func (d Dir) agentLock() string { return filepath.Join(d.Agent(), "agent.lock") }

func (d Dir) record() string         { return d.path("machine.json") }
func (d Dir) changeLock() string     { return d.path("change.lock") }
func (d Dir) supervisorLock() string { return d.path("supervisor.lock") }
func (d Dir) log() string            { return d.path("supervisor.log") }

// Create fills the directory, which must not exist. It is not yet known to anybody: the caller moves it to its place.
func (d Dir) Create(r Record, bootstrap []byte) error {
	for _, dir := range []string{string(d), d.Home(), d.Agent()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(d.changeLock(), nil, 0o600); err != nil {
		return err
	}
	data, err := r.Encode()
	if err != nil {
		return err
	}
	// Nobody sees the directory yet, so its files need not be replaced atomically, only be on the disk: files first, then the
	// names of them, which costs next to nothing more.
	if err := writeSync(d.Bootstrap(), bootstrap); err != nil {
		return err
	}
	if err := writeSync(d.record(), data); err != nil {
		return err
	}
	return errors.Join(atomicfile.SyncDir(d.Agent()), atomicfile.SyncDir(string(d)))
}

func writeSync(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// Load reads the record. It needs no lock.
func (d Dir) Load() (Record, error) {
	data, err := os.ReadFile(d.record())
	if err != nil {
		return Record{}, err
	}
	r, err := Decode(data)
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w", d.record(), err)
	}
	return r, nil
}

// Save replaces the record. The caller holds the lock.
func (d Dir) Save(r Record) error {
	data, err := r.Encode()
	if err != nil {
		return err
	}
	return atomicfile.Write(d.record(), data, 0o600)
}

// Package provider is how stix talks to whatever rents out machines.
//
// It has two sides. [Driver] is what the implementer of a cloud writes: nine methods, raw errors, no policy. [Cloud] is what the
// controllers use: it wraps a driver with what is the same everywhere (validation, refusal of what is not supported, bounded
// retry, a client-side rate limit, memory of what ran dry, error wrapping), so that no driver has to get it right again.
//
// Every failure has a [Kind] out of a closed list and a [Scope]; callers switch on those and never on text.
// Package provider/providertest holds the tests that define what a provider is.
package provider

import (
	"context"
	"time"
)

// Driver is one cloud, as its implementer sees it. All methods may be called concurrently. Errors are the cloud's own: Kind
// classifies them, and [Cloud] wraps them. A driver may wait (for a machine to stop, say) but returns promptly when ctx ends.
type Driver interface {
	// Launch brings up one machine. It is idempotent by token: the same token yields the same machine, as first launched, however
	// often and from however many coordinators it is asked for, also after a crash at any point of an earlier call. What an
	// unfinished call left behind shows in List and can be terminated. A token whose machine was terminated is refused
	// (KindConflict) for as long as the cloud remembers it. Launch does not wait until the machine runs.
	Launch(ctx context.Context, req LaunchRequest) (Instance, error)
	// List returns the machines that match, in any order; terminated ones may be listed for a while. It is the truth about what
	// exists: a driver that cannot tell about one machine returns an error rather than a shorter list.
	List(ctx context.Context, f Filter) ([]Instance, error)
	// Start starts a stopped machine again, with the same id, name, tags and disk. A running one is left alone.
	Start(ctx context.Context, id string) error
	// Stop ends all that runs on the machine and keeps its disk. A stopped one is left alone.
	Stop(ctx context.Context, id string) error
	// Terminate ends the machine and deletes its disk. One that is gone already, or never was, is success.
	Terminate(ctx context.Context, id string) error
	// SetPorts makes exactly these ports of the machine reachable from outside, where Capabilities says so.
	SetPorts(ctx context.Context, id string, ports []PortRange) error
	// Capabilities says what the cloud can do. It does no I/O, and its answer does not change.
	Capabilities() Capabilities
	// Check tells whether the cloud can be used as it is configured: an error says what is missing.
	Check(ctx context.Context) error
	// Kind classifies an error that one of the other methods returned.
	Kind(err error) (Kind, Scope)
}

// Op names a call to a driver, in errors and for injected faults.
type Op string

// The calls of a Driver.
const (
	OpLaunch    Op = "launch"
	OpList      Op = "list"
	OpStart     Op = "start"
	OpStop      Op = "stop"
	OpTerminate Op = "terminate"
	OpSetPorts  Op = "set ports"
	OpCheck     Op = "check"
)

// Tags that stix puts on every machine; a driver treats them like any other.
const (
	TagOwner   = "stix-owner"   // the coordinators' identity (the id of their CA): whose machine it is
	TagCluster = "stix-cluster" // uid of the cluster
	TagNode    = "stix-node"    // uid of the node
)

// LaunchRequest asks for one machine.
type LaunchRequest struct {
	// Token makes the call idempotent; chosen and written down by the caller before the call.
	Token string
	// Name is shown to people: a DNS label.
	Name string
	// Region and Zone say where; empty leaves the choice to the cloud.
	Region string
	Zone   string
	// InstanceType is the cloud's name for the kind of machine.
	InstanceType string
	// UseSpot asks for a machine that may be taken away again.
	UseSpot bool
	// DiskGiB is the size of the root disk; 0 means the cloud's default.
	DiskGiB int
	// Tags are found again by List.
	Tags map[string]string
	// UserData is handed to the agent when the machine boots, as it is.
	UserData []byte
}

// Offering is what the request asks to be sold.
func (r LaunchRequest) Offering() Offering {
	return Offering{Region: r.Region, Zone: r.Zone, InstanceType: r.InstanceType, UseSpot: r.UseSpot}
}

// Offering is one thing that a cloud sells, and that can be sold out.
type Offering struct {
	Region       string
	Zone         string
	InstanceType string
	UseSpot      bool
}

// Filter selects machines.
type Filter struct {
	// Tags must all be on the machine; none selects every machine of the account.
	Tags map[string]string
}

// Match tells whether a machine with these tags is selected.
func (f Filter) Match(tags map[string]string) bool {
	for k, want := range f.Tags {
		if got, ok := tags[k]; !ok || got != want {
			return false
		}
	}
	return true
}

// Instance is a machine as the cloud tells of it.
type Instance struct {
	ID    string
	Token string
	Name  string
	Tags  map[string]string
	State State
	// Preempted says that the cloud took the machine away or stopped it by itself.
	Preempted bool
	// PrivateIP is where the cluster's other machines reach it, PublicIP where the world does; empty while there is none.
	PrivateIP    string
	PublicIP     string
	Region       string
	Zone         string
	InstanceType string
	UseSpot      bool
	LaunchedAt   time.Time
	// Home is the home directory on the machine, where the driver knows it; else empty.
	Home string
}

// State of a machine. PENDING → RUNNING → STOPPING → STOPPED → PENDING or RUNNING again; from each of them to TERMINATING →
// TERMINATED, which are final.
type State int

// The states of a machine.
const (
	StateUnknown State = iota
	StatePending
	StateRunning
	StateStopping
	StateStopped
	StateTerminating
	StateTerminated
)

var stateNames = [...]string{"UNKNOWN", "PENDING", "RUNNING", "STOPPING", "STOPPED", "TERMINATING", "TERMINATED"}

// String names the state as users see it.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return stateNames[StateUnknown]
	}
	return stateNames[s]
}

// Gone tells whether the machine is over, or about to be.
func (s State) Gone() bool { return s == StateTerminating || s == StateTerminated }

// PortRange is a range of TCP ports, both ends included.
type PortRange struct {
	From int
	To   int
}

// Ports is what a cloud can do about the ports of a machine.
type Ports int

// What can be done about ports.
const (
	// PortsNone: nothing can be reached from outside, SetPorts is refused.
	PortsNone Ports = iota
	// PortsShared: every port is reachable already, and SetPorts has nothing to do.
	PortsShared
	// PortsManaged: exactly what SetPorts was told is reachable.
	PortsManaged
)

// InstanceType is a kind of machine that the driver itself knows of.
type InstanceType struct {
	Name        string
	VCPUs       int
	MemoryBytes int64
}

// Capabilities is what a cloud can do. What it cannot is refused before the driver is called.
type Capabilities struct {
	// Stop: machines can be stopped and started again.
	Stop bool
	// Spot: machines that may be taken away can be asked for.
	Spot bool
	// Disk: the size of the root disk can be chosen.
	Disk bool
	// Ports is what SetPorts can do.
	Ports Ports
	// ListDelay is the longest time after Launch until List shows the machine.
	ListDelay time.Duration
	// MaxUserData is the most bytes of UserData; 0 means no limit.
	MaxUserData int
	// Types are the kinds of machine, where the driver knows them by itself; nil where the catalog does.
	Types []InstanceType
}

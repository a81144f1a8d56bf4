package local

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/stix-run/stix/provider"
)

// classes is the one table from what the system says to kinds; the first that fits counts.
var classes = []struct {
	err   error
	kind  provider.Kind
	scope provider.Scope
}{
	{unix.ENOSPC, provider.KindCapacity, provider.ScopeCloud},
	{unix.EDQUOT, provider.KindQuota, provider.ScopeCloud},
	{unix.ENOMEM, provider.KindTransient, provider.ScopeCloud},
	{unix.EAGAIN, provider.KindTransient, provider.ScopeCloud}, // too many processes
	{unix.EMFILE, provider.KindTransient, provider.ScopeCloud},
	{unix.ENFILE, provider.KindTransient, provider.ScopeCloud},
	{unix.ETXTBSY, provider.KindTransient, provider.ScopeCloud}, // the agent's program is being replaced
	{unix.ENAMETOOLONG, provider.KindInvalid, provider.ScopeCloud},
	{unix.EROFS, provider.KindAuth, provider.ScopeCloud},
	{fs.ErrPermission, provider.KindAuth, provider.ScopeCloud},
}

// Kind classifies an error of the driver.
func (d *Driver) Kind(err error) (provider.Kind, provider.Scope) {
	if k, s := provider.Classify(err); k != provider.KindUnknown {
		return k, s
	}
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.kind, c.scope
		}
	}
	return provider.KindUnknown, provider.ScopeMachine
}

func notFound(id string) error {
	return provider.Errorf(provider.KindNotFound, provider.ScopeMachine, "there is no machine %s", id)
}

func terminating(id string) error {
	return provider.Errorf(provider.KindConflict, provider.ScopeMachine, "machine %s is being terminated", id)
}

func tokenUsed(token string) error {
	return provider.Errorf(provider.KindConflict, provider.ScopeMachine, "the machine of token %s was terminated", token)
}

package provider

import (
	"regexp"
)

// What every cloud can represent, so that a request which passes here is not refused for its spelling somewhere else.
const (
	maxToken    = 64
	maxTags     = 40
	maxTagValue = 255
)

var (
	namePattern   = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	tagKeyPattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	tokenPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
)

func checkLaunch(req LaunchRequest, caps Capabilities) error {
	if err := checkSpelling(req); err != nil {
		return err
	}
	switch {
	case req.UseSpot && !caps.Spot:
		return Errorf(KindUnsupported, ScopeCloud, "there are no spot machines here")
	case req.DiskGiB < 0:
		return invalid("disk of %d GiB", req.DiskGiB)
	case req.DiskGiB > 0 && !caps.Disk:
		return Errorf(KindUnsupported, ScopeCloud, "the size of the disk cannot be chosen here")
	case caps.MaxUserData > 0 && len(req.UserData) > caps.MaxUserData:
		return invalid("user data of %d bytes, at most %d fit", len(req.UserData), caps.MaxUserData)
	}
	return checkType(req.InstanceType, caps.Types)
}

func checkSpelling(req LaunchRequest) error {
	switch {
	case !tokenPattern.MatchString(req.Token):
		return invalid("launch token %q: 1 to %d letters, digits, '.', '_' and '-'", req.Token, maxToken)
	case !namePattern.MatchString(req.Name):
		return invalid("machine name %q: at most 63 lower-case letters, digits and '-', a letter first", req.Name)
	case len(req.Tags) > maxTags:
		return invalid("%d tags, at most %d fit", len(req.Tags), maxTags)
	case req.Zone != "" && req.Region == "":
		return invalid("zone %q without a region", req.Zone)
	}
	for k, v := range req.Tags {
		if err := checkTag(k, v); err != nil {
			return err
		}
	}
	return nil
}

func checkTag(k, v string) error {
	if !tagKeyPattern.MatchString(k) {
		return invalid("tag %q: at most 63 lower-case letters, digits, '_' and '-', a letter first", k)
	}
	if len(v) > maxTagValue {
		return invalid("value of tag %q is %d bytes long, at most %d fit", k, len(v), maxTagValue)
	}
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return invalid("value of tag %q has an unprintable character", k)
		}
	}
	return nil
}

// checkType knows the types only where the driver does; an empty type leaves the choice to the cloud.
func checkType(name string, types []InstanceType) error {
	if name == "" || len(types) == 0 {
		return nil
	}
	for _, t := range types {
		if t.Name == name {
			return nil
		}
	}
	return invalid("no such instance type: %q", name)
}

func checkPorts(ports []PortRange, caps Capabilities) error {
	if caps.Ports == PortsNone {
		return Errorf(KindUnsupported, ScopeCloud, "ports cannot be opened here")
	}
	for _, p := range ports {
		if p.From < 1 || p.To > 65535 || p.From > p.To {
			return invalid("port range %d-%d", p.From, p.To)
		}
	}
	return nil
}

func checkID(id string) error {
	if id == "" {
		return invalid("empty machine id")
	}
	return nil
}

func invalid(format string, args ...any) error {
	return Errorf(KindInvalid, ScopeMachine, format, args...)
}

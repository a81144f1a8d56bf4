package task

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stix-run/stix/internal/nearest"
)

// Infra is where a node is to be; empty parts are open.
type Infra struct {
	// Cloud is lower case.
	Cloud string
	// Region is a region, a Kubernetes context, a Slurm cluster, or "ssh-" and
	// the name of a pool.
	Region string
	// Zone is a zone or a Slurm partition.
	Zone string
}

// errNearest is an error that knows what was probably meant.
type errNearest struct{ reason, hint string }

func (e *errNearest) Error() string { return e.reason }

// ParseInfra reads "cloud[/region[/zone]]", with "*" for what is open, and
// "k8s/CONTEXT" and "ssh/POOL", whose last part may hold slashes.
func ParseInfra(s string) (Infra, error) {
	name, rest, more := strings.Cut(s, "/")
	if s == "" || s != strings.TrimSpace(s) || strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") {
		return Infra{}, fmt.Errorf("%q is not CLOUD, CLOUD/REGION or CLOUD/REGION/ZONE", clip(s))
	}
	cloud, err := parseCloud(name, true)
	if err != nil {
		return Infra{}, err
	}
	if !more {
		return Infra{Cloud: cloud}, nil
	}
	switch cloud {
	case "kubernetes":
		return Infra{Cloud: cloud, Region: open(rest)}, nil
	case "ssh":
		if rest = open(rest); rest != "" {
			rest = "ssh-" + rest
		}
		return Infra{Cloud: cloud, Region: rest}, nil
	}
	return parseParts(cloud, s, rest)
}

func parseParts(cloud, s, rest string) (Infra, error) {
	parts := strings.Split(rest, "/")
	if len(parts) > 2 {
		return Infra{}, fmt.Errorf("%q has more than the three parts CLOUD/REGION/ZONE", clip(s))
	}
	for i, p := range parts {
		p = strings.TrimSpace(p)
		if p == "" {
			return Infra{}, fmt.Errorf("%q has an empty part: write * for what is open", clip(s))
		}
		parts[i] = open(p)
	}
	in := Infra{Cloud: cloud, Region: parts[0]}
	if len(parts) == 2 {
		in.Zone = parts[1]
	}
	return in, nil
}

// parseCloud reads the name of a cloud; infra also knows "*" and "k8s".
func parseCloud(s string, inInfra bool) (string, error) {
	name := strings.ToLower(s)
	switch {
	case inInfra && name == "*":
		return "", nil
	case inInfra && name == "k8s":
		return "kubernetes", nil
	case slices.Contains(clouds(), name):
		return name, nil
	}
	return "", &errNearest{fmt.Sprintf("%q is no cloud that is known here", clip(s)), nearest.Word(name, clouds())}
}

func open(part string) string {
	if part == "*" {
		return ""
	}
	return part
}

// hintOf is the nearest word that an error knows.
func hintOf(err error) string {
	var near *errNearest
	if errors.As(err, &near) {
		return near.hint
	}
	return ""
}

// String prints it so that ParseInfra reads it back; trailing open parts are
// left out. It is empty when everything is open.
func (in Infra) String() string {
	region := in.Region
	if in.Cloud == "ssh" {
		region = strings.TrimPrefix(region, "ssh-")
	}
	parts := []string{in.Cloud, region, in.Zone}
	for len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	for i, p := range parts {
		if p == "" {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

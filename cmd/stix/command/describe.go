package command

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stix-run/stix/client/logview"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// cloudNames are how clouds write themselves; others are capitalised.
func cloudName(cloud string) string {
	switch cloud {
	case "":
		return "-"
	case "aws", "gcp", "ibm", "oci", "scp", "ssh":
		return strings.ToUpper(cloud)
	}
	return strings.ToUpper(cloud[:1]) + cloud[1:]
}

// maxPlace is how long a place may be before its middle is cut out.
const maxPlace = 25

// infraText is SkyPilot's display form of an infra: "AWS (us-east-1a)".
func infraText(infra, region string) string {
	cloud, rest, _ := strings.Cut(infra, "/")
	place := region
	if rest != "" {
		place = rest[strings.LastIndexByte(rest, '/')+1:]
	}
	if place == "" || place == cloud {
		return cloudName(cloud)
	}
	if len(place) > maxPlace {
		half := (maxPlace - 3) / 2
		place = place[:half] + "..." + place[len(place)-half:]
	}
	return fmt.Sprintf("%s (%s)", cloudName(cloud), place)
}

// instanceText is the type of a machine, "-" where the infra has none.
func instanceText(instance string) string {
	if instance == "" {
		return "-"
	}
	return instance
}

// resourcesText is the RESOURCES column: "2x(cpus=4, mem=16)".
func resourcesText(c *stixv1.Cluster, verbose bool) string {
	var parts []string
	if c.GetVcpus() > 0 {
		parts = append(parts, "cpus="+amount(c.GetVcpus()))
	}
	if c.GetMemoryGib() > 0 {
		parts = append(parts, "mem="+amount(c.GetMemoryGib()))
	}
	if t := c.GetInstanceType(); t != "" && t != c.GetInfra() {
		if len(t) > 15 && !verbose {
			t = t[:12] + "..."
		}
		parts = append(parts, t)
	}
	if len(parts) == 0 {
		return fmt.Sprintf("%dx(-)", c.GetNumNodes())
	}
	return fmt.Sprintf("%dx(%s)", c.GetNumNodes(), strings.Join(parts, ", "))
}

// amount writes a number of vCPUs or GiB: an integer or one decimal, "-" for unknown.
func amount(v float64) string {
	if v <= 0 {
		return "-"
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// word is the name of an enum's value without the enum's own.
func word(name, enum string) string { return strings.TrimPrefix(name, enum) }

func clusterStateName(s stixv1.ClusterState) string { return word(s.String(), "CLUSTER_STATE_") }

func requestStateName(s stixv1.RequestState) string { return word(s.String(), "REQUEST_STATE_") }

func jobStateName(s stixv1.JobState) string { return logview.StateName(s) }

// orDash is text, or "-" for none.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

package task

import "strings"

// reset is the word that takes a wish of the file back.
func reset(s string) bool { return strings.EqualFold(s, "none") }

// applyResources lets the options about a node win over one candidate.
func (d *decoder) applyResources(c *candidate, o ResourceOptions) {
	d.applyPlace(c, o)
	if o.InstanceType != "" {
		c.res.InstanceType = unlessReset(o.InstanceType)
	}
	if o.CPUs != "" {
		c.res.Cpus = overridden(d, "--cpus", o.CPUs, ParseCPUs)
	}
	if o.Memory != "" {
		c.res.Memory = overridden(d, "--memory", o.Memory, ParseMemory)
	}
	if o.DiskSize != "" {
		c.res.DiskSize = overridden(d, "--disk-size", o.DiskSize, ParseDiskSize)
	}
	if o.Accelerators != "" {
		c.res.Accelerators = overridden(d, "--gpus", o.Accelerators, acceleratorMap)
	}
	if o.UseSpot != nil {
		c.res.UseSpot = new(*o.UseSpot)
	}
}

func (d *decoder) applyPlace(c *candidate, o ResourceOptions) {
	place := o.Cloud != "" || o.Region != "" || o.Zone != ""
	switch {
	case o.Infra != "" && place:
		d.option("--infra", "excludes --cloud, --region and --zone")
	case o.Infra != "":
		c.setInfra(overridden(d, "--infra", strings.Trim(o.Infra, "/ "), ParseInfra))
	}
	if o.Cloud != "" {
		c.res.Cloud = overridden(d, "--cloud", o.Cloud, func(s string) (string, error) { return parseCloud(s, false) })
	}
	if o.Region != "" {
		c.res.Region = unlessReset(o.Region)
	}
	if o.Zone != "" {
		c.res.Zone = unlessReset(o.Zone)
	}
}

func unlessReset(s string) string {
	if reset(s) {
		return ""
	}
	return s
}

// overridden is the value of an option; "none" and a wrong one are the zero.
func overridden[T any](d *decoder, option, s string, parse func(string) (T, error)) T {
	var none T
	if reset(s) {
		return none
	}
	out, err := parse(s)
	if err != nil {
		d.option(option, err.Error()).Hint = hintOf(err)
		return none
	}
	return out
}

func acceleratorMap(s string) (map[string]float64, error) {
	name, count, err := ParseAccelerators(s)
	return map[string]float64{name: count}, err
}

package task

import (
	"strconv"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// candidate is one candidate for a node on its way from a mapping to a message.
type candidate struct {
	res *stixv1.Resources
	// infra, place and accelerators are the values that exclude one another.
	infra, place *value
	accelerators *value
}

func newCandidate() *candidate { return &candidate{res: &stixv1.Resources{}} }

// readResources reads the whole of resources. The lists of candidates (any_of,
// ordered, several accelerators) are refused by name for now; they become more
// elements of reading.candidates.
func (d *decoder) readResources(r *reading, v *value) {
	if !d.isMapping(v) {
		return
	}
	c := newCandidate()
	decode(d, resourcesLevel(), c, v)
	if c.infra != nil && c.place != nil {
		d.fail(c.place, "%s and infra exclude one another: infra is CLOUD/REGION/ZONE", c.place.path())
	}
	r.candidates = []*candidate{c}
}

func (d *decoder) readInfra(c *candidate, v *value) {
	s, ok := d.text(v)
	if !ok {
		return
	}
	in, err := ParseInfra(s)
	if err != nil {
		d.wrong(v, "%s", err).Hint = hintOf(err)
		return
	}
	c.infra = v
	c.setInfra(in)
}

func (c *candidate) setInfra(in Infra) {
	c.res.Cloud, c.res.Region, c.res.Zone = in.Cloud, in.Region, in.Zone
}

func (d *decoder) readCloud(c *candidate, v *value) {
	s, ok := d.text(v)
	if !ok {
		return
	}
	c.place = v
	cloud, err := parseCloud(s, false)
	if err != nil {
		d.wrong(v, "%s", err).Hint = hintOf(err)
		return
	}
	if c.infra == nil {
		c.res.Cloud = cloud
	}
}

func (d *decoder) readRegion(c *candidate, v *value) { d.readPlace(c, v, &c.res.Region) }

func (d *decoder) readZone(c *candidate, v *value) { d.readPlace(c, v, &c.res.Zone) }

func (d *decoder) readPlace(c *candidate, v *value, into *string) {
	s, ok := d.text(v)
	if !ok {
		return
	}
	c.place = v
	if c.infra == nil {
		*into = s
	}
}

func (d *decoder) readInstanceType(c *candidate, v *value) { c.res.InstanceType, _ = d.text(v) }

func (d *decoder) readUseSpot(c *candidate, v *value) {
	if is, ok := d.boolean(v); ok {
		c.res.UseSpot = &is
	}
}

func (d *decoder) readCPUs(c *candidate, v *value) {
	if s, ok := d.scalarText(v, "a number such as 4 or 4+"); ok {
		c.res.Cpus = parsed(d, v, s, ParseCPUs)
	}
}

func (d *decoder) readMemory(c *candidate, v *value) {
	if s, ok := d.scalarText(v, "an amount such as 16, 16+ or 32GB"); ok {
		c.res.Memory = parsed(d, v, s, ParseMemory)
	}
}

func (d *decoder) readDiskSize(c *candidate, v *value) {
	if s, ok := d.scalarText(v, "a size such as 100 or 1TB"); ok {
		c.res.DiskSize = parsed(d, v, s, ParseDiskSize)
	}
}

// parsed applies one of the parsers of the grammar to a value.
func parsed[T any](d *decoder, v *value, s string, parse func(string) (T, error)) T {
	out, err := parse(s)
	if err != nil {
		d.wrong(v, "%s", err)
	}
	return out
}

func (d *decoder) readLabels(c *candidate, v *value) {
	if !d.isMapping(v) {
		return
	}
	c.res.Labels = map[string]string{}
	for _, e := range v.entries {
		if s, ok := d.text(e.val); ok {
			c.res.Labels[e.key.text] = s
		}
	}
}

func (d *decoder) readAccelerators(c *candidate, v *value) {
	if c.accelerators != nil {
		d.fail(v, "gpus and accelerators are the same: give one of them")
		return
	}
	c.accelerators = v
	switch {
	case v.kind == stringKind:
		d.setAccelerators(c, v, v.text)
	case v.kind == listKind && len(v.items) == 1 && v.items[0].kind == stringKind:
		d.setAccelerators(c, v.items[0], v.items[0].text)
	case v.kind == mapKind && len(v.entries) == 1:
		d.readAcceleratorEntry(c, v.entries[0])
	case v.kind == listKind && len(v.items) > 1, v.kind == mapKind && len(v.entries) > 1:
		d.unsupported(v, "%s: a choice of several accelerators is", v.path())
	default:
		d.wrong(v, "has to be NAME, NAME:COUNT or {NAME: COUNT}, not %s", v.describe())
	}
}

// readAcceleratorEntry reads {A100: 8}, and {A100:8} which is a key alone.
func (d *decoder) readAcceleratorEntry(c *candidate, e entry) {
	switch e.val.kind {
	case nullKind:
		d.setAccelerators(c, e.key, e.key.text)
	case intKind, floatKind:
		d.setAccelerators(c, e.val, strings.ReplaceAll(e.key.text, ":", " ")+":"+e.val.text)
	default:
		d.wrong(e.val, "the count has to be a number, not %s", e.val.describe())
	}
}

func (d *decoder) setAccelerators(c *candidate, v *value, s string) {
	if byMemory(s) {
		d.unsupported(v, "%s: choosing accelerators by their memory (%s) is", v.path(), strconv.Quote(clip(s)))
		return
	}
	name, count, err := ParseAccelerators(s)
	if err != nil {
		d.wrong(v, "%s", err)
		return
	}
	c.res.Accelerators = map[string]float64{name: count}
}

// byMemory recognises "80GB", "80GB+", "80GB:2" and "NVIDIA:80GB+:2".
func byMemory(s string) bool {
	for part := range strings.SplitSeq(s, ":") {
		part = strings.ToUpper(strings.TrimSuffix(strings.TrimSpace(part), "+"))
		digits := strings.TrimRight(part, "MGTB")
		if _, number := parseNumber(digits); number && len(part) == len(digits)+2 && strings.HasSuffix(part, "B") {
			return true
		}
	}
	return false
}

package task

import (
	"maps"
	"slices"
	"strconv"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Draft is a task written in Go. Its fields are the keys of a task file, and
// its strings are in the grammar of one; the zero value of a field leaves the
// key out.
type Draft struct {
	Name       string
	NumNodes   int
	Resources  DraftResources
	Workdir    string
	FileMounts []Mount
	Envs       map[string]string
	Secrets    map[string]string
	Setup      string
	Run        string
}

// DraftResources is what one node must have.
type DraftResources struct {
	// Infra is "cloud/region/zone".
	Infra        string
	InstanceType string
	CPUs         string
	Memory       string
	Accelerators string
	DiskSize     string
	UseSpot      *bool
	Labels       map[string]string
}

// Mount is one file mount.
type Mount struct{ Destination, Source string }

// Build makes the task that the same keys in a file make. The error is Errors,
// which name the key instead of a position.
func Build(t Draft) (*stixv1.Task, error) {
	d := &decoder{}
	return d.finish(d.readTask(t.document()), Options{})
}

// document is the draft as Parse would have read it from a file.
func (t Draft) document() *value {
	doc := &value{kind: mapKind}
	doc.put("name", text(t.Name))
	if t.NumNodes != 0 {
		doc.put("num_nodes", number(t.NumNodes))
	}
	doc.put("resources", t.Resources.document())
	doc.put("workdir", text(t.Workdir))
	if len(t.FileMounts) > 0 {
		mounts := doc.put("file_mounts", &value{kind: mapKind})
		for _, m := range t.FileMounts {
			mounts.add(m.Destination, &value{kind: stringKind, text: m.Source})
		}
	}
	doc.put("envs", textMap(t.Envs))
	doc.put("secrets", textMap(t.Secrets))
	doc.put("setup", text(t.Setup))
	doc.put("run", text(t.Run))
	return doc
}

func (r DraftResources) document() *value {
	res := &value{kind: mapKind}
	res.put("infra", text(r.Infra))
	res.put("instance_type", text(r.InstanceType))
	res.put("cpus", text(r.CPUs))
	res.put("memory", text(r.Memory))
	res.put("accelerators", text(r.Accelerators))
	res.put("disk_size", text(r.DiskSize))
	res.put("labels", textMap(r.Labels))
	if r.UseSpot != nil {
		res.put("use_spot", boolean(*r.UseSpot))
	}
	return res
}

// put adds an entry unless there is no value, and returns the value.
func (v *value) put(key string, val *value) *value {
	if val != nil {
		v.add(key, val)
	}
	return val
}

func (v *value) add(key string, val *value) {
	k := &value{kind: stringKind, text: key, source: key, parent: v, step: key}
	val.parent, val.step = v, key
	v.entries = append(v.entries, entry{k, val})
}

// text is nil for no text.
func text(s string) *value {
	if s == "" {
		return nil
	}
	return &value{kind: stringKind, text: s, source: s}
}

func number(n int) *value {
	s := strconv.Itoa(n)
	return &value{kind: intKind, text: s, source: s}
}

func boolean(b bool) *value {
	if b {
		return &value{kind: boolKind, text: "True", source: "true"}
	}
	return &value{kind: boolKind, text: "False", source: "false"}
}

// textMap is nil for no entries; values may be empty.
func textMap(m map[string]string) *value {
	if len(m) == 0 {
		return nil
	}
	v := &value{kind: mapKind}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v.add(k, &value{kind: stringKind, text: m[k], source: m[k]})
	}
	return v
}

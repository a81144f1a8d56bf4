package task

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"go.yaml.in/yaml/v3"
)

// Redacted stands for the value of a secret wherever a task is shown.
const Redacted = "<redacted>"

// Marshal writes a task in its normal form, which Parse reads back to an equal
// task. It is an error where no file can say that: more than one candidate, or
// a path that holds the $NAME of one of the task's own variables. That a task
// came from words (is_command) is not part of the form.
func Marshal(t *stixv1.Task) ([]byte, error) { return marshal(t, t.GetSecrets()) }

// MarshalRedacted is Marshal with every secret's value replaced by Redacted.
func MarshalRedacted(t *stixv1.Task) ([]byte, error) {
	hidden := make(map[string]string, len(t.GetSecrets()))
	for name := range t.GetSecrets() {
		hidden[name] = Redacted
	}
	return marshal(t, hidden)
}

func marshal(t *stixv1.Task, secrets map[string]string) ([]byte, error) {
	doc, err := document(t, secrets)
	if err != nil {
		return nil, fmt.Errorf("write task %q: %w", t.GetName(), err)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(doc.node()); err != nil {
		return nil, fmt.Errorf("write task %q: %w", t.GetName(), err)
	}
	return out.Bytes(), nil
}

func document(t *stixv1.Task, secrets map[string]string) (*value, error) {
	doc := &value{kind: mapKind}
	doc.put("name", text(t.GetName()))
	doc.put("num_nodes", number(int(t.GetNumNodes())))
	if len(t.GetResources()) > 1 {
		return nil, errors.New("several candidates for a node are not supported yet")
	}
	for _, res := range t.GetResources() {
		if len(res.GetAccelerators()) > 1 {
			return nil, errors.New("several accelerators in one candidate are not supported yet")
		}
		if r := resourcesDocument(res); len(r.entries) > 0 {
			doc.put("resources", r)
		}
	}
	if t.GetWorkdir().GetGitUrl() != "" {
		return nil, errors.New("a workdir from git is not supported yet")
	}
	doc.put("workdir", text(t.GetWorkdir().GetPath()))
	if len(t.GetFileMounts()) > 0 {
		mounts := doc.put("file_mounts", &value{kind: mapKind})
		for _, m := range t.GetFileMounts() {
			mounts.add(m.GetDestination(), &value{kind: stringKind, text: m.GetSource()})
		}
	}
	doc.put("envs", textMap(t.GetEnvs()))
	doc.put("secrets", textMap(secrets))
	doc.put("setup", text(t.GetSetup()))
	doc.put("run", text(t.GetRun()))
	return doc, sayable(t)
}

// sayable refuses paths that reading would change: there is no escape for $.
func sayable(t *stixv1.Task) error {
	sub := newSubstitution(t)
	paths := []string{t.GetWorkdir().GetPath()}
	for _, m := range t.GetFileMounts() {
		paths = append(paths, m.GetDestination(), m.GetSource())
	}
	for _, p := range paths {
		if sub.apply(p) != p {
			return fmt.Errorf("the path %q holds the name of a variable of the task, and a task file has no escape for it", p)
		}
	}
	return nil
}

func resourcesDocument(r *stixv1.Resources) *value {
	res := &value{kind: mapKind}
	in := Infra{Cloud: r.GetCloud(), Region: r.GetRegion(), Zone: r.GetZone()}
	if again, err := ParseInfra(in.String()); err == nil && again == in {
		res.put("infra", text(in.String()))
	} else {
		res.put("cloud", text(in.Cloud))
		res.put("region", text(in.Region))
		res.put("zone", text(in.Zone))
	}
	res.put("instance_type", text(r.GetInstanceType()))
	if r.GetCpus() != nil {
		res.put("cpus", text(FormatQuantity(r.GetCpus())))
	}
	if r.GetMemory() != nil {
		res.put("memory", text(FormatQuantity(r.GetMemory())))
	}
	res.put("accelerators", acceleratorsDocument(r.GetAccelerators()))
	if r.UseSpot != nil {
		res.put("use_spot", boolean(r.GetUseSpot()))
	}
	if r.GetDiskSize() != 0 {
		res.put("disk_size", number(int(r.GetDiskSize())))
	}
	res.put("labels", textMap(r.GetLabels()))
	return res
}

func acceleratorsDocument(all map[string]float64) *value {
	if len(all) == 0 {
		return nil
	}
	v := &value{kind: mapKind}
	for name, count := range all {
		s := strconv.FormatFloat(count, 'f', -1, 64)
		v.add(name, &value{kind: floatKind, text: s, source: s})
	}
	return v
}

// node is the value as YAML that Parse reads back.
func (v *value) node() *yaml.Node {
	switch v.kind {
	case mapKind:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, e := range v.entries {
			n.Content = append(n.Content, e.key.node(), e.val.node())
		}
		return n
	case stringKind:
		return textNode(v.text)
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: v.source}
	}
}

// textNode writes a script as a block, a plain word as it is, and all else in
// double quotes, where every character has a spelling.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
	switch {
	case plainWord(s):
		n.Style = 0
	case blockText(s):
		n.Style = yaml.LiteralStyle
	}
	return n
}

// plainWord is deliberately narrow.
func plainWord(s string) bool {
	for _, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("_-./", rune(c)) {
			return false
		}
	}
	return s != "" && s[0] != '-' && plainKind(s) == stringKind && !strings.HasPrefix(s, "---") && !strings.HasPrefix(s, "...")
}

// blockText is text of several lines without a trace of what blocks handle
// differently: leading space, trailing blank lines, odd characters.
func blockText(s string) bool {
	if !strings.Contains(s, "\n") || strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\n") || strings.HasSuffix(s, "\n\n") {
		return false
	}
	for _, r := range s {
		if r != '\n' && (r == '\ufeff' || !strconv.IsPrint(r)) {
			return false
		}
	}
	return true
}

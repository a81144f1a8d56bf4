package task

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// reading is a task on its way from a document to a message. What options and
// substitution still change is kept apart, with positions.
type reading struct {
	task       *stixv1.Task
	name       *value
	numNodes   *value
	workdir    *value
	mounts     *value
	envs       []binding
	secrets    []binding
	candidates []*candidate
}

// binding is one variable. Without a value it has to come from an option.
type binding struct {
	name  string
	value string
	null  bool
	at    *value
}

func newReading() *reading {
	return &reading{task: &stixv1.Task{NumNodes: 1}, candidates: []*candidate{newCandidate()}}
}

// readTask reads one document. A document that is no mapping ends it.
func (d *decoder) readTask(doc *value) *reading {
	r := newReading()
	if doc.kind != mapKind {
		d.fail(doc, "a task file is a mapping of keys such as run, not %s", doc.describe())
		return r
	}
	decode(d, taskLevel(), r, doc)
	return r
}

func (d *decoder) readName(r *reading, v *value) {
	r.task.Name, _ = d.text(v)
	r.name = v
}

func (d *decoder) readSetup(r *reading, v *value) { r.task.Setup, _ = d.text(v) }

func (d *decoder) readRun(r *reading, v *value) { r.task.Run, _ = d.text(v) }

func (d *decoder) readWorkdir(r *reading, v *value) {
	if v.kind == mapKind {
		d.unsupported(v, "workdir: the git form {url, ref} is")
		gitShape().check(d, v)
		return
	}
	if _, ok := d.text(v); ok {
		r.workdir = v
	}
}

func (d *decoder) readNumNodes(r *reading, v *value) {
	if v.kind != intKind {
		d.wrong(v, "has to be a whole number, not %s", v.describe())
		return
	}
	n, err := strconv.ParseInt(v.text, 10, 32)
	if err != nil || n < 1 {
		d.wrong(v, "has to be between 1 and %d, not %s", math.MaxInt32, clip(v.source))
		return
	}
	r.task.NumNodes = int32(n)
	r.numNodes = v
}

func (d *decoder) readFileMounts(r *reading, v *value) {
	if d.isMapping(v) {
		r.mounts = v
	}
}

func (d *decoder) readEnvs(r *reading, v *value) {
	if !d.isMapping(v) {
		return
	}
	for _, e := range v.entries {
		if d.varName(e.key) {
			r.envs = append(r.envs, d.binding(e))
		}
	}
}

func (d *decoder) varName(k *value) bool {
	if !validVarName(k.text) {
		d.fail(k, "%s is no name of a variable: use letters, digits and _, and no digit first", strconv.Quote(clip(k.text)))
		return false
	}
	return true
}

// binding reads a value as text the way Python prints it: True, 8, 1.0.
func (d *decoder) binding(e entry) binding {
	b := binding{name: e.key.text, value: e.val.pythonText(), null: e.val.kind == nullKind, at: e.key}
	d.noNul(e.val, b.value)
	return b
}

// reference is the marker of a secret that the server is to know the value of.
const reference = "secrets:"

var referenceForm = regexp.MustCompile(`^secrets:(?:(?:personal|workspace|global)\.)?[A-Za-z_][A-Za-z0-9_]*$`)

func (d *decoder) readSecrets(r *reading, v *value) {
	switch v.kind {
	case listKind:
		for _, item := range v.items {
			d.readSecretReference(r, item)
		}
	case mapKind:
		for _, e := range v.entries {
			d.readSecret(r, e)
		}
	default:
		d.wrong(v, "has to be a mapping, or a list of references")
	}
}

func (d *decoder) readSecret(r *reading, e entry) {
	if strings.HasPrefix(e.key.text, reference) {
		if e.val.kind != nullKind {
			d.fail(e.key, "secret %q: a reference has no value; drop the %q to give one", clip(e.key.text), reference)
			return
		}
		d.readSecretReference(r, e.key)
		return
	}
	if d.varName(e.key) {
		r.secrets = append(r.secrets, d.binding(e))
	}
}

// readSecretReference reads "secrets:NAME": a secret without a value, which an
// option may still supply.
func (d *decoder) readSecretReference(r *reading, v *value) {
	if v.kind != stringKind || !referenceForm.MatchString(v.text) {
		// What was written may be a secret itself: do not repeat it.
		d.fail(v, `a secret in a list has to be "secrets:NAME"; to give a value write secrets: {NAME: value}`)
		return
	}
	name := v.text[strings.LastIndexAny(v.text, ":.")+1:]
	r.secrets = append(r.secrets, binding{name: name, null: true, at: v})
}

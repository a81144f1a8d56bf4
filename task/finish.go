package task

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// finish applies the options to what was read and checks the whole. The order
// matters: substitution sees the final envs, checks see the final paths.
func (d *decoder) finish(r *reading, o Options) (*stixv1.Task, error) {
	d.applyVars(r, o)
	d.applyOptions(r, o)
	for _, c := range r.candidates {
		d.applyResources(c, o.Resources)
		r.task.Resources = append(r.task.Resources, c.res)
	}
	sub := newSubstitution(r.task)
	d.finishWorkdir(r, sub)
	d.finishMounts(r, sub)
	d.checkName(r)
	d.checkText(r.task)
	if err := d.errs.result(); err != nil {
		return nil, err
	}
	return r.task, nil
}

// option complains about something that the file is not to blame for.
func (d *decoder) option(name, reason string) *Error {
	e := &Error{Path: name, Reason: reason}
	d.errs = append(d.errs, e)
	return e
}

func (d *decoder) applyOptions(r *reading, o Options) {
	if o.Name != "" {
		r.task.Name, r.name = o.Name, nil
	}
	if o.NumNodes != nil {
		if *o.NumNodes < 1 || *o.NumNodes > 1<<31-1 {
			d.option("--num-nodes", "has to be at least 1")
		}
		r.task.NumNodes = int32(*o.NumNodes)
	}
	if o.Workdir != "" {
		r.task.Workdir, r.workdir = &stixv1.Workdir{Path: o.Workdir}, nil
	}
}

var taskName = regexp.MustCompile(`^[a-zA-Z0-9]+(?:[._-]{1,2}[a-zA-Z0-9]+)*$`)

func (d *decoder) checkName(r *reading) {
	const rule = "is no name of a task: use letters and digits, with at most two of . _ - between them"
	switch name := r.task.GetName(); {
	case name == "" || taskName.MatchString(name):
	case r.name != nil:
		d.wrong(r.name, "%q %s", clip(name), rule)
	default:
		d.option("--name", quoted(name)+" "+rule)
	}
}

func quoted(s string) string { return `"` + clip(s) + `"` }

func (d *decoder) finishWorkdir(r *reading, sub substitution) {
	if r.workdir == nil {
		return
	}
	dir := sub.apply(r.workdir.text)
	switch {
	case dir == "":
		d.wrong(r.workdir, "is empty")
	case isURL(dir):
		d.unsupported(r.workdir, "workdir: %s is a URL; the git form {url: URL} is", quoted(r.workdir.text))
	}
	r.task.Workdir = &stixv1.Workdir{Path: dir}
}

var urlForm = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*://`)

func isURL(s string) bool { return urlForm.MatchString(s) }

func (d *decoder) finishMounts(r *reading, sub substitution) {
	if r.mounts == nil {
		return
	}
	seen := map[string]bool{}
	for _, e := range r.mounts.entries {
		dest := sub.apply(e.key.text)
		if clean := placeOnNode(dest); seen[clean] {
			d.fail(e.key, "an earlier file mount has the destination %s, too", quoted(e.key.text))
		} else {
			seen[clean] = true
		}
		d.checkDestination(e.key, dest, r.task.GetWorkdir() != nil)
		if source, ok := d.mountSource(e.val, sub); ok {
			r.task.FileMounts = append(r.task.FileMounts, &stixv1.FileMount{Destination: dest, Source: source})
		}
	}
}

func (d *decoder) checkDestination(k *value, dest string, workdir bool) {
	d.noNul(k, dest)
	shown := quoted(k.text) // what substitution put in may be secret
	switch {
	case k.kind == nullKind:
		d.fail(k, "a file mount has no destination; put ~ in quotes where it is meant as one")
	case dest == "":
		d.fail(k, "the destination of a file mount is empty")
	case isURL(dest):
		d.fail(k, "the destination %s of a file mount is a URL: it has to be a path on the nodes", shown)
	case strings.HasSuffix(dest, "/"):
		d.fail(k, "the destination %s of a file mount ends in a slash: drop it", shown)
	case workdir && placeOnNode(dest) == workdirOnNode:
		d.fail(k, "the destination %s of a file mount is where workdir goes", shown)
	}
}

// workdirOnNode is where the workdir is put, and relative destinations with it.
const workdirOnNode = "~/sky_workdir"

func placeOnNode(dest string) string {
	if !strings.HasPrefix(dest, "/") && !strings.HasPrefix(dest, "~") {
		dest = workdirOnNode + "/" + dest
	}
	return path.Clean(dest)
}

func (d *decoder) mountSource(v *value, sub substitution) (string, bool) {
	switch v.kind {
	case mapKind:
		d.unsupported(v, "%s: a storage mount is", v.path())
		storageShape().check(d, v)
		return "", false
	case stringKind:
	case nullKind:
		d.wrong(v, "has no source; put ~ in quotes where it is meant as one")
		return "", false
	default:
		d.wrong(v, "the source has to be a path, not %s", v.describe())
		return "", false
	}
	source := sub.apply(v.text)
	switch {
	case source == "":
		d.wrong(v, "the source is empty")
	case isURL(source):
		d.unsupported(v, "%s: the source %s is a URL, which is", v.path(), quoted(v.text))
	case strings.HasSuffix(source, "/"):
		d.wrong(v, "the source %s ends in a slash: drop it", quoted(v.text))
	}
	return source, d.noNul(v, source)
}

// checkText refuses what the message cannot carry. A file is valid as a whole;
// this is for words and options.
func (d *decoder) checkText(t *stixv1.Task) {
	texts := []string{t.GetName(), t.GetSetup(), t.GetRun(), t.GetWorkdir().GetPath()}
	for _, vars := range []map[string]string{t.GetEnvs(), t.GetSecrets()} {
		for _, value := range vars {
			texts = append(texts, value)
		}
	}
	for _, res := range t.GetResources() {
		texts = append(texts, res.GetCloud(), res.GetRegion(), res.GetZone(), res.GetInstanceType())
		for name := range res.GetAccelerators() {
			texts = append(texts, name)
		}
	}
	if len(d.errs) == 0 && slices.ContainsFunc(texts, unspeakable) {
		d.option("", "an option or argument has a NUL character or is no valid UTF-8")
	}
}

func unspeakable(s string) bool { return !utf8.ValidString(s) || strings.Contains(s, "\x00") }

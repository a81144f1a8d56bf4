package task

import (
	"fmt"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Parse reads a task file. The name of the file is for messages only. The error
// is Errors: everything that is wrong with the file and the options at once, in
// the order of the file.
func Parse(file string, data []byte, o Options) (*stixv1.Task, error) {
	d := &decoder{file: file}
	doc := d.onlyTask(d.readDocuments(data))
	if doc == nil {
		return nil, d.errs.result()
	}
	return d.finish(d.readTask(doc), o)
}

// CommandName is the name of a task that comes from words.
const CommandName = "sky-cmd"

// FromCommand makes a task of words on the command line, joined by spaces. No
// words make a task that runs nothing: it provisions only.
func FromCommand(words []string, o Options) (*stixv1.Task, error) {
	d := &decoder{}
	d.noRepeats("--env", o.Env)
	d.noRepeats("--secret", o.Secrets)
	r := newReading()
	r.task.Name = CommandName
	r.task.Run = strings.Join(words, " ")
	r.task.IsCommand = true
	return d.finish(r, o)
}

func (d *decoder) noRepeats(option string, vars []Var) {
	seen := map[string]bool{}
	for _, v := range vars {
		if seen[v.Name] {
			d.option(option, fmt.Sprintf("%s is given twice", quoted(v.Name)))
		}
		seen[v.Name] = true
	}
}

// onlyTask picks the task out of a stream of documents. Streams of several are
// pipelines and groups, which this is not the command for.
func (d *decoder) onlyTask(all []*value) *value {
	if len(d.errs) > 0 && len(all) == 0 {
		return nil
	}
	var docs []*value
	for _, doc := range all {
		if doc.kind != nullKind {
			docs = append(docs, doc)
		}
	}
	if len(docs) == 0 {
		d.add(1, 1, "", fmt.Sprintf("%s is empty or contains no task definition: add at least a run (or setup) key", quoted(d.file)))
		return nil
	}
	head := headerOf(docs[0])
	switch {
	case head.execution == "parallel":
		d.usage(docs[0], "this is a job group: launch and exec take a single task, and \"jobs launch\" is not supported yet")
	case head.is && head.execution != "" && head.execution != "serial":
		d.fail(head.at, "execution has to be serial or parallel, not %s", head.at.describe())
	case head.is && len(docs) == 1:
		return withoutExecution(docs[0])
	case head.is && len(docs) == 2:
		return renamed(docs[1], docs[0])
	case len(docs) > 1:
		n := len(docs) - btoi(head.is)
		d.usage(docs[0], "this is a pipeline of %d tasks: launch and exec take a single task, and \"jobs launch\" is not supported yet", n)
	default:
		return docs[0]
	}
	return nil
}

func (d *decoder) usage(v *value, format string, args ...any) {
	d.fail(v, format, args...).Kind = Usage
}

// header is a first document that only says how the others belong together.
type header struct {
	is        bool
	execution string
	at        *value // the value of execution
}

func headerOf(doc *value) header {
	h := header{is: doc.kind == mapKind && doc.entry("name") != nil}
	for _, e := range doc.entries {
		h.is = h.is && (e.key.text == "name" || e.key.text == "execution")
	}
	if e := doc.entry("execution"); e != nil {
		h.execution, h.at = e.val.text, e.val
	}
	return h
}

func (v *value) entry(name string) *entry {
	for i := range v.entries {
		if v.entries[i].key.text == name {
			return &v.entries[i]
		}
	}
	return nil
}

func withoutExecution(doc *value) *value {
	for i, e := range doc.entries {
		if e.key.text == "execution" {
			doc.entries = append(doc.entries[:i:i], doc.entries[i+1:]...)
			break
		}
	}
	return doc
}

// renamed is the single task of a header: the name in the header wins.
func renamed(doc, head *value) *value {
	named := head.entry("name")
	if doc.kind != mapKind || named.val.kind == nullKind {
		return doc
	}
	if e := doc.entry("name"); e != nil {
		*e = *named
		return doc
	}
	doc.entries = append(doc.entries, *named)
	return doc
}

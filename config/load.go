package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/stix-run/stix/internal/nearest"
)

// File is one configuration file.
type File struct {
	// Name is for messages.
	Name string
	Data []byte
}

// Setting is a value with its origin; Text is empty when nothing sets it.
type Setting struct {
	Text string
	// At is "FILE:LINE:COL".
	At string
}

// Config is the layered configuration, as far as it is used.
type Config struct {
	// Endpoint is api_server.endpoint.
	Endpoint Setting
	// Warnings name what the files say and stix does not do yet.
	Warnings []Warning
}

// Warning is a known key that has no effect yet.
type Warning struct {
	File         string
	Line, Column int
	// Path is the key ("kubernetes.pod_config").
	Path string
}

// String prints "FILE:LINE:COL: "key" has no effect yet".
func (w Warning) String() string {
	return fmt.Sprintf("%s:%d:%d: %q is not supported yet and has no effect", w.File, w.Line, w.Column, w.Path)
}

// Error is one complaint about a configuration file.
type Error struct {
	File         string
	Line, Column int
	Path         string
	Reason       string
	// Hint is the nearest known key, empty when nothing is near.
	Hint string
}

// Error prints "FILE:LINE:COL: reason (did you mean "x"?)".
func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Reason)
	if e.Hint != "" {
		s += fmt.Sprintf(" (did you mean %q?)", e.Hint)
	}
	return s
}

// Load reads the files and lays them over each other, the last one winning.
// The error joins all complaints, each an *Error, in the order of the files.
func Load(files ...File) (Config, error) {
	var c Config
	var all []error
	for _, f := range files {
		l := &loader{file: f.Name, into: &c}
		l.load(f.Data)
		all = append(all, l.errs...)
	}
	if err := errors.Join(all...); err != nil {
		return Config{}, err
	}
	return c, nil
}

// loader reads one file.
type loader struct {
	file string
	into *Config
	errs []error
}

func (l *loader) fail(n *yaml.Node, path, format string, args ...any) *Error {
	e := &Error{File: l.file, Line: n.Line, Column: n.Column, Path: path, Reason: fmt.Sprintf(format, args...)}
	l.errs = append(l.errs, e)
	return e
}

func (l *loader) load(data []byte) {
	top := &yaml.Node{Line: 1, Column: 1}
	if !utf8.Valid(data) {
		l.fail(top, "", "not a valid UTF-8 text file, so it cannot be read as YAML")
		return
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return
	case err != nil:
		l.syntaxError(data, err)
		return
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		l.fail(top, "", "has more than one document")
		return
	}
	l.level(doc.Content[0], "", topKeys())
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntaxError says where the parser gave up; it tells lines only.
func (l *loader) syntaxError(data []byte, err error) {
	at, reason := &yaml.Node{Line: 1, Column: 1}, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
		at.Line, _ = strconv.Atoi(m[1])
		reason = err.Error()[len(m[0]):]
		// Errors of the parser's grammar, unlike those of its scanner, name the line before.
		if strings.HasPrefix(reason, "did not find expected ") {
			at.Line++
		}
	}
	at.Line = max(1, min(at.Line, 1+bytes.Count(data, []byte("\n"))))
	l.fail(at, "", "not valid YAML: %s", reason)
}

// level reads a mapping of known keys. A mapping without values counts as
// absent.
func (l *loader) level(n *yaml.Node, path string, keys []key) {
	n = follow(n)
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		l.fail(n, path, "%s has to be a mapping", name(path))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], follow(n.Content[i+1])
		full := strings.TrimPrefix(path+"."+k.Value, ".")
		if line := seen[k.Value]; line != 0 {
			l.fail(k, full, "duplicate key %q (also defined on line %d)", k.Value, line)
			continue
		}
		seen[k.Value] = k.Line
		l.entry(k, v, full, keys)
	}
}

func (l *loader) entry(k, v *yaml.Node, full string, keys []key) {
	i := slices.IndexFunc(keys, func(known key) bool { return known.name == k.Value && k.Kind == yaml.ScalarNode })
	switch {
	case i < 0:
		l.fail(k, full, "unknown key %q", full).Hint = nearest.Word(k.Value, names(keys))
	case v.Tag == "!!null":
	case keys[i].read != nil:
		keys[i].read(l, v, full)
	case keys[i].inside != nil:
		l.level(v, full, keys[i].inside)
	default:
		l.into.Warnings = append(l.into.Warnings, Warning{l.file, k.Line, k.Column, full})
	}
}

func (l *loader) readEndpoint(n *yaml.Node, path string) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		l.fail(n, path, "%s has to be a URL", path)
		return
	}
	if _, err := ParseEndpoint(n.Value); err != nil {
		l.fail(n, path, "%s: %s", path, err)
		return
	}
	l.into.Endpoint = Setting{Text: n.Value, At: fmt.Sprintf("%s:%d:%d", l.file, n.Line, n.Column)}
}

// follow is the node that an alias names. An alias cannot name an alias.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func name(path string) string {
	if path == "" {
		return "a configuration file"
	}
	return path
}

package task

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds on what a document may unfold to. An alias repeats what it names, so
// a short text can stand for a very large tree.
const (
	maxValues = 100_000
	maxDepth  = 64
	maxBytes  = 8 << 20
)

// readDocuments reads the stream. What cannot be read at all is one error;
// after that, complaints about single nodes are collected and the rest is read.
func (d *decoder) readDocuments(data []byte) []*value {
	if !d.readable(data) {
		return nil
	}
	var docs []*value
	u := unfolding{d: d, open: map[*yaml.Node]bool{}}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var node yaml.Node
		err := dec.Decode(&node)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			d.syntaxError(data, err)
			return nil
		}
		if len(node.Content) == 1 {
			if doc := u.value(node.Content[0], nil, ""); doc.kind != badKind {
				docs = append(docs, doc)
			}
		}
	}
}

// readable refuses what no YAML parser can read, with a position.
func (d *decoder) readable(data []byte) bool {
	line, col := 1, 1
	if len(data) > maxBytes {
		d.add(line, col, "", fmt.Sprintf("larger than %d MiB: no task file", maxBytes>>20))
		return false
	}
	d.lines = 1 + bytes.Count(data, []byte("\n"))
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size <= 1:
			d.add(line, col, "", "not a valid UTF-8 text file, so it cannot be read as YAML")
			return false
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			d.add(line, col, "", fmt.Sprintf("the control character %U is not allowed", r))
			return false
		case r == '\n':
			line, col = line+1, 0
		}
		i, col = i+size, col+1
	}
	return true
}

var (
	syntaxLine    = regexp.MustCompile(`^yaml: line (\d+): `)
	unknownAnchor = regexp.MustCompile(`^yaml: unknown anchor '(.*)' referenced`)
)

// syntaxError says where the parser gave up. It tells lines only, and errors of
// its grammar (unlike those of its scanner) one line too early; the column is
// that of the first character of the line.
func (d *decoder) syntaxError(data []byte, err error) {
	reason, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := syntaxLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		reason = err.Error()[len(m[0]):]
		if strings.HasPrefix(reason, "did not find expected ") && !strings.Contains(reason, "alphabetic") {
			line++
		}
	}
	lines := strings.Split(string(data), "\n")
	line = min(max(line, 1), len(lines))
	text := lines[line-1]
	col := 1 + len(text) - len(strings.TrimLeft(text, " \t"))
	if m := unknownAnchor.FindStringSubmatch(err.Error()); m != nil {
		line, col = find(lines, "*"+m[1])
		reason = fmt.Sprintf("the alias *%s names no anchor (&%s) above it", m[1], m[1])
	}
	if tab := strings.IndexByte(text, '\t'); tab >= 0 && strings.Contains(reason, "cannot start any token") {
		reason, col = "a tab cannot indent YAML: use spaces", 1+utf8.RuneCountInString(text[:tab])
	}
	d.add(line, col, "", "not valid YAML: "+reason)
}

func find(lines []string, what string) (line, col int) {
	for i, text := range lines {
		if at := strings.Index(text, what); at >= 0 {
			return i + 1, 1 + utf8.RuneCountInString(text[:at])
		}
	}
	return 1, 1
}

// unfolding turns the parser's nodes into values: aliases are followed, merge
// keys merged, scalars resolved, duplicate keys refused.
type unfolding struct {
	d     *decoder
	open  map[*yaml.Node]bool // collections around the current one, to find cycles
	count int
	depth int
	full  bool
}

func (u *unfolding) value(n *yaml.Node, parent *value, step string) *value {
	v := &value{kind: badKind, line: n.Line, col: n.Column, parent: parent, step: step}
	if u.full {
		return v
	}
	if u.count++; u.count > maxValues || u.depth > maxDepth {
		u.full = true
		u.d.fail(v, "the document unfolds to more than %d values or %d levels", maxValues, maxDepth)
		return v
	}
	u.depth++
	defer func() { u.depth-- }()
	switch n.Kind {
	case yaml.AliasNode:
		return u.alias(n, parent, step)
	case yaml.SequenceNode:
		u.collection(n, v, u.list)
	case yaml.MappingNode:
		u.collection(n, v, u.mapping)
	default:
		if err := v.resolve(n); err != nil {
			u.d.fail(v, "%s", err)
			v.kind = badKind
		}
	}
	return v
}

func (u *unfolding) alias(n *yaml.Node, parent *value, step string) *value {
	if u.open[n.Alias] {
		v := &value{kind: badKind, line: n.Line, col: n.Column, parent: parent, step: step}
		u.d.fail(v, "the alias *%s is inside of what it names", n.Value)
		return v
	}
	return u.value(n.Alias, parent, step)
}

// collection guards against cycles and foreign tags around list and mapping.
func (u *unfolding) collection(n *yaml.Node, v *value, read func(*yaml.Node, *value)) {
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!map" && n.Tag != "!!seq" && n.Tag != "!!set" {
		u.d.fail(v, "the tag %s is not allowed", n.Tag)
		return
	}
	u.open[n] = true
	defer delete(u.open, n)
	read(n, v)
}

func (u *unfolding) list(n *yaml.Node, v *value) {
	v.kind = listKind
	for i, item := range n.Content {
		if val := u.value(item, v, strconv.Itoa(i)); val.kind != badKind {
			v.items = append(v.items, val)
		}
	}
}

func (u *unfolding) mapping(n *yaml.Node, v *value) {
	v.kind = mapKind
	seen := map[string]*value{}
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := u.key(n.Content[i], v)
		if key == nil {
			continue
		}
		if first := seen[key.identity()]; first != nil {
			u.d.fail(key, "duplicate key %q (also defined on line %d)", key.text, first.line)
			continue
		}
		seen[key.identity()] = key
		if n.Content[i].Tag == "!!merge" {
			merges = append(merges, n.Content[i+1])
			continue
		}
		if val := u.value(n.Content[i+1], v, key.step); val.kind != badKind {
			v.entries = append(v.entries, entry{key, val})
		}
	}
	for _, m := range merges {
		u.merge(m, v, seen)
	}
}

// identity tells keys apart: the number 1 and the text "1" are two keys.
func (v *value) identity() string { return strconv.Itoa(int(v.kind)) + v.text }

func (u *unfolding) key(n *yaml.Node, parent *value) *value {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		v := &value{kind: badKind, line: n.Line, col: n.Column, parent: parent, step: "?"}
		u.d.fail(v, "a key cannot be a list or a mapping")
		return nil
	}
	v := u.value(n, parent, n.Value)
	if v.kind == badKind {
		return nil
	}
	v.step = v.spelling()
	return v
}

// merge adds the entries that "<<" names and the mapping does not have itself.
// The first of several mappings wins.
func (u *unfolding) merge(n *yaml.Node, into *value, seen map[string]*value) {
	from := u.value(n, into, "<<")
	if from.kind == badKind {
		return
	}
	sources := []*value{from}
	if from.kind == listKind {
		sources = from.items
	}
	for _, source := range sources {
		if source.kind != mapKind {
			u.d.fail(source, `"<<" merges a mapping or a list of mappings, not %s`, source.describe())
			continue
		}
		for _, e := range source.entries {
			if seen[e.key.identity()] == nil {
				seen[e.key.identity()] = e.key
				e.key.parent, e.val.parent = into, into
				into.entries = append(into.entries, e)
			}
		}
	}
}

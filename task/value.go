package task

import (
	"strconv"
	"strings"
)

// kind is the type of a value after resolution by the rules of YAML 1.1.
type kind int

const (
	nullKind kind = iota
	boolKind
	intKind
	floatKind
	timeKind
	stringKind
	listKind
	mapKind
	badKind // already complained about; never part of a document
)

// value is a node of a document with aliases and merge keys resolved.
type value struct {
	kind      kind
	line, col int
	// text is the string, or the number, boolean or date as Python's str()
	// prints it, which is how values become environment variables.
	text string
	// source is a scalar as the user wrote it.
	source string
	// repr is how Python prints a date inside a list.
	repr    string
	items   []*value
	entries []entry

	// parent and step (a key or an index) say where the value hangs; see path.
	parent *value
	step   string
}

// entry is one line of a mapping. Its key is a scalar.
type entry struct{ key, val *value }

// path prints where the value is: resources.any_of[0].cpus, or
// file_mounts["/data"] for keys that are no plain words.
func (v *value) path() string {
	if v.parent == nil {
		return ""
	}
	above := v.parent.path()
	switch {
	case v.parent.kind == listKind:
		return above + "[" + v.step + "]"
	case !validVarName(v.step):
		return above + "[" + strconv.Quote(clip(v.step)) + "]"
	case above == "":
		return v.step
	default:
		return above + "." + v.step
	}
}

// spelling is a key as the user wrote it.
func (v *value) spelling() string {
	if v.kind == stringKind {
		return v.text
	}
	return v.source
}

// describe names the value for a sentence: "a list", "the boolean yes".
func (v *value) describe() string {
	switch v.kind {
	case nullKind:
		return "empty"
	case boolKind:
		return "the boolean " + v.source
	case intKind, floatKind:
		return "the number " + v.source
	case timeKind:
		return "the date " + v.source
	case stringKind:
		return "the text " + strconv.Quote(clip(v.text))
	case listKind:
		return "a list"
	default:
		return "a mapping"
	}
}

// clip keeps messages readable when a whole script was put in the wrong place.
func clip(s string) string {
	const most = 60
	runes := 0
	for i := range s {
		if runes == most {
			return s[:i] + "…"
		}
		runes++
	}
	return s
}

// pythonText is the value as Python's str() prints it.
func (v *value) pythonText() string {
	if v.kind == listKind || v.kind == mapKind {
		return v.pythonRepr()
	}
	return v.text
}

// pythonRepr is the value as Python's repr() prints it.
func (v *value) pythonRepr() string {
	switch v.kind {
	case stringKind:
		return quotePython(v.text)
	case timeKind:
		return v.repr
	case listKind:
		parts := make([]string, len(v.items))
		for i, item := range v.items {
			parts[i] = item.pythonRepr()
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case mapKind:
		parts := make([]string, len(v.entries))
		for i, e := range v.entries {
			parts[i] = e.key.pythonRepr() + ": " + e.val.pythonRepr()
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return v.text
	}
}

func quotePython(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(escapePython(r))
		}
	}
	b.WriteByte(quote)
	return b.String()
}

func escapePython(r rune) string {
	hex := strconv.FormatInt(int64(r), 16)
	switch {
	case r < 0x100:
		return `\x` + strings.Repeat("0", 2-len(hex)) + hex
	case r < 0x10000:
		return `\u` + strings.Repeat("0", 4-len(hex)) + hex
	default:
		return `\U` + strings.Repeat("0", 8-len(hex)) + hex
	}
}

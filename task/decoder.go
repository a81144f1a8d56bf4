package task

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stix-run/stix/internal/nearest"
)

// decoder collects the complaints about one task.
type decoder struct {
	file  string
	lines int // of the file, 0 when there is none
	errs  Errors
}

// add complains about a position. What is missing at the end of a file has one
// behind it; it is told of the last line.
func (d *decoder) add(line, col int, path, reason string) *Error {
	if d.lines > 0 && line > d.lines {
		line, col = d.lines, 1
	}
	e := &Error{File: d.file, Line: line, Column: col, Path: path, Reason: reason}
	d.errs = append(d.errs, e)
	return e
}

// fail complains about a value.
func (d *decoder) fail(v *value, format string, args ...any) *Error {
	e := d.add(v.line, v.col, v.path(), fmt.Sprintf(format, args...))
	if v.line == 0 {
		e.Reason = strings.TrimPrefix(e.Reason, e.Path+": ")
	}
	return e
}

// wrong complains about a value under the name of its key.
func (d *decoder) wrong(v *value, format string, args ...any) *Error {
	return d.fail(v, "%s: %s", v.path(), fmt.Sprintf(format, args...))
}

// unsupported refuses something known by name.
func (d *decoder) unsupported(v *value, format string, args ...any) {
	d.fail(v, format+" not supported yet", args...).Kind = Unsupported
}

// text reads a value that has to be a string.
func (d *decoder) text(v *value) (string, bool) {
	switch v.kind {
	case stringKind:
		return v.text, d.noNul(v, v.text)
	case listKind, mapKind, nullKind:
		d.wrong(v, "has to be text, not %s", v.describe())
	default:
		d.wrong(v, "has to be text, not %s: put it in quotes", v.describe())
	}
	return "", false
}

// noNul refuses the one character that no variable, path or script can hold.
func (d *decoder) noNul(v *value, s string) bool {
	if strings.Contains(s, "\x00") {
		d.wrong(v, "a NUL character is not allowed")
		return false
	}
	return true
}

// scalarText reads text or a plain number as it was written.
func (d *decoder) scalarText(v *value, what string) (string, bool) {
	switch v.kind {
	case stringKind, intKind, floatKind:
		return v.text, true
	default:
		d.wrong(v, "has to be %s, not %s", what, v.describe())
		return "", false
	}
}

func (d *decoder) boolean(v *value) (is, ok bool) {
	if v.kind != boolKind {
		d.wrong(v, "has to be true or false, not %s", v.describe())
		return false, false
	}
	return v.text == "True", true
}

func (d *decoder) isMapping(v *value) bool {
	if v.kind != mapKind {
		d.wrong(v, "has to be a mapping, not %s", v.describe())
	}
	return v.kind == mapKind
}

// level is the table of the keys of one kind of mapping, read into a T.
type level[T any] struct {
	name string
	keys []key[T]
}

// key is one known key. Without read it is recognised and refused by name.
type key[T any] struct {
	name string
	read func(d *decoder, into T, v *value)
	// inside is what is known below a key that is not carried yet, so that
	// typing errors in it are told now.
	inside *shape
}

// decode reads a mapping by its table. Keys without a value are passed over, as
// if they were not there.
func decode[T any](d *decoder, lv level[T], into T, v *value) {
	for _, e := range v.entries {
		k, known := lv.find(e.key)
		switch {
		case !known:
			d.unknownKey(e.key, lv.name, lv.names())
		case e.val.kind == nullKind:
		case k.read != nil:
			k.read(d, into, e.val)
		default:
			d.unsupported(e.key, "%q is", e.val.path())
			k.inside.check(d, e.val)
		}
	}
}

func (lv level[T]) find(v *value) (key[T], bool) {
	for _, k := range lv.keys {
		if v.kind == stringKind && k.name == v.text {
			return k, true
		}
	}
	return key[T]{}, false
}

func (lv level[T]) names() []string {
	names := make([]string, len(lv.keys))
	for i, k := range lv.keys {
		names[i] = k.name
	}
	return names
}

func (d *decoder) unknownKey(k *value, level string, known []string) {
	public := make([]string, 0, len(known))
	for _, name := range known {
		if !strings.HasPrefix(name, "_") {
			public = append(public, name)
		}
	}
	d.fail(k, "unknown key %s in %s", strconv.Quote(clip(k.spelling())), level).Hint = nearest.Word(k.text, public)
}

// shape is the known keys of a mapping that is not carried yet.
type shape struct {
	name string
	// keys are the known ones; nil means that any is allowed.
	keys map[string]*shape
	// each is the shape of every value of a mapping with free keys or of a list.
	each *shape
}

// check complains about unknown keys in v and below it.
func (s *shape) check(d *decoder, v *value) {
	if s == nil {
		return
	}
	for _, item := range v.items {
		s.each.check(d, item)
	}
	for _, e := range v.entries {
		below, known := s.keys[e.key.text]
		if s.keys == nil {
			below, known = s.each, true
		}
		if !known {
			d.unknownKey(e.key, s.name, s.names())
			continue
		}
		below.check(d, e.val)
	}
}

func (s *shape) names() []string {
	names := make([]string, 0, len(s.keys))
	for name := range s.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

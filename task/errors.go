package task

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kind says what sort of complaint an Error is.
type Kind int

// The kinds of complaints.
const (
	// Invalid is text that breaks the grammar or one of its rules.
	Invalid Kind = iota
	// Unsupported is right in the grammar and not carried by stix yet.
	Unsupported
	// Usage is a task file that is fine but not for this command.
	Usage
)

// Error is one complaint about a task.
type Error struct {
	// File is the name given to Parse; empty for tasks that come from no file.
	File string
	// Line and Column count from 1, columns in characters. Both are 0 where no
	// file is to blame: then Path names the option.
	Line, Column int
	// Path is where in the document ("resources.cpus"), or the option ("--cpus").
	Path string
	// Reason says what is wrong, in full.
	Reason string
	// Hint is the nearest known word, empty when nothing is near.
	Hint string
	// Kind sorts complaints for callers that treat them differently.
	Kind Kind
}

// Error prints "FILE:LINE:COL: reason (did you mean "x"?)".
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Column)
	case e.File != "":
		fmt.Fprintf(&b, "%s: ", e.File)
	case e.Path != "":
		fmt.Fprintf(&b, "%s: ", e.Path)
	}
	b.WriteString(e.Reason)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", e.Hint)
	}
	return b.String()
}

// Errors are all complaints about one task, in the order of the file. It is
// the type of every error that Parse, FromCommand and Build return.
type Errors []*Error

// Error prints one complaint per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the single complaints.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// Only reports whether every complaint is of this kind.
func (e Errors) Only(k Kind) bool {
	return !slices.ContainsFunc(e, func(one *Error) bool { return one.Kind != k })
}

// maxErrors bounds what one file can make us say.
const maxErrors = 100

// result is the error for a caller: nil, or everything sorted by position.
// Complaints about options, which have none, come last.
func (e Errors) result() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(
			cmp.Compare(btoi(a.Line == 0), btoi(b.Line == 0)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
	if len(e) > maxErrors {
		last := e[maxErrors]
		last.Reason = fmt.Sprintf("and %d more errors from here on", len(e)-maxErrors)
		last.Hint = ""
		e = e[:maxErrors+1]
	}
	return e
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

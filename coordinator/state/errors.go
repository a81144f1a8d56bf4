package state

import "errors"

// Errors by kind; test with errors.Is.
var (
	// ErrNotLeader: this replica does not lead, or stopped leading before the update was proposed. Nothing happened.
	ErrNotLeader = errors.New("not the leader")
	// ErrUnknownOutcome: the update was proposed, and whether it was or will be committed is not known here.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrConflict: the update breaks a rule that a table declares (a unique index). Nothing happened.
	ErrConflict = errors.New("conflict")
	// ErrTooOld: what was asked for lies before what is kept. Nothing happened.
	ErrTooOld = errors.New("too old")
	// ErrTooLarge: the update is larger than one entry may be. Nothing happened.
	ErrTooLarge = errors.New("update too large")
	// ErrStartOver: a watch cannot deliver every change after its revision any more. Read a view and watch from there.
	ErrStartOver = errors.New("watch must start over")
)

// Outcome is what is known about a proposal that ended with an error.
type Outcome int

const (
	// Unknown: the entry may or may not be committed, now or later.
	Unknown Outcome = iota
	// NotHappened: the entry is not and will never be in the log.
	NotHappened
)

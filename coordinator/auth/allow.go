// Package auth decides who may do what: users and their verbs, nodes and their certificates, the cluster's own
// certificate authority, and the one-time tokens by which nodes join. Decisions are pure; what is kept is records.
package auth

import "fmt"

// Kind of a subject.
type Kind string

// The kinds of subjects.
const (
	User        Kind = "user"
	Node        Kind = "node"
	Coordinator Kind = "coordinator"
)

// Subject is who asks, as the transport has proved it: never what a message says of itself.
type Subject struct {
	// Kind of the subject.
	Kind Kind
	// ID is the user id, the node uid or the coordinator id.
	ID string
	// Name for people.
	Name string
}

// String is how a subject stands in the audit trail ("user/ab12cd34").
func (s Subject) String() string { return string(s.Kind) + "/" + s.ID }

// Verb is what is asked for.
type Verb string

// The verbs. Each call of each service has exactly one.
const (
	Launch  Verb = "launch"
	Exec    Verb = "exec"
	Cancel  Verb = "cancel"
	Down    Verb = "down"
	Read    Verb = "read"
	Upload  Verb = "upload"
	Join    Verb = "join"
	Report  Verb = "report"
	Operate Verb = "operate"
)

// Object is what the verb is about.
type Object struct {
	// Kind is "cluster", "job", "request", "blob", "node", "server".
	Kind string
	// UID and Name of the record, when there is one.
	UID, Name string
	// Workspace and Owner of the record.
	Workspace, Owner string
}

// DeniedError says who may not do what.
type DeniedError struct {
	Subject Subject
	Verb    Verb
	Object  Object
}

// Error names subject, verb and object.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("%s may not %s %s %s", e.Subject, e.Verb, e.Object.Kind, e.Object.Name)
}

// Allow is the one decision of access; nil allows. There is one user so far, the owner of the server, who may do
// everything that users do; a node may only speak of itself; a coordinator may do everything.
func Allow(s Subject, verb Verb, o Object) error {
	switch s.Kind {
	case Coordinator:
		return nil
	case User:
		if s.ID != "" && verb != Join && verb != Report {
			return nil
		}
	case Node:
		if (verb == Join || verb == Report) && o.Kind == "node" && o.UID == s.ID && s.ID != "" {
			return nil
		}
	}
	return &DeniedError{Subject: s, Verb: verb, Object: o}
}

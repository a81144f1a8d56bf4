// Package client is the Go SDK of stix: typed calls to a coordinator, made so
// that a broken connection or a coordinator that restarts costs the caller
// nothing but time.
//
// A mutating call gets its request id once and keeps it for every attempt, so
// it takes effect once however often it is sent. Streams (Logs, FollowRequest)
// resume where the reader was. Both give up when nothing has moved for the
// patience of the Config, with an Error of kind Unreachable.
//
// Every method is safe for concurrent use. Errors are *Error, made for people:
// callers switch on Kind.
package client

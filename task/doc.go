// Package task turns what users write (a task file, or words on the command
// line) into a validated, normalised stixv1.Task.
//
// It is pure: bytes and options in, values out. It reads no file, no
// environment and no clock, so that the client, the coordinator and a test see
// the same task in the same text. Whether a local path exists is for the
// client to find out.
//
// The grammar is SkyPilot's: YAML 1.1 as its loader reads it, and the keys of
// its task files. The tables in grammar.go name every known key; a key that
// stix does not carry yet is refused by name rather than ignored.
package task

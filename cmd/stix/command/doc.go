// Package command is the stix command line: one file per command, the tables
// and JSON they print, and the exit codes.
//
// The standard output carries what was asked for: a job's log, tables, ids.
// Everything said about it (progress, notices, prompts, errors) goes to the
// standard error.
//
// Exit codes: 0 done; 1 an error, a declined prompt or Ctrl-C; 2 wrong usage;
// 100 to 103 the result of a job (see exit.go).
package command

// Command stix-load measures stix as its users have it: whole processes and a real server, on state directories of its own
// that are gone afterwards. It writes docs/performance.md (`make bench`). It is a tool for us and is not installed.
//
//	stix-load -bin DIR [-write FILE] [-only NAME,...] [-quick] [-list]
//	stix-load emit BYTES     writes lines; the jobs that measure logs run it
//
// Every figure is told with the least, the middle and the most of its runs, the floor that it must keep and the aim. The
// machine, and what else it was doing before, are told with them: figures of a busy machine say little.
//
// Everything that is started has a scratch directory in its environment, and is stopped by process id, also when a measure
// fails or is interrupted.
package main

// Package logs is about the output of jobs on a node: the Writer that the shim of
// a job writes it with, the Reader for a log that still grows, and the Pusher that
// brings it to the coordinators.
//
// A log is a sequence of bytes and every offset is absolute in it, whatever
// becomes of files. A log that reaches its segment size is rotated: its file gets
// the suffix .OFFSET (of its first byte, twenty digits) and a new one begins; the
// last two segments are kept. What is rotated away before it was pushed is made up
// for by a line that says so and zeros, so that offsets stay what they were.
//
// When the disk is full, output is dropped while the job goes on, and a line in
// the log says how much; it counts as part of the log. Beside the log an index
// has marks (time, offset), at most one a second.
package logs

// Package exec carries out what a node is told to do. A Worker takes orders, puts
// them on record, lets an Executor run them and reports what becomes of them.
//
// Orders say what is wanted, not what to do: the same order again changes nothing,
// a full set ends what is not in it. An assignment goes ACCEPTED (on record) ->
// RUNNING -> EXITED and runs at most once. When the Worker ends, its jobs go on;
// the next one adopts them.
//
// The executor of this package, Processes, runs each job under a shim: the agent's
// own program started again, detached, which owns the processes of the job, writes
// its log and, at the end, its exit file. They talk by files in the job's
// directory, one pipe that tells that the shim lives, and SIGTERM:
//
//	alive  FIFO; the shim holds its writing end as long as it lives
//	start  written before the user's shell is started: from here on, it may have been
//	pid    the user's shell, written when it runs
//	kill   how to kill, written by the agent before it sends SIGTERM
//	exit   how it ended, written last
//	log.index  marks of the log
//
// The script, which may hold secrets, goes through a pipe and is never in a file.
//
// How a crash at any point is made good: without a file start, nothing of the
// user's ran, and the job is started again. With exit, it is over. With neither
// exit nor a living shim, what is left of its processes is killed and the
// assignment is LOST. A shim that lives is waited for.
package exec

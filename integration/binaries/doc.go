// Package binaries holds the scenarios that run the real programs as processes and kill them by signal: the tour of the
// README, the death of every process while a job runs, the end of process trees, calls that are repeated, files, secrets,
// the start of the server, and a launch whose server is killed at random moments.
//
// They are behind the build tag integration and need Linux; `make integration` builds the programs and runs them. The
// variable STIX_TEST_BIN names the folder of the programs. Under CI=true a missing prerequisite is a failure.
//
// Each test has a state directory of its own, and ends with nothing of it left: no process, no socket, no machine. It
// only kills processes that carry that directory's name. What the programs do by themselves is waited for with
// eventually, the one place that looks again and again.
package binaries

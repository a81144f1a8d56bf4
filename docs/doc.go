// Package docs is the documentation of stix. There is no code in it, only the tests that keep it true: every state has
// a deadline, every link leads somewhere, and every package, constant and make target that is named exists.
package docs

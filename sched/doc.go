// Package sched decides: which offer a cluster is rented from, and which job of a queue starts next and where. It is
// pure: values in, values out, no clock, no randomness, no effects, so that the same input gives the same decision on
// every coordinator and a decision can be replayed. Every refusal says why.
package sched

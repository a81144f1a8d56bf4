// Package integration has the scenarios of stix as a whole. Here: a coordinator, agents and a fake cloud in one bubble
// of virtual time, over a network in memory, started as the programs start them; what they promise is checked at the
// end of every scenario. In binaries: the real programs, killed by signal.
package integration

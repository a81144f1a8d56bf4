// Package state is the record store of the coordinators: tables of protobuf records with indexes, immutable views,
// watches, and Update, through which alone records change.
//
// # How a change travels
//
// On the leader, one goroutine (Store.Run) runs the functions given to Update, in order of arrival, over the newest
// records. What they put and delete becomes one entry of the replicated log, and while that entry commits the next ones
// run over its result and form the next entry: one is in flight at any time. Every replica, the leader too, applies
// committed entries through Store.Apply, which publishes a new View and tells the watches.
//
// An entry names the revision that it was decided on and the term of the leader who decided it. Apply refuses another
// revision (the replica would differ from its peers, so it stops), and passes over an entry whose term is not the one
// it was logged in: that is a proposal which was on its way while leadership was lost and won again.
//
// # Closed
//
// The package knows no clock, no randomness and no effects. Times, ids and secrets are made by whoever calls Update and
// become part of the entry, so that replaying the log, or restoring a snapshot, gives the same records to the byte.
//
// # Sharing
//
// Records that come out of a view, a transaction or a change are shared and must not be written to. Put keeps a copy of
// what it is given; Edit hands out a private copy to write to.
package state

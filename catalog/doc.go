// Package catalog knows what the clouds sell: instance types, accelerators, regions, zones and prices, with the date
// and the source of every cloud's facts. The facts are part of the program; a table that was fetched later has the same
// format and takes the place of one cloud's facts. The catalog is facts only and decides nothing: it answers queries in
// an order that never changes, and whoever asks chooses.
package catalog

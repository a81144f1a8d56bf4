package catalog

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Encode checks the table and makes the catalog file of it. Equal tables make equal files, whatever order they are in.
func Encode(t Table) ([]byte, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	offers := slices.Clone(t.Offers)
	slices.SortFunc(offers, Offer.compare)
	w := writer{names: namesOf(offers), sets: zoneSets(offers), prices: pricesOf(offers)}
	w.strings(t.Cloud, t.Date, t.Source, t.Note)
	w.bool(t.Free)
	w.number(int64(len(offers)))
	w.head(offers)
	w.columns(offers)
	body := w.body
	if int64(len(body)) > maxBody {
		return nil, fmt.Errorf("encode table of %s: %d bytes are too many", t.Cloud, len(body))
	}
	return seal(kindOffers, body), nil
}

// maxBody is what the length in the envelope can say, with room.
const maxBody = 1 << 31

// writer makes a body. The lists are sorted and without doubles; a number in the body is a place in one of them.
type writer struct {
	body   []byte
	names  []string
	sets   []string
	prices []Money
}

func (w *writer) number(n int64) { w.body = binary.AppendUvarint(w.body, uint64(n)) }

func (w *writer) bool(b bool) {
	if b {
		w.number(1)
	} else {
		w.number(0)
	}
}

func (w *writer) strings(list ...string) {
	for _, s := range list {
		w.number(int64(len(s)))
		w.body = append(w.body, s...)
	}
}

func (w *writer) name(s string) { w.number(int64(indexIn(w.names, s))) }

// indexIn is where s is in a sorted list that has it.
func indexIn[T ~string | ~int64](sorted []T, s T) int {
	i, _ := slices.BinarySearch(sorted, s)
	return i
}

func (w *writer) head(offers []Offer) {
	w.number(int64(len(w.names)))
	w.strings(w.names...)
	w.number(int64(len(w.sets)))
	for _, set := range w.sets {
		zones := splitSet(set)
		w.number(int64(len(zones)))
		for _, zone := range zones {
			w.name(zone)
		}
	}
	w.number(int64(len(w.prices)))
	last := Unpriced
	for _, p := range w.prices {
		w.number(int64(p - last))
		last = p
	}
	w.machines(offers)
}

// machines writes each machine with the number of its rows, which follow one another.
func (w *writer) machines(offers []Offer) {
	groups := groupMachines(offers)
	w.number(int64(len(groups)))
	for _, g := range groups {
		m := g[0].Machine
		w.name(m.InstanceType)
		w.name(m.Arch)
		w.name(m.Accelerator)
		for _, q := range []Quantity{m.VCPUs, m.MemoryGiB, m.Count, m.AcceleratorGiB} {
			w.number(int64(q))
		}
		w.number(int64(len(g)))
	}
}

func (w *writer) columns(offers []Offer) {
	n := len(offers)
	region, zones, price, spot := make([]int, n), make([]int, n), make([]int, n), make([]int, n)
	for i, o := range offers {
		region[i] = indexIn(w.names, o.Region)
		zones[i] = indexIn(w.sets, joinSet(o.Zones))
		price[i] = indexIn(w.prices, o.Price)
		spot[i] = indexIn(w.prices, o.Spot)
	}
	w.body = appendColumn(w.body, region, len(w.names))
	w.body = appendColumn(w.body, zones, len(w.sets))
	w.body = appendColumn(w.body, price, len(w.prices))
	w.body = appendColumn(w.body, spot, len(w.prices))
}

// groupMachines cuts sorted offers where the machine changes.
func groupMachines(offers []Offer) [][]Offer {
	var groups [][]Offer
	start := 0
	for i := range offers {
		if i+1 == len(offers) || *offers[i].Machine != *offers[i+1].Machine {
			groups = append(groups, offers[start:i+1])
			start = i + 1
		}
	}
	return groups
}

func namesOf(offers []Offer) []string {
	set := map[string]bool{"": true}
	for _, o := range offers {
		for _, s := range []string{o.InstanceType, o.Arch, o.Accelerator, o.Region} {
			set[s] = true
		}
		for _, zone := range o.Zones {
			set[zone] = true
		}
	}
	return sorted(set)
}

func zoneSets(offers []Offer) []string {
	set := map[string]bool{}
	for _, o := range offers {
		set[joinSet(o.Zones)] = true
	}
	return sorted(set)
}

func pricesOf(offers []Offer) []Money {
	set := map[Money]bool{Unpriced: true}
	for _, o := range offers {
		set[o.Price], set[o.Spot] = true, true
	}
	return sorted(set)
}

func sorted[T ~string | ~int64](set map[T]bool) []T {
	list := make([]T, 0, len(set))
	for s := range set {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// joinSet makes a key of a set of zones; no zone has a NUL in its name.
func joinSet(zones []string) string { return strings.Join(zones, "\x00") }

func splitSet(set string) []string {
	if set == "" {
		return nil
	}
	return strings.Split(set, "\x00")
}

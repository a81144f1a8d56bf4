package catalog

import (
	"cmp"
	"slices"
)

// Cheapest returns the n cheapest offers that meet the query, cheapest first, in the order of Offers where prices are
// equal. It looks at every offer but makes only those that were among the cheapest when they came.
func (c *Catalog) Cheapest(q Query, n int) []Offer {
	if n <= 0 {
		return nil
	}
	best := make([]Offer, 0, min(n, 64)+1)
	price := func(o Offer) Money { return q.Renting.of(o.Price, o.Spot) }
	for _, cl := range c.opened(q.Clouds) {
		// The bound of the query falls while it runs: an offer must be cheaper than the last of the best.
		more := cl.answer(&q, func(o Offer) bool {
			at, _ := slices.BinarySearchFunc(best, price(o), func(b Offer, p Money) int {
				return cmp.Or(cmp.Compare(price(b), p), -1)
			})
			best = slices.Insert(best, at, o)
			best = best[:min(len(best), n)]
			if len(best) == n {
				q.below = price(best[n-1])
			}
			// Nothing is cheaper than what is free.
			return len(best) < n || q.below > 0
		})
		if !more {
			break
		}
	}
	return best
}

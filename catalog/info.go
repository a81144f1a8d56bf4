package catalog

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Info is what a person reads who wants to know how far to trust the catalog: for each cloud the date, the source and
// the amount of its facts, and what they do not tell.
func (c *Catalog) Info() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	clouds := c.Clouds()
	fmt.Fprintln(w, "CLOUD\tOFFERS\tTYPES\tREGIONS\tZONES\tDATE")
	for _, i := range clouds {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n", i.Name, i.Offers, i.Types, i.Regions, i.Zones, i.Date)
	}
	// Nothing that is written into a strings.Builder can fail.
	_ = w.Flush()
	for _, i := range clouds {
		fmt.Fprintf(&b, "\n%s: from %s.\n", i.Name, strings.TrimSuffix(i.Source, "."))
		if i.Note != "" {
			fmt.Fprintf(&b, "  %s\n", i.Note)
		}
	}
	return b.String()
}

package catalog

import "sync"

// cloud is one cloud's facts, opened. The head is read at once, the rows stay as they lie in the file.
type cloud struct {
	info     CloudInfo
	free     bool
	machines []Machine
	// firstRow of each machine; one more than machines, so that the last has an end.
	firstRow []int
	names    []string
	sets     [][]string
	prices   []Money

	region, zones, price, spot column

	// byType and byAccelerator lead to machines, which are sorted by type.
	byType, byAccelerator map[string][]int
	places                func() map[string][]string
}

// decode opens a file of offers. It takes any bytes and never panics.
func decode(file []byte) (*cloud, error) {
	body, err := unseal(kindOffers, file)
	if err != nil {
		return nil, err
	}
	r := &reader{rest: body}
	c := &cloud{}
	c.info = readInfo(r)
	c.free = r.index(2) == 1
	rows := r.count()
	c.names = r.texts()
	c.readSets(r)
	c.readPrices(r)
	c.readMachines(r, rows)
	c.region = r.column(rows, len(c.names))
	c.zones = r.column(rows, len(c.sets))
	c.price = r.column(rows, len(c.prices))
	c.spot = r.column(rows, len(c.prices))
	if err := r.end(); err != nil {
		return nil, err
	}
	c.index()
	return c, nil
}

func readInfo(r *reader) CloudInfo {
	return CloudInfo{Name: r.text(), Date: r.text(), Source: r.text(), Note: r.text()}
}

func (c *cloud) readSets(r *reader) {
	c.sets = make([][]string, r.count())
	for i := range c.sets {
		if n := r.count(); n > 0 {
			c.sets[i] = make([]string, n)
		}
		for j := range c.sets[i] {
			c.sets[i][j] = c.readName(r)
		}
	}
}

func (c *cloud) readName(r *reader) string {
	if i := r.index(len(c.names)); r.err == nil {
		return c.names[i]
	}
	return ""
}

func (c *cloud) readPrices(r *reader) {
	c.prices = make([]Money, r.count())
	last := Unpriced
	for i := range c.prices {
		if last += Money(r.number()); last < Unpriced {
			r.fail("a price is too large")
			return
		}
		c.prices[i] = last
	}
}

// machineSize is what a machine takes in the file at least: eight numbers.
const machineSize = 8

func (c *cloud) readMachines(r *reader, rows int) {
	n := r.countOf(machineSize)
	c.machines, c.firstRow = make([]Machine, n), make([]int, 1, n+1)
	for i := range c.machines {
		c.machines[i] = Machine{
			Cloud: c.info.Name, InstanceType: c.readName(r), Arch: c.readName(r), Accelerator: c.readName(r),
			VCPUs: Quantity(r.number()), MemoryGiB: Quantity(r.number()),
			Count: Quantity(r.number()), AcceleratorGiB: Quantity(r.number()),
		}
		c.firstRow = append(c.firstRow, c.firstRow[i]+r.count())
	}
	if c.firstRow[n] != rows {
		r.fail("the rows of the machines are not the rows of the table")
	}
}

func (c *cloud) index() {
	c.byType, c.byAccelerator = make(map[string][]int, len(c.machines)), map[string][]int{}
	for i := range c.machines {
		m := &c.machines[i]
		if m.InstanceType != "" {
			c.byType[m.InstanceType] = append(c.byType[m.InstanceType], i)
		}
		if m.Accelerator != "" {
			c.byAccelerator[m.Accelerator] = append(c.byAccelerator[m.Accelerator], i)
		}
	}
	c.info.Offers, c.info.Types = c.rows(), len(c.byType)
	c.places = sync.OnceValue(c.collectPlaces)
}

func (c *cloud) rows() int { return c.firstRow[len(c.machines)] }

func (c *cloud) offer(machine, row int) Offer {
	return Offer{
		Machine: &c.machines[machine], Region: c.names[c.region.at(row)], Zones: c.sets[c.zones.at(row)],
		Price: c.prices[c.price.at(row)], Spot: c.prices[c.spot.at(row)],
	}
}

// collectPlaces finds the regions and, of each, all zones that any offer names.
func (c *cloud) collectPlaces() map[string][]string {
	type pair struct{ region, set int }
	seen, zones := map[pair]bool{}, map[string]map[string]bool{}
	for row := range c.rows() {
		p := pair{c.region.at(row), c.zones.at(row)}
		if seen[p] {
			continue
		}
		seen[p] = true
		region := c.names[p.region]
		if zones[region] == nil {
			zones[region] = map[string]bool{}
		}
		for _, zone := range c.sets[p.set] {
			zones[region][zone] = true
		}
	}
	places := make(map[string][]string, len(zones))
	for region, set := range zones {
		places[region] = sorted(set)
	}
	return places
}

func (c *cloud) table() Table {
	t := Table{Cloud: c.info.Name, Date: c.info.Date, Source: c.info.Source, Note: c.info.Note, Free: c.free}
	t.Offers = make([]Offer, 0, c.rows())
	for i := range c.machines {
		for row := c.firstRow[i]; row < c.firstRow[i+1]; row++ {
			t.Offers = append(t.Offers, c.offer(i, row))
		}
	}
	return t
}

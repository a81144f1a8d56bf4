package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/stix-run/stix/catalog"
)

// offerColumns of a table of offers, in their order.
const offerColumns = "instance_type,arch,vcpus,memory_gib,accelerator,accelerator_count,accelerator_memory_gib,region,zone,price,spot_price"

// readTable reads all files of one cloud.
func readTable(facts fs.FS, s source) (catalog.Table, error) {
	zones, err := readZones(facts, s)
	if err != nil {
		return catalog.Table{}, err
	}
	t := catalog.Table{Cloud: s.cloud, Date: s.date, Source: s.from, Note: s.note}
	machines := map[catalog.Machine]*catalog.Machine{}
	for _, file := range s.prices {
		err := eachRecord(facts, file, offerColumns, func(record []string) error {
			o, err := readOffer(s.cloud, record)
			if err != nil {
				return err
			}
			if len(o.Zones) == 0 {
				o.Zones = zones[zoneKey(s, o.InstanceType, o.Region)]
			}
			if machines[*o.Machine] == nil {
				machines[*o.Machine] = o.Machine
			}
			o.Machine = machines[*o.Machine]
			t.Offers = append(t.Offers, o)
			return nil
		})
		if err != nil {
			return catalog.Table{}, err
		}
	}
	return t, nil
}

func zoneKey(s source, instanceType, region string) [2]string {
	if s.regional {
		return [2]string{region}
	}
	return [2]string{instanceType, region}
}

// readZones reads in which zones of a region an instance type is sold, or anything is.
func readZones(facts fs.FS, s source) (map[[2]string][]string, error) {
	zones := map[[2]string][]string{}
	if s.zones == "" {
		return zones, nil
	}
	columns := "instance_type,region,zone"
	if s.regional {
		columns = "region,zone"
	}
	err := eachRecord(facts, s.zones, columns, func(record []string) error {
		list := strings.Split(record[len(record)-1], ";")
		slices.Sort(list)
		key := [2]string{record[0]}
		if !s.regional {
			key[1] = record[1]
		}
		if zones[key] != nil || list[0] == "" {
			return fmt.Errorf("the zones of %v are there twice or empty", key)
		}
		zones[key] = list
		return nil
	})
	return zones, err
}

// eachRecord calls fn for each line below a heading that must begin with the given columns.
func eachRecord(facts fs.FS, file, columns string, fn func([]string) error) error {
	f, err := facts.Open(file)
	if err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	// Nothing is written, so there is nothing that closing could lose.
	defer func() { _ = f.Close() }()
	r := csv.NewReader(f)
	heading, err := r.Read()
	if err != nil {
		return fmt.Errorf("read facts: %s: %w", file, err)
	}
	if !strings.HasPrefix(strings.Join(heading, ","), columns) {
		return fmt.Errorf("read facts: %s does not begin with the columns %s", file, columns)
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = fn(record)
		}
		if err != nil {
			line, _ := r.FieldPos(0)
			return fmt.Errorf("read facts: %s, line %d: %w", file, line, err)
		}
	}
}

func readOffer(cloud string, record []string) (catalog.Offer, error) {
	var problems []error
	quantity := func(i int) catalog.Quantity {
		if record[i] == "" {
			return 0
		}
		q, err := catalog.ParseQuantity(record[i])
		problems = append(problems, err)
		return q
	}
	price := func(i int) catalog.Money {
		if record[i] == "" {
			return catalog.Unpriced
		}
		m, err := catalog.ParseMoney(record[i])
		problems = append(problems, err)
		return m
	}
	m := &catalog.Machine{
		Cloud: cloud, InstanceType: record[0], Arch: record[1], VCPUs: quantity(2), MemoryGiB: quantity(3),
		Accelerator: record[4], Count: quantity(5), AcceleratorGiB: quantity(6),
	}
	correct(m)
	o := catalog.Offer{Machine: m, Region: record[7], Price: price(9), Spot: price(10)}
	if record[8] != "" {
		o.Zones = []string{record[8]}
	}
	return o, errors.Join(problems...)
}

// acceleratorFacts is the table of all accelerators.
const acceleratorFacts = "accelerators.csv"

func readAccelerators(facts fs.FS) ([]catalog.Accelerator, error) {
	var list []catalog.Accelerator
	err := eachRecord(facts, acceleratorFacts, "name,vendor,memory_gib,kind", func(record []string) error {
		memory, err := catalog.ParseQuantity(record[2])
		list = append(list, catalog.Accelerator{Name: record[0], Maker: record[1], MemoryGiB: memory, Kind: record[3]})
		return err
	})
	return list, err
}

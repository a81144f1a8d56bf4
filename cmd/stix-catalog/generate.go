package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stix-run/stix/catalog"
)

// product is everything that a run makes, before any of it is written.
type product struct {
	tables []catalog.Table
	// files by name, as they go into the directory.
	files map[string][]byte
}

// sourcesFile tells people what the catalog files are made of.
const sourcesFile = "SOURCES.md"

// generate reads all facts, checks them and makes the files. Equal facts make equal files.
func generate(facts fs.FS) (*product, error) {
	p := &product{files: map[string][]byte{}}
	accelerators, err := readAccelerators(facts)
	if err != nil {
		return nil, err
	}
	if p.files[catalog.AcceleratorsFile], err = catalog.EncodeAccelerators(accelerators); err != nil {
		return nil, err
	}
	var problems []error
	for _, s := range sources() {
		problems = append(problems, p.add(facts, s, accelerators))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	p.files[sourcesFile] = p.sourcesPage()
	return p, nil
}

func (p *product) add(facts fs.FS, s source, accelerators []catalog.Accelerator) error {
	table, err := readTable(facts, s)
	if err != nil {
		return err
	}
	if err := inspect(table, accelerators); err != nil {
		return err
	}
	file, err := catalog.Encode(table)
	if err != nil {
		return err
	}
	p.tables = append(p.tables, table)
	p.files[s.cloud+catalog.Ext] = file
	return nil
}

// write replaces the files one after the other. Cut short it leaves old files beside new ones, each of them whole; the
// next run makes all of them new.
func (p *product) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory of the catalog: %w", err)
	}
	for name, data := range p.files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", data, 0o644); err != nil {
			return fmt.Errorf("write catalog file: %w", err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			return fmt.Errorf("write catalog file: %w", err)
		}
	}
	return nil
}

// report says what was made, and lists what is odd but true to its source.
func (p *product) report(w io.Writer) {
	for _, t := range p.tables {
		fmt.Fprintf(w, "%-10s %6d offers  %7d bytes\n", t.Cloud, len(t.Offers), len(p.files[t.Cloud+catalog.Ext]))
		for _, o := range t.Dearer() {
			fmt.Fprintf(w, "  odd: %s\n", describe(o))
		}
	}
}

func describe(o catalog.Offer) string {
	place := strings.TrimSuffix(o.Region+"/"+strings.Join(o.Zones, ","), "/")
	return fmt.Sprintf("%s in %s costs %s on demand and %s as spot", o.InstanceType, place, o.Price, o.Spot)
}

// sourcesPage is SOURCES.md: dates, sources, gaps and oddities of every cloud.
func (p *product) sourcesPage() []byte {
	var b bytes.Buffer
	b.WriteString(`# Where the catalog's facts come from

Written by ` + "`make catalog FACTS=DIR`" + `; edit cmd/stix-catalog/sources.go instead. Prices are US dollars an hour, for
Linux. The facts (names, sizes, places, prices) were taken from the sources below and put into tables of our own.

| cloud | offers | date | source |
|---|---|---|---|
`)
	for _, t := range p.tables {
		fmt.Fprintf(&b, "| %s | %d | %s | %s |\n", t.Cloud, len(t.Offers), t.Date, t.Source)
	}
	b.WriteString("\n## What the facts do not tell\n\n")
	for _, t := range p.tables {
		if t.Note != "" {
			fmt.Fprintf(&b, "* **%s**: %s\n", t.Cloud, t.Note)
		}
	}
	b.WriteString("\n## Spot prices above the price on demand\n\nAs the sources have them; never a reason to rent spot.\n\n")
	for _, t := range p.tables {
		for _, o := range t.Dearer() {
			fmt.Fprintf(&b, "* %s: %s\n", t.Cloud, describe(o))
		}
	}
	return b.Bytes()
}

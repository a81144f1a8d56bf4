package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stix-run/stix/catalog"
)

// factsDir is where the tables of facts lie beside the repository.
const factsDir = "../../../shared/facts/catalog"

// facts returns the real tables. Who has none can build and test everything else; where changes are accepted they must
// be there, or nobody would see that the files no longer follow from them.
func facts(t *testing.T) fs.FS {
	t.Helper()
	if _, err := os.Stat(factsDir); err == nil {
		return os.DirFS(factsDir)
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("the tables of facts are not at %s", factsDir)
	}
	t.Skipf("the tables of facts are not at %s", factsDir)
	return nil
}

func TestFilesInTheRepositoryFollowFromTheFacts(t *testing.T) {
	for range 2 {
		p, err := generate(facts(t))
		if err != nil {
			t.Fatal(err)
		}
		have, err := os.ReadDir("../../catalog/data")
		if err != nil {
			t.Fatal(err)
		}
		if len(have) != len(p.files) {
			t.Errorf("%d files in the repository, %d are made", len(have), len(p.files))
		}
		for name, made := range p.files {
			if old, err := os.ReadFile(filepath.Join("../../catalog/data", name)); err != nil || !bytes.Equal(old, made) {
				t.Errorf("%s is not what `make catalog` makes of the facts (%v)", name, err)
			}
		}
	}
}

// TestEveryRowOfTheFactsIsAnOffer compares the text of all prices with what a catalog answers.
func TestEveryRowOfTheFactsIsAnOffer(t *testing.T) {
	dir := facts(t)
	c, err := catalog.Open()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources() {
		left := map[string]int{}
		for o := range c.Offers(catalog.Query{Clouds: []string{s.cloud}}) {
			left[strings.Join([]string{o.InstanceType, o.Region, text(o.Price), text(o.Spot)}, "|")]++
		}
		for _, file := range s.prices {
			err := eachRecord(dir, file, offerColumns, func(r []string) error {
				left[strings.Join([]string{r[0], r[7], r[9], r[10]}, "|")]--
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for row, n := range left {
			if n != 0 {
				t.Errorf("%s: %s is there %+d times too often", s.cloud, row, n)
			}
		}
	}
}

// TestNotesCountRight counts what the notes of the sources say in numbers.
func TestNotesCountRight(t *testing.T) {
	c, err := catalog.Open()
	if err != nil {
		t.Fatal(err)
	}
	spotOnly := func(o catalog.Offer) bool { return !o.Price.Known() }
	withSpot := func(o catalog.Offer) bool { return o.Spot.Known() }
	for name, n := range map[string]struct {
		cloud string
		what  func(catalog.Offer) bool
		want  int
	}{
		"spot only on aws":            {"aws", spotOnly, 4},
		"without a spot price":        {"azure", func(o catalog.Offer) bool { return !o.Spot.Known() }, 2846},
		"without zones on aws":        {"aws", func(o catalog.Offer) bool { return len(o.Zones) == 0 }, 5628},
		"without zones on gcp":        {"gcp", func(o catalog.Offer) bool { return len(o.Zones) == 0 }, 2563},
		"a3-ultragpu without a price": {"gcp", func(o catalog.Offer) bool { return spotOnly(o) && o.InstanceType == "a3-ultragpu-8g" }, 4},
		"a4 with a price":             {"gcp", func(o catalog.Offer) bool { return !spotOnly(o) && o.InstanceType == "a4-highgpu-8g" }, 0},
		"spot prices of nebius":       {"nebius", withSpot, 8},
		"spot prices of ibm":          {"ibm", withSpot, 1},
		"spot prices of cudo":         {"cudo", withSpot, 0},
		"spot prices of lambda":       {"lambda", withSpot, 0},
		"spot prices of vast":         {"vast", withSpot, 0},
	} {
		got := 0
		for o := range c.Offers(catalog.Query{Clouds: []string{n.cloud}}) {
			if n.what(o) {
				got++
			}
		}
		if got != n.want {
			t.Errorf("%s: %d, the note says %d", name, got, n.want)
		}
	}
}

func TestRegionsWithoutZonesAreCountedRight(t *testing.T) {
	c, err := catalog.Open()
	if err != nil {
		t.Fatal(err)
	}
	none := 0
	for _, region := range c.Regions("aws") {
		if len(c.Zones("aws", region)) == 0 {
			none++
		}
	}
	if none != 14 {
		t.Errorf("%d regions of aws without zones, the note says 14", none)
	}
}

func text(m catalog.Money) string {
	if !m.Known() {
		return ""
	}
	return m.String()
}

const heading = offerColumns + "\n"

// smallFacts are tables of one cloud, do, that pass every check.
func smallFacts(rows string) fstest.MapFS {
	return fstest.MapFS{"do.csv": {Data: []byte(heading + rows)}}
}

func doSource() source { return source{cloud: "do", date: "d", from: "f", prices: []string{"do.csv"}} }

func TestTablesThatCannotBeReadSayWhere(t *testing.T) {
	for rows, says := range map[string]string{
		"a,x86_64,1,2,,,,r,,0.1\n":                          "do.csv, line 2",
		"a,x86_64,1,2,,,,r,,0.1,\nb,x86_64,1,2,,,,r,,-1,\n": "do.csv, line 3",
		"a,x86_64,one,2,,,,r,,0.1,\n":                       `"one"`,
		"a,x86_64,1,2,,,,r,,0.12345678,\n":                  "0.12345678",
	} {
		if _, err := readTable(smallFacts(rows), doSource()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", rows, err)
		}
	}
	if _, err := readTable(fstest.MapFS{"do.csv": {Data: []byte("a,b\n")}}, doSource()); err == nil || !strings.Contains(err.Error(), "columns") {
		t.Errorf("another heading: %v", err)
	}
	if _, err := readTable(fstest.MapFS{}, doSource()); err == nil {
		t.Error("no file")
	}
}

func TestZonesComeFromTheirTableUnlessTheRowNamesOne(t *testing.T) {
	dir := smallFacts("a,x86_64,1,2,,,,r,,0.1,\nb,x86_64,1,2,,,,r,r-z,0.1,\nc,x86_64,1,2,,,,r,,0.1,\n")
	dir["zones.csv"] = &fstest.MapFile{Data: []byte("instance_type,region,zone_ids\na,r,r-b;r-a\nb,r,r-a\n")}
	s := doSource()
	s.zones = "zones.csv"
	table, err := readTable(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range table.Offers {
		got = append(got, strings.Join(o.Zones, ";"))
	}
	if strings.Join(got, " ") != "r-a;r-b r-z " {
		t.Errorf("zones %q", got)
	}
	dir["zones.csv"] = &fstest.MapFile{Data: []byte("region,zones\nr,r-a\nr,r-b\n")}
	s.regional = true
	if _, err := readTable(dir, s); err == nil {
		t.Error("a region with two lists of zones")
	}
}

func TestRunWritesTheFilesAndListsTheOddities(t *testing.T) {
	facts(t)
	out := t.TempDir()
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-facts", factsDir, "-out", out}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	if n := strings.Count(stdout.String(), "odd:"); n != 3 {
		t.Errorf("%d oddities:\n%s", n, stdout.String())
	}
	c, err := catalog.Load(os.DirFS(out))
	if err != nil || len(c.Names()) != len(sources()) {
		t.Errorf("what was written: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(out, "*.new"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

func TestRunRefusesWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		args []string
		want int
	}{
		{nil, exitUsage}, {[]string{"-facts", "x", "y"}, exitUsage}, {[]string{"-nonsense"}, exitUsage},
		{[]string{"-facts", t.TempDir()}, exitFailed}, {[]string{"-h"}, exitOK},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(c.args, &stdout, &stderr); code != c.want || stderr.Len() == 0 {
			t.Errorf("%v: exit %d, %q", c.args, code, stderr.String())
		}
	}
}

package catalog

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func open(t testing.TB) *Catalog {
	t.Helper()
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func money(t testing.TB, s string) Money {
	t.Helper()
	if s == "" {
		return Unpriced
	}
	m, err := ParseMoney(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEmbeddedFactsAreWholeAndSound(t *testing.T) {
	if err := open(t).Check(); err != nil {
		t.Fatal(err)
	}
}

func TestCloudsHaveAllTheirFacts(t *testing.T) {
	want := map[string]CloudInfo{
		"aws":        {Offers: 16620, Types: 1378, Regions: 34},
		"azure":      {Offers: 56671, Types: 1432, Regions: 58},
		"cudo":       {Offers: 156, Types: 130, Regions: 5},
		"do":         {Offers: 38, Types: 8, Regions: 7},
		"gcp":        {Offers: 12739 + 288 + 1470, Types: 521 + 1, Regions: 43},
		"ibm":        {Offers: 19, Types: 3, Regions: 9},
		"lambda":     {Offers: 425, Types: 25, Regions: 17},
		"nebius":     {Offers: 61, Types: 37, Regions: 3},
		"oci":        {Offers: 3036, Types: 69, Regions: 44},
		"paperspace": {Offers: 19, Types: 19, Regions: 1},
		"runpod":     {Offers: 1848, Types: 132, Regions: 14},
		"vast":       {Offers: 64, Types: 45, Regions: 34},
	}
	c := open(t)
	if names := c.Names(); len(names) != len(want) || !slices.IsSorted(names) {
		t.Errorf("clouds %v", names)
	}
	for _, got := range c.Clouds() {
		w := want[got.Name]
		if got.Offers != w.Offers || got.Types != w.Types || got.Regions < w.Regions {
			t.Errorf("%s: %d offers, %d types, %d regions; want %+v", got.Name, got.Offers, got.Types, got.Regions, w)
		}
		if got.Date == "" || got.Source == "" || got.Note == "" {
			t.Errorf("%s hides its date, its source or its gaps", got.Name)
		}
	}
}

// TestPricesAreThoseOfTheFacts has rows that were copied by hand from the tables of facts.
func TestPricesAreThoseOfTheFacts(t *testing.T) {
	c := open(t)
	for _, w := range []struct{ cloud, region, zone, instanceType, accelerator, count, price, spot string }{
		{"aws", "af-south-1", "", "c5.12xlarge", "", "", "2.736", "0.49248"},
		{"aws", "us-west-2", "usw2-az1", "z1d.xlarge", "", "", "0.372", "0.122"},
		{"aws", "us-east-1", "", "p5.48xlarge", "H100", "8", "55.04", "?"},
		{"aws", "us-east-1", "", "m5.xlarge", "", "", "0.192", "?"},
		{"aws", "us-east-1", "", "g6.xlarge", "L4", "1", "0.8048", "?"},
		{"aws", "eu-central-1", "euc1-az2", "p4d.24xlarge", "A100", "8", "27.43298", "27.433"},
		{"azure", "australiacentral", "", "Standard_A1_v2", "", "", "0.05", "0.00924"},
		{"azure", "westus3", "", "Standard_NV8as_v4", "MI25", "0.25", "0.466", "0.086117"},
		{"azure", "eastus", "", "Standard_D4s_v5", "", "", "0.192", "0.040723"},
		{"azure", "eastus", "", "Standard_ND96isr_H100_v5", "H100", "8", "98.32", "?"},
		{"gcp", "africa-south1", "", "c2d-highcpu-112", "", "", "4.622128", "0.90608"},
		{"gcp", "us-central1", "", "a2-highgpu-1g", "A100", "1", "3.673385", "1.92802"},
		{"gcp", "us-central1", "", "a3-highgpu-8g", "H100", "8", "88.49", "50.609541"},
		{"gcp", "us-west4", "us-west4-b", "", "T4", "4", "1.48", "0.5284"},
		{"gcp", "asia-east1", "asia-east1-a", "", "P100", "2", "3.2", "0.288"},
		{"gcp", "us-west4", "us-west4-b", "TPU-VM", "tpu-v5litepod-8", "1", "9.6", "3.648"},
		{"gcp", "asia-east1", "asia-east1-c", "TPU-VM", "tpu-v2-8", "1", "5.22", "1.566"},
		{"cudo", "ca-montreal-3", "", "ice-lake-a40-compute_1x12v24gb", "A40", "1", "0.4688", ""},
		{"do", "nyc1", "", "g-2vcpu-8gb", "", "", "0.09375", ""},
		{"ibm", "us-south", "", "gx2-8x64x1v100", "V100", "1", "2.497", ""},
		{"lambda", "us-west-3", "", "gpu_8x_v100_n", "V100", "8", "6.32", ""},
		{"nebius", "us-central1", "", "gpu-h200-sxm_8gpu-128vcpu-1600gb", "H200", "8", "28", "11.6"},
		{"oci", "us-sanjose-1", "", "VM.Standard.E5.Flex$_96_768", "", "", "2.976", "1.488"},
		{"oci", "af-casablanca-1", "", "BM.GPU.B200.8", "B200", "8", "112", ""},
		{"paperspace", "East Coast (NY2)", "", "A100-80Gx8", "A100-80GB", "8", "25.44", ""},
		{"runpod", "AU", "OC-AU-1", "10x_H100-NVL_SECURE", "H100-NVL", "10", "31.9", "31.9"},
		{"vast", ", CA, NA", "", "1x-RTX_5090-32-65536", "RTX5090", "1", "0.44", ""},
	} {
		q := Query{Clouds: []string{w.cloud}, Region: w.region, Zone: w.zone, InstanceType: w.instanceType, Accelerator: w.accelerator}
		if w.count != "" {
			q.Count = must(ParseQuantity(w.count))
		}
		got := slices.Collect(c.Offers(q))
		if w.accelerator == "" && len(got) > 0 && got[0].Accelerator != "" {
			t.Errorf("%s has %s", w.instanceType, got[0].Accelerator)
		}
		if len(got) != 1 && !(w.instanceType == "p5.48xlarge" && len(got) > 1) {
			t.Errorf("%+v: %d offers", w, len(got))
			continue
		}
		if got[0].Price != money(t, w.price) || w.spot != "?" && got[0].Spot != money(t, w.spot) {
			t.Errorf("%+v: %s and %s", w, got[0].Price, got[0].Spot)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestEverythingIsFoundByItsOwnName(t *testing.T) {
	c := open(t)
	for m := range c.Machines(Query{}) {
		if m.InstanceType != "" && !found(c, Query{Clouds: []string{m.Cloud}, InstanceType: m.InstanceType}, m) {
			t.Errorf("%s is not found by its type", m.InstanceType)
		}
		if m.Accelerator != "" && !found(c, Query{Clouds: []string{m.Cloud}, Accelerator: m.Accelerator, Count: m.Count}, m) {
			t.Errorf("%s is not found by %s:%v", m.InstanceType, m.Accelerator, m.Count)
		}
		if _, known := c.Accelerator(m.Accelerator); m.Accelerator != "" && !known {
			t.Errorf("%s has the unknown accelerator %s", m.InstanceType, m.Accelerator)
		}
	}
}

func found(c *Catalog, q Query, want *Machine) bool {
	for m := range c.Machines(q) {
		if m == want {
			return true
		}
	}
	return false
}

func TestZonesAreThoseOfTheCloud(t *testing.T) {
	c := open(t)
	if got := c.Zones("gcp", "us-west4"); !slices.Equal(got, []string{"us-west4-a", "us-west4-b", "us-west4-c"}) {
		t.Errorf("gcp: %v", got)
	}
	if got := c.Zones("aws", "us-west-2"); len(got) < 3 || got[0] != "usw2-az1" {
		t.Errorf("aws: %v", got)
	}
	if got := c.Zones("runpod", "CZ"); !slices.Equal(got, []string{"EU-CZ-1"}) {
		t.Errorf("runpod: %v", got)
	}
	if got := append(c.Zones("azure", "eastus"), c.Zones("nowhere", "x")...); len(got) > 0 {
		t.Errorf("zones from nothing: %v", got)
	}
	if got := c.Regions("ibm"); len(got) != 9 || !slices.Contains(got, "eu-de") {
		t.Errorf("regions of ibm: %v", got)
	}
}

func TestTrapsOfTheSourcesAreNotInTheFacts(t *testing.T) {
	c := open(t)
	for o := range c.Offers(Query{Clouds: []string{"vast"}}) {
		if o.AcceleratorGiB > 150*One || o.Accelerator == "A100" && o.AcceleratorGiB > 41*One {
			t.Errorf("%s: one %s has %v GiB", o.InstanceType, o.Accelerator, o.AcceleratorGiB)
		}
	}
	slice := slices.Collect(c.Machines(Query{Clouds: []string{"gcp"}, Accelerator: "RTXPRO6000", Count: One / 8}))
	if len(slice) != 1 || slice[0].AcceleratorGiB != 12*One {
		t.Errorf("an eighth of a card of 96 GiB: %+v", slice)
	}
	for o := range c.Offers(Query{Accelerator: "B200", Clouds: []string{"gcp"}}) {
		if o.Price.Known() || !o.Spot.Known() {
			t.Errorf("a B200 on demand in %s", o.Region)
		}
	}
	for o := range c.Offers(Query{Accelerator: "A100", Clouds: []string{"cudo"}}) {
		t.Errorf("cudo sells 80 GB as A100: %s", o.InstanceType)
	}
	if got := slices.Collect(c.Machines(Query{InstanceType: "Standard_NP10s"})); len(got) != 1 || got[0].Count != 0 {
		t.Errorf("an FPGA without a name: %+v", got)
	}
	dearer := 0
	for o := range c.Offers(Query{}) {
		if o.SpotDearer() {
			dearer++
		}
	}
	if dearer != 3 {
		t.Errorf("%d spot prices above the price on demand, 3 are known", dearer)
	}
}

func TestInfoShowsDateAndSourceOfEveryCloud(t *testing.T) {
	c := open(t)
	text := c.Info()
	for _, cloud := range c.Clouds() {
		for _, part := range []string{cloud.Name, cloud.Date, cloud.Source, cloud.Note} {
			if !strings.Contains(text, part) {
				t.Errorf("nothing of %q for %s", part, cloud.Name)
			}
		}
	}
}

// files are the embedded ones, to be damaged.
func files(t testing.TB) fstest.MapFS {
	t.Helper()
	dir := fstest.MapFS{}
	entries, err := fs.Glob(embedded, "data/*"+Ext)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range entries {
		dir[strings.TrimPrefix(path, "data/")] = &fstest.MapFile{Data: must(fs.ReadFile(embedded, path))}
	}
	return dir
}

func TestLoadNamesTheFileThatIsDamaged(t *testing.T) {
	dir := files(t)
	if _, err := Load(dir); err != nil {
		t.Fatal(err)
	}
	data := bytes.Clone(dir["oci.bin"].Data)
	data[len(data)/2] ^= 1
	dir["oci.bin"] = &fstest.MapFile{Data: data}
	if _, err := Load(dir); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "oci.bin") {
		t.Errorf("a damaged file: %v", err)
	}
	dir["oci.bin"] = dir["ibm.bin"]
	if _, err := Load(dir); !errors.Is(err, ErrFormat) {
		t.Errorf("a file of another cloud: %v", err)
	}
	delete(dir, AcceleratorsFile)
	if _, err := Load(dir); err == nil {
		t.Error("loaded without accelerators")
	}
}

func TestNewerVersionIsRefusedByNumber(t *testing.T) {
	file := bytes.Clone(files(t)["ibm.bin"].Data)
	file[len(magic)] = 9
	if _, err := decode(file); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "version 9") {
		t.Errorf("version 9: %v", err)
	}
}

func TestWithReplacesOneCloudAndLeavesTheOldCatalogAlone(t *testing.T) {
	old := open(t)
	file := must(Encode(small("ibm")))
	c, err := old.With(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(c, Query{Clouds: []string{"ibm"}}); n != len(small("ibm").Offers) {
		t.Errorf("%d offers after the replacement", n)
	}
	if count(old, Query{Clouds: []string{"ibm"}}) != 19 || count(c, Query{Clouds: []string{"do"}}) != 38 {
		t.Error("more was replaced than one cloud of the new catalog")
	}
	if _, err := old.With(file[:len(file)-1]); !errors.Is(err, ErrFormat) {
		t.Errorf("half a file: %v", err)
	}
	if added, err := old.With(must(Encode(small("new")))); err != nil || !slices.Contains(added.Names(), "new") {
		t.Errorf("a new cloud: %v", err)
	}
}

func count(c *Catalog, q Query) int {
	n := 0
	for range c.Offers(q) {
		n++
	}
	return n
}

package catalog

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// small is a table with everything that an offer can be.
func small(cloud string) Table {
	big := &Machine{Cloud: cloud, InstanceType: "big", Arch: "arm64", VCPUs: 96 * One, MemoryGiB: 768_400_000, Accelerator: "H100", Count: 8 * One, AcceleratorGiB: 80 * One}
	slice := &Machine{Cloud: cloud, InstanceType: "slice", Arch: "x86_64", VCPUs: One / 4, MemoryGiB: One, Accelerator: "L4", Count: One / 8, AcceleratorGiB: 3 * One}
	part := &Machine{Cloud: cloud, Arch: "x86_64", Accelerator: "T4", Count: 2 * One, AcceleratorGiB: 16 * One}
	plain := &Machine{Cloud: cloud, InstanceType: "plain", Arch: "x86_64", VCPUs: 2 * One, MemoryGiB: 8 * One}
	return Table{Cloud: cloud, Date: "2026-01-02", Source: "a test", Note: "not real", Offers: []Offer{
		{big, "west", []string{"west-a", "west-b"}, 98_320_000, Unpriced},
		{big, "west", []string{"west-c"}, 99_320_000, 12_000_001},
		{big, "east", nil, Unpriced, 1},
		{slice, "west", []string{"west-a"}, 5, 5},
		{part, "west", []string{"west-a"}, 700_000, 300_000},
		{plain, "east", nil, 10_000_000_000_000, 2},
		{plain, "west", nil, 3, 4},
	}}
}

func TestTableReadsBackAsWritten(t *testing.T) {
	want := small("test")
	c := must(decode(must(Encode(want))))
	slices.SortFunc(want.Offers, Offer.compare)
	if diff := cmp.Diff(want, c.table()); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
	want.Free = true
	if !must(decode(must(Encode(want)))).table().Free {
		t.Error("free was forgotten")
	}
}

func TestEveryEmbeddedTableIsWrittenTheSameWay(t *testing.T) {
	dir := files(t)
	c := open(t)
	for _, name := range c.Names() {
		table, _ := c.Table(name)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(table.Offers), func(i, j int) {
			table.Offers[i], table.Offers[j] = table.Offers[j], table.Offers[i]
		})
		if !bytes.Equal(must(Encode(table)), dir[name+Ext].Data) {
			t.Errorf("the table of %s depends on the order of its offers", name)
		}
	}
}

func TestColumnsAreAsWideAsTheyMustBe(t *testing.T) {
	for _, limit := range []int{1, 1 << 8, 1<<8 + 1, 1 << 16, 1<<16 + 1} {
		numbers := []int{0, limit - 1, limit / 2}
		r := &reader{rest: appendColumn(nil, numbers, limit)}
		c := r.column(len(numbers), limit)
		if err := r.end(); err != nil {
			t.Fatalf("%d: %v", limit, err)
		}
		for i, n := range numbers {
			if c.at(i) != n {
				t.Errorf("%d of limit %d reads as %d", n, limit, c.at(i))
			}
		}
	}
}

func TestCheckRefusesWhatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Table)
		says  string
	}{
		"twice":           {func(t *Table) { t.Offers = append(t.Offers, t.Offers[6]) }, "sold twice"},
		"zone twice":      {func(t *Table) { t.Offers[1].Zones = []string{"west-b", "west-c"} }, "sold twice"},
		"negative":        {func(t *Table) { t.Offers[0].Price = -2 }, "negative"},
		"free":            {func(t *Table) { t.Offers[0].Spot = 0 }, "free"},
		"no price":        {func(t *Table) { t.Offers[2].Spot = Unpriced }, "no price"},
		"no region":       {func(t *Table) { t.Offers[0].Region = "" }, "no region"},
		"no date":         {func(t *Table) { t.Date = "" }, "the date"},
		"no machine":      {func(t *Table) { t.Offers[0].Machine = nil }, "without a machine"},
		"other cloud":     {func(t *Table) { t.Cloud = "other" }, "of cloud"},
		"count, no name":  {func(t *Table) { t.Offers[0].Machine.Accelerator = "" }, "accelerators named"},
		"nothing at all":  {func(t *Table) { *t.Offers[4].Machine = Machine{Cloud: "test"} }, "neither"},
		"less than none":  {func(t *Table) { t.Offers[5].Machine.VCPUs = -1 }, "less than nothing"},
		"zones scrambled": {func(t *Table) { t.Offers[0].Zones = []string{"b", "a"} }, "not sorted"},
	} {
		table := small("test")
		c.spoil(&table)
		if _, err := Encode(table); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	free := small("test")
	free.Free, free.Offers[0].Price = true, 0
	if _, err := Encode(free); err != nil {
		t.Errorf("a free cloud: %v", err)
	}
}

func TestAcceleratorsReadBackAsWritten(t *testing.T) {
	list := []Accelerator{{Name: "b", Maker: "m", MemoryGiB: One / 2, Kind: KindGPU}, {Name: "A", Maker: "n", MemoryGiB: One, Kind: KindTPU}}
	got := must(decodeAccelerators(must(EncodeAccelerators(list))))
	slices.Reverse(list)
	if diff := cmp.Diff(list, got); diff != "" {
		t.Error(diff)
	}
	for _, wrong := range [][]Accelerator{{{Name: "x"}}, {list[0], {Name: "a", Maker: "m", MemoryGiB: 1, Kind: KindGPU}}} {
		if _, err := EncodeAccelerators(wrong); err == nil {
			t.Errorf("%+v was written", wrong)
		}
	}
}

// use decodes a body behind a checksum that fits and asks everything of what comes out. It reports whether anything did.
func use(body []byte) bool {
	cl, err := decode(seal(kindOffers, body))
	if err != nil {
		return false
	}
	_ = cl.table().Check()
	c := assemble(nil, map[string]func() (*cloud, error){"x": func() (*cloud, error) { return cl, nil }})
	_ = c.Info()
	_ = c.Cheapest(Query{Zone: "west-a", MemoryPerVCPU: One}, 3)
	for m := range c.Machines(Query{}) {
		_ = c.Cheapest(Query{InstanceType: m.InstanceType, Region: "west"}, 3)
		_ = c.Cheapest(Query{Accelerator: m.Accelerator, Assemble: true}, 3)
	}
	return true
}

func TestDamageBehindAGoodChecksumIsHarmless(t *testing.T) {
	body := must(Encode(small("gcp")))[envelopeSize:]
	used := 0
	for i := range body {
		for _, b := range []byte{0, 1, 0x7f, 0x80, 0xff, body[i] + 1, body[i] - 1} {
			damaged := bytes.Clone(body)
			damaged[i] = b
			if use(damaged) {
				used++
			}
		}
		use(body[:i])
	}
	if used == 0 {
		t.Error("no damage was survived: the test tries nothing")
	}
}

// FuzzDecode reads damaged bodies behind a checksum that fits, which is worse than what a disk does.
func FuzzDecode(f *testing.F) {
	body := func(file []byte) []byte { return file[envelopeSize:] }
	f.Add(body(must(Encode(small("test")))))
	f.Add(body(files(f)["ibm.bin"].Data))
	f.Add(body(files(f)["do.bin"].Data))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		use(data)
		if list, err := decodeAccelerators(seal(kindAccelerators, data)); err == nil {
			c := assemble(list, nil)
			_, _ = c.Canonical("a100")
		}
		if _, err := decode(data); err == nil {
			t.Error("a body without its envelope was read")
		}
	})
}

func TestEveryByteOfAFileCounts(t *testing.T) {
	file := must(Encode(small("test")))
	for i := range file {
		damaged := bytes.Clone(file)
		damaged[i] ^= 0x40
		if _, err := decode(damaged); err == nil {
			t.Errorf("byte %d is not looked at", i)
		}
		if _, err := decode(file[:i]); err == nil {
			t.Errorf("%d bytes are enough", i)
		}
	}
}

package catalog

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkOpen is what a program pays that asks one thing and ends: about one cloud, and about all.
func BenchmarkOpen(b *testing.B) {
	for name, q := range map[string]Query{
		"one cloud":  {Clouds: []string{"aws"}, InstanceType: "m5.xlarge", Region: "us-east-1"},
		"all clouds": {Accelerator: "T4", Renting: OnDemand},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for range open(b).Offers(q) {
					break
				}
			}
		})
	}
}

func BenchmarkOpenAndCheck(b *testing.B) {
	for b.Loop() {
		if err := open(b).Check(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkQuery(b *testing.B) {
	c := open(b)
	for name, q := range map[string]Query{
		"type in region":     {Clouds: []string{"aws"}, InstanceType: "m5.xlarge", Region: "us-east-1"},
		"accelerator":        {Accelerator: "A100-80GB", Count: 8 * One, Renting: Spot},
		"cpus":               {NoAccelerator: true, VCPUs: Range{Min: 8 * One}, MemoryPerVCPU: 4 * One, Renting: OnDemand},
		"cheap":              {MaxHourly: Dollar / 100},
		"zone":               {Clouds: []string{"gcp"}, Region: "us-central1", Zone: "us-central1-a"},
		"everything":         {},
		"attached":           {Accelerator: "T4", Assemble: true, Renting: OnDemand},
		"attached of a sort": {Accelerator: "T4", Assemble: true, Renting: OnDemand, Clouds: []string{"gcp"}, VCPUs: Exactly(8 * One)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = count(c, q)
			}
			b.ReportMetric(float64(n), "offers")
		})
	}
}

func BenchmarkCheapest(b *testing.B) {
	c := open(b)
	for name, q := range map[string]Query{
		"cpus":       {NoAccelerator: true, VCPUs: Range{Min: 8 * One}, MemoryPerVCPU: 4 * One, Renting: OnDemand},
		"everything": {Renting: OnDemand},
		"T4":         {Accelerator: "T4", Count: One, Renting: OnDemand, Assemble: true},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c.Cheapest(q, 20)
			}
		})
	}
}

func BenchmarkQueryGrowsWithOffers(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		cl := must(decode(must(Encode(synthetic(n)))))
		c := assemble(nil, map[string]func() (*cloud, error){"synthetic": func() (*cloud, error) { return cl, nil }})
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				c.Cheapest(Query{NoAccelerator: true, MemoryPerVCPU: One}, 20)
			}
		})
	}
}

// synthetic is a cloud with n offers, in a hundred regions.
func synthetic(n int) Table {
	t := Table{Cloud: "synthetic", Date: "today", Source: "a test"}
	const regions = 100
	for i := range n / regions {
		m := &Machine{Cloud: t.Cloud, InstanceType: fmt.Sprint("type", i), Arch: "x86_64", VCPUs: Quantity(1+i%64) * One, MemoryGiB: Quantity(1+i%256) * One}
		for r := range regions {
			t.Offers = append(t.Offers, Offer{Machine: m, Region: fmt.Sprint("region", r), Price: Money(1+i*7919%50_000) * 100, Spot: Unpriced})
		}
	}
	return t
}

func BenchmarkCanonical(b *testing.B) {
	c := open(b)
	for b.Loop() {
		_, _ = c.Canonical("nvidia-tesla-t4")
	}
}

// The aims of the catalog, several times over what is measured, so that a busy machine does not break them.
func TestCatalogIsQuickAndSmall(t *testing.T) {
	const (
		firstAnswer = 20 * time.Millisecond
		resident    = 60 << 20
		inProgram   = 4 << 20
	)
	size := 0
	for _, file := range files(t) {
		size += len(file.Data)
	}
	if size > inProgram {
		t.Errorf("%d bytes in the program", size)
	}
	before := heap()
	best := time.Hour
	var c *Catalog
	for range 5 {
		start := time.Now()
		c = open(t)
		for range c.Offers(Query{Accelerator: "A100", Renting: OnDemand}) {
			break
		}
		best = min(best, time.Since(start))
	}
	if best > firstAnswer {
		t.Errorf("the first answer took %v", best)
	}
	count(c, Query{})
	if grown := heap() - before; grown > resident {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	runtime.KeepAlive(c)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

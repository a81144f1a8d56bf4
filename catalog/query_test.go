package catalog

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// meets says in the plainest words whether an offer is what a query asks for.
func meets(c *Catalog, q Query, o Offer) bool {
	lowest := o.Price
	if q.Renting == Spot || q.Renting == AnyRenting && (!o.Price.Known() || o.Spot.Known() && o.Spot < o.Price) {
		lowest = o.Spot
	}
	zones := o.Zones
	if len(zones) == 0 {
		zones = c.Zones(o.Cloud, o.Region)
	}
	sized := o.VCPUs > 0 || o.MemoryGiB > 0
	vcpus, memory := o.VCPUs.Float(), o.MemoryGiB.Float()
	difference := o.Count.Float() - q.Count.Float()
	return lowest.Known() && (q.MaxHourly == 0 || lowest <= q.MaxHourly) &&
		(len(q.Clouds) == 0 || slices.Contains(q.Clouds, o.Cloud)) &&
		(q.Region == "" || o.Region == q.Region) &&
		(q.Zone == "" || len(zones) == 0 || slices.Contains(zones, q.Zone)) &&
		(q.InstanceType == "" || o.InstanceType == q.InstanceType) &&
		(q.Accelerator == "" || o.Accelerator == q.Accelerator) &&
		(!q.NoAccelerator || o.Accelerator == "") &&
		(q.Count == 0 || difference > -0.0101 && (q.AtLeast || difference < 0.0101)) &&
		(!sized || vcpus >= q.VCPUs.Min.Float() && (q.VCPUs.Max == 0 || vcpus <= q.VCPUs.Max.Float())) &&
		(!sized || memory >= q.MemoryGiB.Min.Float() && (q.MemoryGiB.Max == 0 || memory <= q.MemoryGiB.Max.Float())) &&
		(!sized || memory >= q.MemoryPerVCPU.Float()*vcpus-1e-5) &&
		(q.Arch == "" || o.Arch == q.Arch)
}

// randomQuery asks for a few properties of a random offer, sometimes a little off.
func randomQuery(r *rand.Rand, all []Offer) Query {
	o := all[r.IntN(len(all))]
	q := Query{Renting: Renting(r.IntN(3))}
	for _, set := range []func(){
		func() { q.Clouds = []string{o.Cloud} },
		func() { q.Region = o.Region },
		func() {
			if len(o.Zones) > 0 {
				q.Zone = o.Zones[r.IntN(len(o.Zones))]
			}
		},
		func() { q.InstanceType = o.InstanceType },
		func() { q.Accelerator, q.Count = o.Accelerator, o.Count },
		func() { q.Count, q.AtLeast = o.Count+Quantity(r.IntN(3)-1)*One/50, true },
		func() { q.NoAccelerator = true },
		func() { q.VCPUs = Exactly(o.VCPUs) },
		func() { q.MemoryGiB = Range{Min: o.MemoryGiB - One, Max: o.MemoryGiB * 2} },
		func() { q.MemoryPerVCPU = Quantity(r.IntN(8)) * One },
		func() { q.Arch = o.Arch },
		func() { q.MaxHourly = max(o.Price, 1) },
	} {
		if r.IntN(4) == 0 {
			set()
		}
	}
	return q
}

func TestQueryYieldsExactlyWhatMeetsIt(t *testing.T) {
	c := open(t)
	all := slices.Collect(c.Offers(Query{}))
	r := rand.New(rand.NewPCG(3, 14))
	for range 60 {
		q := randomQuery(r, all)
		i := 0
		got := slices.Collect(c.Offers(q))
		for _, o := range all {
			if !meets(c, q, o) {
				continue
			}
			if i == len(got) || got[i].Machine != o.Machine || got[i].Region != o.Region || !slices.Equal(got[i].Zones, o.Zones) {
				t.Fatalf("%+v: %+v is missing or out of order", q, o)
			}
			i++
		}
		if i < len(got) {
			t.Fatalf("%+v: %+v does not meet it", q, got[i])
		}
	}
}

func TestQueryAnswersTheSameEachTime(t *testing.T) {
	q := Query{Accelerator: "A100", Renting: Spot}
	first, second := slices.Collect(open(t).Offers(q)), slices.Collect(open(t).Offers(q))
	same := func(a, b Offer) bool { return a.compare(b) == 0 && a.Price == b.Price && a.Cloud == b.Cloud }
	if len(first) == 0 || !slices.EqualFunc(first, second, same) {
		t.Errorf("%d and %d offers", len(first), len(second))
	}
}

func TestQueryStopsWhenNobodyListens(t *testing.T) {
	n := 0
	for range open(t).Offers(Query{}) {
		if n++; n == 3 {
			break
		}
	}
	for range open(t).Machines(Query{}) {
		break
	}
	if n != 3 {
		t.Errorf("%d offers", n)
	}
}

func TestWhereIsAskedOncePerMachine(t *testing.T) {
	asked := map[*Machine]int{}
	q := Query{Clouds: []string{"aws"}, NoAccelerator: true, Where: func(m *Machine) bool {
		asked[m]++
		return strings.HasPrefix(m.InstanceType, "m6i.")
	}}
	for o := range open(t).Offers(q) {
		if !strings.HasPrefix(o.InstanceType, "m6i.") {
			t.Errorf("%s was refused", o.InstanceType)
		}
	}
	for m, n := range asked {
		if n != 1 || m.Accelerator != "" {
			t.Errorf("%s: asked %d times", m.InstanceType, n)
		}
	}
}

func TestUnknownZonesAreAnyZoneOfTheRegion(t *testing.T) {
	c := open(t)
	// The zones of c4a are not known, those of us-central1 are; azure has none at all.
	ask := func(cloud, region, zone, instanceType string) int {
		return count(c, Query{Clouds: []string{cloud}, Region: region, Zone: zone, InstanceType: instanceType})
	}
	if ask("gcp", "us-central1", "us-central1-a", "c4a-standard-8") != 1 || ask("gcp", "us-central1", "us-west1-a", "c4a-standard-8") != 0 {
		t.Error("gcp")
	}
	if ask("azure", "eastus", "1", "Standard_D4s_v5") != 1 {
		t.Error("azure")
	}
	if ask("gcp", "us-central1", "us-central1-z", "n2-standard-4") != 0 {
		t.Error("a zone that is not there")
	}
}

func TestAbsurdWishesMatchNothing(t *testing.T) {
	c := open(t)
	for _, q := range []Query{
		{NoAccelerator: true, MemoryPerVCPU: 1 << 62},
		{Region: "nowhere"}, {InstanceType: "nothing"}, {Accelerator: "a100"}, {Clouds: []string{"none"}},
		{NoAccelerator: true, VCPUs: Range{Min: 1 << 62}}, {MaxHourly: 1},
	} {
		if n := count(c, q); n > 0 {
			t.Errorf("%+v: %d offers", q, n)
		}
	}
}

func TestCheapestIsTheBeginningOfAllByPrice(t *testing.T) {
	c := open(t)
	all := slices.Collect(c.Offers(Query{}))
	r := rand.New(rand.NewPCG(15, 92))
	for range 100 {
		q := randomQuery(r, all)
		want := slices.Collect(c.Offers(q))
		slices.SortStableFunc(want, func(a, b Offer) int { return cmp.Compare(q.Renting.of(a.Price, a.Spot), q.Renting.of(b.Price, b.Spot)) })
		n := 1 + r.IntN(30)
		want = want[:min(n, len(want))]
		same := func(a, b Offer) bool {
			return a.compare(b) == 0 && a.Cloud == b.Cloud && a.Price == b.Price && a.Spot == b.Spot
		}
		if got := c.Cheapest(q, n); !slices.EqualFunc(got, want, same) {
			t.Fatalf("%+v: %d offers, want %d", q, len(got), len(want))
		}
	}
	if len(c.Cheapest(Query{}, 0)) > 0 {
		t.Error("none was asked for")
	}
}

func TestCheapestStopsAtWhatIsFree(t *testing.T) {
	table := small("free")
	table.Free = true
	for i := range table.Offers {
		table.Offers[i].Price = Money(i / 2)
	}
	c, err := open(t).With(must(Encode(table)))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 8 {
		got := c.Cheapest(Query{Clouds: []string{"free"}, Renting: OnDemand}, n)
		if len(got) != min(n, 7) || n > 0 && got[0].Price != 0 || n > 2 && got[2].Price != 1 {
			t.Errorf("%d: %+v", n, got)
		}
	}
}

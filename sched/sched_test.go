package sched

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestChooseIsNeverDearerThanACheaperFeasibleOffer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var offers []Offer
		for range rnd.IntN(8) {
			offers = append(offers, Offer{
				Cloud: []string{"a", "b"}[rnd.IntN(2)], InstanceType: string(rune('p' + rnd.IntN(4))),
				VCPUs: float64(1 + rnd.IntN(8)), MemoryGiB: float64(1 + rnd.IntN(32)), HourlyUSD: float64(rnd.IntN(5)),
			})
		}
		want := []*stixv1.Resources{{Cpus: &stixv1.Quantity{Value: float64(1 + rnd.IntN(8)), AtLeast: true}}}
		got, by, err := Choose(offers, want, false)
		fits := slices.DeleteFunc(slices.Clone(offers), func(o Offer) bool { return Unfit(o, want[0]) != "" })
		if (err == nil) != (len(fits) > 0) {
			t.Fatalf("%d offers fit, error %v", len(fits), err)
		}
		for _, o := range fits {
			if o.HourlyUSD < got.HourlyUSD || by != want[0] {
				t.Fatalf("chose %v although %v is cheaper", got, o)
			}
		}
		rnd.Shuffle(len(offers), func(i, j int) { offers[i], offers[j] = offers[j], offers[i] })
		if again, _, _ := Choose(offers, want, false); again.InstanceType != got.InstanceType || again.Cloud != got.Cloud {
			t.Fatalf("another order of the offers gave %v, not %v", again, got)
		}
	}
}

func TestOrderedCandidatesWinOverCheaperLaterOnes(t *testing.T) {
	offers := []Offer{{Cloud: "dear", HourlyUSD: 9}, {Cloud: "cheap", HourlyUSD: 1}}
	candidates := []*stixv1.Resources{{Cloud: "dear"}, {Cloud: "cheap"}}
	if o, _, _ := Choose(offers, candidates, true); o.Cloud != "dear" {
		t.Errorf("ordered chose %s", o.Cloud)
	}
	if o, _, _ := Choose(offers, candidates, false); o.Cloud != "cheap" {
		t.Errorf("any_of chose %s", o.Cloud)
	}
}

func TestInfeasibleSaysWhyForEachPlace(t *testing.T) {
	spot := true
	offers := []Offer{{Cloud: "local", InstanceType: "local", VCPUs: 2, MemoryGiB: 8, DiskGiB: 100}}
	for _, c := range []struct {
		r    *stixv1.Resources
		want string
	}{
		{&stixv1.Resources{Cpus: &stixv1.Quantity{Value: 4, AtLeast: true}}, "4 vCPUs are asked for, it has 2"},
		{&stixv1.Resources{Memory: &stixv1.Quantity{Value: 8, PerCpu: true}}, "16 GB of memory are asked for, it has 8"},
		{&stixv1.Resources{Accelerators: map[string]float64{"A100": 8}}, "A100:8 is asked for, it has 0"},
		{&stixv1.Resources{UseSpot: &spot}, "no spot"},
		{&stixv1.Resources{Cloud: "aws"}, "not enabled here (enabled: local)"},
		{&stixv1.Resources{Cloud: "local", Region: "x"}, "no region x"},
		{&stixv1.Resources{Cloud: "local", Zone: "x"}, "no zone x"},
		{&stixv1.Resources{InstanceType: "m5"}, "no instance type m5"},
		{&stixv1.Resources{DiskSize: 500}, "500 GB of disk"},
	} {
		_, _, err := Choose(offers, []*stixv1.Resources{c.r}, false)
		var infeasible *InfeasibleError
		if !errors.As(err, &infeasible) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", Describe(c.r), err, c.want)
		}
	}
}

// TestPlacementNeverOvercommits plays 10,000 random steps of starting and ending jobs.
func TestPlacementNeverOvercommits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	nodes := []Node{
		{ID: "n0", Index: 0, VCPUs: 2, Ready: true, Accelerators: map[string]float64{"A100": 2}},
		{ID: "n1", Index: 1, VCPUs: 4, Ready: true},
		{ID: "n2", Index: 2, VCPUs: 1, Ready: true, Accelerators: map[string]float64{"A100": 1}},
		{ID: "n3", Index: 3, VCPUs: 8, Ready: false},
	}
	type running struct {
		d  Demand
		on []string
	}
	var jobs []running
	for range 10_000 {
		c := NewCluster(nodes)
		for _, j := range jobs {
			c.Take(j.d, j.on)
		}
		if len(jobs) > 0 && rnd.IntN(2) == 0 {
			i := rnd.IntN(len(jobs))
			jobs = slices.Delete(jobs, i, i+1)
			continue
		}
		d := Demand{Nodes: 1 + rnd.IntN(3), CPU: CPUShare}
		if rnd.IntN(3) == 0 {
			d.Accelerators = map[string]float64{"A100": []float64{0.5, 1, 2}[rnd.IntN(3)]}
		}
		on, ok := c.Place(d)
		if !ok {
			if len(on) > 0 {
				t.Fatal("half a gang was placed")
			}
			continue
		}
		jobs = append(jobs, running{d, on})
		if len(on) != d.Nodes || len(slices.Compact(slices.Sorted(slices.Values(on)))) != d.Nodes || slices.Contains(on, "n3") {
			t.Fatalf("placed %d nodes on %v", d.Nodes, on)
		}
		for _, n := range nodes {
			cpu, gpu := 0.0, 0.0
			for _, j := range jobs {
				if slices.Contains(j.on, n.ID) {
					cpu += j.d.CPU
					gpu += j.d.Accelerators["A100"]
				}
			}
			if cpu > n.VCPUs || gpu > n.Accelerators["A100"] {
				t.Fatalf("node %s has %v cpus and %v GPUs taken", n.ID, cpu, gpu)
			}
		}
	}
}

func TestRanksFollowTheOrderOfTheNodes(t *testing.T) {
	c := NewCluster([]Node{
		{ID: "b", Index: 1, VCPUs: 1, Ready: true}, {ID: "c", Index: 2, VCPUs: 1, Ready: true}, {ID: "a", Index: 0, VCPUs: 1, Ready: true},
	})
	if got, _ := c.Place(Demand{Nodes: 3, CPU: CPUShare}); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("placed on %v", got)
	}
}

func TestReuseComparesPlaceAndAcceleratorsOnly(t *testing.T) {
	c := &stixv1.Cluster{NumNodes: 2}
	have := Offer{Cloud: "local", InstanceType: "local", VCPUs: 2}
	for _, x := range []struct {
		t    *stixv1.Task
		fits bool
	}{
		{&stixv1.Task{NumNodes: 2, Resources: []*stixv1.Resources{{Cpus: &stixv1.Quantity{Value: 64}}}}, true},
		{&stixv1.Task{NumNodes: 3, Resources: []*stixv1.Resources{{}}}, false},
		{&stixv1.Task{NumNodes: 1, Resources: []*stixv1.Resources{{Cloud: "aws"}}}, false},
		{&stixv1.Task{NumNodes: 1, Resources: []*stixv1.Resources{{Cloud: "aws"}, {Cloud: "local"}}}, true},
		{&stixv1.Task{NumNodes: 1, Resources: []*stixv1.Resources{{Accelerators: map[string]float64{"T4": 1}}}}, false},
		{&stixv1.Task{NumNodes: 1}, true},
	} {
		if reason := Reusable(c, have, x.t); (reason == "") != x.fits {
			t.Errorf("%v: %q", x.t, reason)
		}
	}
}

func BenchmarkPlace(b *testing.B) {
	var nodes []Node
	for i := range int32(1000) {
		nodes = append(nodes, Node{ID: string(rune(i)), Index: i, VCPUs: 64, Ready: true})
	}
	c := NewCluster(nodes)
	for b.Loop() {
		if _, ok := c.Place(Demand{Nodes: 8, CPU: 0}); !ok {
			b.Fatal("no room")
		}
	}
}

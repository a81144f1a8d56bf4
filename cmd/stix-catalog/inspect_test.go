package main

import (
	"strings"
	"testing"

	"github.com/stix-run/stix/catalog"
)

const dollar = catalog.Dollar

// offerOf is an offer with everything that a trap looks at.
func offerOf(cloud, region, name, accelerator string, count catalog.Quantity) catalog.Offer {
	m := &catalog.Machine{Cloud: cloud, InstanceType: name, Arch: "x86_64", VCPUs: 4 * catalog.One, MemoryGiB: 16 * catalog.One, Accelerator: accelerator, Count: count}
	return catalog.Offer{Machine: m, Region: region, Price: dollar, Spot: catalog.Unpriced}
}

func priced(o catalog.Offer, price, spot catalog.Money) catalog.Offer {
	o.Price, o.Spot = price, spot
	return o
}

func TestTrapsSpring(t *testing.T) {
	const one = catalog.One
	h100 := offerOf("gcp", "us-central1", "a3-highgpu-8g", "H100", 8*one)
	b200 := offerOf("gcp", "us-central1", "a4-highgpu-8g", "B200", 8*one)
	tpu := offerOf("gcp", "us-central2", "TPU-VM", "tpu-v6e-8", one)
	whole := offerOf("azure", "eastus", "Standard_NV4as_v4", "MI25", one)
	linux := offerOf("azure", "eastus", "Standard_D4s_v5", "", 0)
	total := offerOf("vast", "x", "8x", "H100", 8*one)
	total.AcceleratorGiB = 640 * one
	slice := offerOf("gcp", "x", "g4-standard-6", "RTXPRO6000", one/8)
	slice.AcceleratorGiB = 96 * one
	for name, c := range map[string]struct {
		offer catalog.Offer
		says  string
	}{
		"calendar mode for on demand": {priced(h100, 34*dollar, 20*dollar), "no price on demand"},
		"B200 on demand":              {priced(b200, 80*dollar, 40*dollar), "no price on demand is public"},
		"placeholder price":           {priced(tpu, 700*dollar, catalog.Unpriced), "placeholder"},
		"placeholder spot":            {priced(tpu, 21*dollar, 700*dollar), "placeholder"},
		"slice as a GPU":              {offerOf("gcp", "x", "TPU-VM", "tpu-v6e", 8*one), "no slice"},
		"whole GPU for an eighth":     {whole, "instead of 0.125 MI25"},
		"GPU left out":                {offerOf("azure", "x", "Standard_ND96is_MI300X_v5", "", 0), "instead of 8 MI300X"},
		"GB200 left out":              {offerOf("azure", "x", "Standard_ND128isr_NDR_GB200_v6", "", 0), "instead of 4 GB200"},
		"Windows licence":             {priced(linux, 376_000, catalog.Unpriced), "Windows"},
		"memory of all GPUs":          {total, "no 640 GiB"},
		"memory of the whole card":    {slice, "no 96 GiB"},
		"unknown accelerator":         {offerOf("do", "x", "y", "H1000", one), "H1000"},
		"spot above on demand":        {priced(offerOf("do", "x", "y", "", 0), dollar, 2*dollar), "2 as spot"},
		"list price missed":           {offerOf("oci", "us-ashburn-1", "BM.GPU.H100.8", "H100", 8*one), "80 in the cloud's list"},
		"list price missing":          {offerOf("lambda", "x", "y", "", 0), "gpu_1x_a10 is not in us-west-1"},
	} {
		t.Run(name, func(t *testing.T) {
			table := catalog.Table{Cloud: c.offer.Cloud, Offers: []catalog.Offer{c.offer}}
			known := []catalog.Accelerator{{Name: "H100"}, {Name: "B200"}, {Name: "MI25"}, {Name: "RTXPRO6000"}, {Name: "tpu-v6e"}, {Name: "tpu-v6e-8"}}
			if err := inspect(table, known); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTrueOffersPassTheTraps(t *testing.T) {
	const one = catalog.One
	for _, o := range []catalog.Offer{
		priced(offerOf("gcp", "x", "a3-highgpu-8g", "H100", 8*one), 88_490_000, 50*dollar),
		priced(offerOf("gcp", "x", "a4-highgpu-8g", "B200", 8*one), catalog.Unpriced, 40*dollar),
		offerOf("gcp", "x", "TPU-VM", "tpu-v6e-8", one),
		offerOf("azure", "x", "Standard_NV4as_v4", "MI25", one/8),
		priced(offerOf("azure", "eastus", "Standard_D4s_v5", "", 0), 192_000, 1),
	} {
		for _, trap := range traps() {
			if err := trap.springs(o); trap.cloud == o.Cloud && err != nil {
				t.Error(err)
			}
		}
	}
}

func TestDuplicatesAreRefused(t *testing.T) {
	row := "TPU-VM,x86_64,,,H100,1,,us-central2,us-central2-b,1.5,\n"
	table, err := readTable(smallFacts(row+row), doSource())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.Encode(table); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a row that is there twice: %v", err)
	}
}

func TestNamesAndMemoryAreCorrected(t *testing.T) {
	const one = catalog.One
	for name, c := range map[string]struct{ in, want catalog.Machine }{
		"sum of memory": {
			catalog.Machine{Cloud: "vast", Accelerator: "RTX3090", Count: 4 * one, AcceleratorGiB: 96 * one},
			catalog.Machine{Cloud: "vast", Accelerator: "RTX3090", Count: 4 * one, AcceleratorGiB: 24 * one}},
		"large A100 by its bare name": {
			catalog.Machine{Cloud: "vast", Accelerator: "A100", Count: 2 * one, AcceleratorGiB: 160 * one},
			catalog.Machine{Cloud: "vast", Accelerator: "A100-80GB", Count: 2 * one, AcceleratorGiB: 80 * one}},
		"two small A100": {
			catalog.Machine{Cloud: "vast", Accelerator: "A100", Count: 2 * one, AcceleratorGiB: 80 * one},
			catalog.Machine{Cloud: "vast", Accelerator: "A100", Count: 2 * one, AcceleratorGiB: 40 * one}},
		"cudo's A100": {
			catalog.Machine{Cloud: "cudo", Accelerator: "A100", Count: one, AcceleratorGiB: 80 * one},
			catalog.Machine{Cloud: "cudo", Accelerator: "A100-80GB", Count: one, AcceleratorGiB: 80 * one}},
		"slice on gcp": {
			catalog.Machine{Cloud: "gcp", Accelerator: "RTXPRO6000", Count: one / 4, AcceleratorGiB: 96 * one},
			catalog.Machine{Cloud: "gcp", Accelerator: "RTXPRO6000", Count: one / 4, AcceleratorGiB: 24 * one}},
		"slice on aws": {
			catalog.Machine{Cloud: "aws", Accelerator: "L4", Count: one / 2, AcceleratorGiB: 11_176_000},
			catalog.Machine{Cloud: "aws", Accelerator: "L4", Count: one / 2, AcceleratorGiB: 11_176_000}},
		"FPGA": {
			catalog.Machine{Cloud: "azure", Count: 2 * one},
			catalog.Machine{Cloud: "azure"}},
		"Ti without its name": {
			catalog.Machine{Cloud: "vast", Accelerator: "RTX3060", Count: one, AcceleratorGiB: 8 * one},
			catalog.Machine{Cloud: "vast", Accelerator: "RTX3060Ti", Count: one, AcceleratorGiB: 8 * one}},
		"large V100": {
			catalog.Machine{Cloud: "azure", Accelerator: "V100", Count: one, AcceleratorGiB: 32 * one},
			catalog.Machine{Cloud: "azure", Accelerator: "V100-32GB", Count: one, AcceleratorGiB: 32 * one}},
	} {
		got := c.in
		if correct(&got); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

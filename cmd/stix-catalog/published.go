package main

import (
	"fmt"

	"github.com/stix-run/stix/catalog"
)

// listPrice is what a cloud's own price list says about an instance type, or about an accelerator sold as one.
type listPrice struct{ cloud, region, name, price string }

// published are prices that the tables must have, to the cent and below: a few for every mistake that is known.
func published() []listPrice {
	return []listPrice{
		{"aws", "us-east-1", "p5.48xlarge", "55.04"},
		{"aws", "us-east-1", "p4d.24xlarge", "21.957642"},
		{"aws", "us-east-1", "m5.xlarge", "0.192"},
		{"aws", "us-east-1", "g6.xlarge", "0.8048"},
		{"aws", "us-east-1", "p6-b200.48xlarge", "113.9328"},
		{"gcp", "us-central1", "a2-highgpu-1g", "3.673385"},
		{"gcp", "us-central1", "g2-standard-4", "0.706832"},
		{"gcp", "us-central1", "a3-highgpu-8g", "88.490000"},
		{"gcp", "us-central1", "n2-standard-4", "0.194236"},
		{"azure", "eastus", "Standard_ND96isr_H100_v5", "98.32"},
		{"azure", "eastus", "Standard_NC24ads_A100_v4", "3.673"},
		{"azure", "eastus", "Standard_D4s_v5", "0.192"},
		{"oci", "us-ashburn-1", "BM.GPU.H100.8", "80"},
		{"lambda", "us-west-1", "gpu_1x_a10", "1.29"},
	}
}

func (p listPrice) compare(t catalog.Table) error {
	want, err := catalog.ParseMoney(p.price)
	if err != nil {
		return err
	}
	for _, o := range t.Offers {
		if o.Region != p.region || o.InstanceType != p.name {
			continue
		}
		if o.Price != want {
			return fmt.Errorf("%s in %s costs %s in the facts and %s in the cloud's list", p.name, p.region, o.Price, want)
		}
		return nil
	}
	return fmt.Errorf("%s is not in %s, where the cloud's list has it", p.name, p.region)
}

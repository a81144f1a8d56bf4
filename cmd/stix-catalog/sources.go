package main

// source says which tables of facts make a cloud's table, and what people must know about them.
type source struct {
	cloud, date, from, note string
	// prices are the files with offers, zones the file that says in which zones of a region they hold; by region alone
	// when regional is set.
	prices   []string
	zones    string
	regional bool
}

// hosted is the public catalog that several of the small clouds' facts were read from.
const (
	hosted  = "SkyPilot's hosted catalog (facts read from github.com/skypilot-org/skypilot-catalog)"
	fetched = "what SkyPilot's fetchers wrote (facts read from github.com/anycloud-sh/catalog)"
)

// sources are all clouds, sorted by name.
func sources() []source {
	return []source{
		aws(),
		azure(),
		{
			cloud: "cudo", date: "2026-01 (inferred)", from: hosted, prices: []string{"cudo.csv"},
			note: "No spot prices. The A100 with 80 GB, which this cloud calls A100, is A100-80GB here.",
		},
		{
			cloud: "do", date: "unknown", from: hosted + " (v6)", prices: []string{"do.csv"},
			note: "8 sizes only, no spot prices.",
		},
		gcp(),
		{
			cloud: "ibm", date: "2026-10-05 and before", from: hosted + " (v5); IBM's price of gx3d as a public collector documents it (Apache-2.0)",
			prices: []string{"ibm.csv"}, note: "3 profiles only; one spot price. gx3d in eu-de is of 2026-10-05, everything else is old.",
		},
		{
			cloud: "lambda", date: "2026-05-07", from: fetched, prices: []string{"lambda.csv"},
			note: "No spot machines are sold. Every type is listed in every region; what is free changes by the minute.",
		},
		{
			cloud: "nebius", date: "2025-12 (inferred)", from: hosted, prices: []string{"nebius.csv"},
			note: "Spot prices for 8 offers.",
		},
		{
			cloud: "oci", date: "2026-09 (inferred)", from: hosted + "; regions of OC1 from npm oci-common 2.142.1 (UPL-1.0 or Apache-2.0)",
			prices: []string{"oci.csv"},
			note:   "Every shape is listed in every region at its one price: the price is true, that the shape is there is not asserted. Flexible shapes are E4 and E5 with 4 and 8 GiB for each vCPU.",
		},
		{
			cloud: "paperspace", date: "unknown, probably 2024", from: hosted + " (v6)", prices: []string{"paperspace.csv"},
			note: "One region, no spot prices.",
		},
		{
			cloud: "runpod", date: "2026-07 (inferred)", from: hosted, prices: []string{"runpod.csv"},
			zones: "runpod_zones.csv", regional: true,
			note: "15 of about 35 GPUs of the secure cloud. The source has the spot price equal to the price on demand. vCPUs and memory of a GPU machine vary by the minute.",
		},
		{
			cloud: "vast", date: "2026-04-29", from: fetched, prices: []string{"vast.csv"},
			note: "A snapshot of a marketplace, stale by nature; no spot prices. Memory is given for each GPU here, where the source has the sum, and GPUs are named by their memory.",
		},
	}
}

func aws() source {
	return source{
		cloud: "aws", date: "2025-05-28 to 2026-07-20",
		from: "ec2instances.info data (github.com/cristim/ec2-instances-info, MIT), karpenter-provider-aws v1.15.1 (Apache-2.0), " +
			hosted + " for p4d to p6",
		prices: []string{"aws.csv"}, zones: "aws_zones.csv",
		note: "The base is of 2025-05-28, us-east-1 and us-gov of 2026-07-20, p4d to p6 of about 2026-01 (inferred). Zones are zone ids (use1-az1): the names of zones mean something else in each account. 456 types that came " +
			"after 2025-05 have prices in us-east-1 and us-gov only, and no spot price. Sizes that end in .metal may cost up to " +
			"10 % more outside us-east-1 and us-gov. 4 offers (p5e) have a spot price only. 5,628 offers have no list of zones, " +
			"among them all in 14 regions (most of them regions that an account must opt in to). No China, no Local Zones.",
	}
}

func azure() source {
	return source{
		cloud: "azure", date: "2026-05-20", from: fetched, prices: []string{"azure.csv"},
		note: "No availability zones. 2,846 offers without a spot price. GPUs of NG (V620), NV v5 (V710) and the FPGAs of NP are left out.",
	}
}

func gcp() source {
	return source{
		cloud: "gcp", date: "2026-05-20 to 2026-08-03",
		from:   "karpenter-provider-gcp and Cyclenerd/google-cloud-pricing-cost-calculator (Apache-2.0); " + fetched + " for zones, attachable GPUs and TPUs",
		prices: []string{"gcp.csv", "gcp_attachable_gpus.csv", "gcp_tpu.csv"}, zones: "gcp_zones.csv",
		note: "Machines are of 2026-07-30 to 2026-08-03; a3-ultragpu, a4, attachable GPUs, TPUs and zones of 2026-05-20. 2,563 offers of types newer than 2026-05 have no list of zones. a4-highgpu-8g has no public price on demand, " +
			"nor has a3-ultragpu-8g in 4 regions. The size of a TPU's host is not known. A100, H100 and H200 prices are those " +
			"on demand, not the calendar mode's that other catalogs have.",
	}
}

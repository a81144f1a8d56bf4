package main

import "github.com/stix-run/stix/catalog"

// gib is n GiB.
func gib(n int) catalog.Quantity { return catalog.Quantity(n) * catalog.One }

// correct puts right what the tables of facts leave as their sources have it, so that a name means one device and
// memory means the memory of one accelerator, everywhere.
func correct(m *catalog.Machine) {
	if m.Accelerator == "" {
		// Azure's NP sizes have a number of FPGAs, which no task can ask for.
		m.Count, m.AcceleratorGiB = 0, 0
		return
	}
	switch {
	case m.Cloud == "vast" && m.Count > catalog.One:
		// The marketplace tells the memory of all GPUs together.
		m.AcceleratorGiB = m.AcceleratorGiB * catalog.One / m.Count
	case m.Cloud == "gcp" && m.Count < catalog.One && m.AcceleratorGiB > 0:
		// The memory of the whole card, of which the machine sees a slice.
		m.AcceleratorGiB = m.AcceleratorGiB * m.Count / catalog.One
	}
	m.Accelerator = byMemory(m.Accelerator, m.AcceleratorGiB)
}

// byMemory names a device whose maker sells it with different memory, where a cloud uses the bare name for both. A
// hundredth is left out of what some clouds report.
func byMemory(name string, memory catalog.Quantity) string {
	switch {
	case name == "A100" && memory > gib(78):
		return "A100-80GB"
	case name == "V100" && memory > gib(31):
		return "V100-32GB"
	case name == "RTX3060" && memory > 0 && memory < gib(10):
		return "RTX3060Ti"
	}
	return name
}

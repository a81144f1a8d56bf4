package catalog

import (
	"slices"
	"testing"
	"testing/fstest"
)

func TestCanonicalNames(t *testing.T) {
	c := open(t)
	for typed, want := range map[string]string{
		"A100": "A100", "a100": "A100", "h100": "H100", "TPU-V5P-8": "tpu-v5p-8", "tpu-v2-8": "tpu-v2-8",
		"a100-80gb": "A100-80GB", "A100_80GB": "A100-80GB", "a100-80g": "A100-80GB", "rtx 6000 ada": "RTX6000-Ada", "RTX6000Ada": "RTX6000-Ada",
		"NVIDIA T4": "T4", "nvidia-tesla-t4": "T4", "Tesla V100": "V100", "GeForce RTX 4090": "RTX4090", "AMD Instinct MI300X": "MI300X",
		"A100-40GB": "A100", "H100-80GB": "H100", "nvidia-a100-80gb": "A100-80GB", "V100-16GB": "V100", "V100-32": "V100-32GB",
		"tpu-v5e-8": "tpu-v5litepod-8", "gaudi hl-205": "Gaudi HL-205", "radeon": "Radeon Pro V520", "T4G": "T4g", " l4 ": "L4",
	} {
		if got, meant := c.Canonical(typed); got != want {
			t.Errorf("%q is %q (%v), want %s", typed, got, meant, want)
		}
	}
}

func TestCanonicalSuggestsWhenInDoubt(t *testing.T) {
	c := open(t)
	for typed, want := range map[string]string{"H1": "H100", "A10O": "A100", "HI00": "H100", "RTX4091": "RTX4090", "gaudi": "Gaudi2", "H100-99GB": "H100"} {
		got, meant := c.Canonical(typed)
		if got != "" || !slices.Contains(meant, want) || len(meant) > maxSuggestions {
			t.Errorf("%q is %q, or one of %v", typed, got, meant)
		}
	}
	for _, typed := range []string{"", "  ", "--", "zzzzzzzz"} {
		if got, meant := c.Canonical(typed); got != "" || len(meant) > 0 {
			t.Errorf("%q is %q, or one of %v", typed, got, meant)
		}
	}
}

func TestCanonicalLooksAtTheNamedClouds(t *testing.T) {
	c := open(t)
	if got, meant := c.Canonical("inferentia"); got != "Inferentia" {
		t.Errorf("%q %v", got, meant)
	}
	// runpod sells H100-SXM and H100-NVL only, but the exact name of another cloud's wins.
	if got, _ := c.Canonical("H100", "runpod"); got != "H100" {
		t.Errorf("%q", got)
	}
	if got, _ := c.Canonical("A600", "lambda"); got != "A6000" {
		t.Errorf("lambda sells one A600*: %q", got)
	}
	if got, meant := c.Canonical("A600"); got != "" || len(meant) < 2 {
		t.Errorf("several clouds sell several A600*: %q %v", got, meant)
	}
}

func TestEveryAcceleratorIsCanonical(t *testing.T) {
	c := open(t)
	folded := map[string]string{}
	for _, a := range c.Accelerators() {
		if got, _ := c.Canonical(a.Name); got != a.Name {
			t.Errorf("%s is canonical as %q", a.Name, got)
		}
		if other := folded[fold(a.Name)]; other != "" {
			t.Errorf("%s and %s differ in spelling only", a.Name, other)
		}
		folded[fold(a.Name)] = a.Name
		if a.Maker == "" || a.MemoryGiB <= 0 || a.Kind != KindGPU && a.Kind != KindTPU && a.Kind != KindOther {
			t.Errorf("%+v", a)
		}
		if !slices.IsSorted(a.Clouds) {
			t.Errorf("%s is sold by %v", a.Name, a.Clouds)
		}
	}
	a, _ := c.Accelerator("A100-80GB")
	if !slices.Contains(a.Clouds, "vast") || !slices.Contains(a.Clouds, "cudo") || a.Maker != "NVIDIA" {
		t.Errorf("%+v", a)
	}
}

func TestNewAcceleratorOfAFetchedTableIsKnown(t *testing.T) {
	table := small("do")
	table.Offers[0].Machine.Accelerator = "Z900"
	old := open(t)
	c, err := old.With(must(Encode(table)))
	if err != nil {
		t.Fatal(err)
	}
	a, ok := c.Accelerator("Z900")
	if name, _ := c.Canonical("z-900"); name != "Z900" || !ok || a.MemoryGiB != 80*One || !slices.Equal(a.Clouds, []string{"do"}) {
		t.Errorf("%q: %+v", name, a)
	}
	if _, ok := old.Accelerator("Z900"); ok {
		t.Error("the old catalog has learned, too")
	}
	dir := files(t)
	dir["do.bin"] = &fstest.MapFile{Data: must(Encode(table))}
	if loaded, err := Load(dir); err != nil {
		t.Error(err)
	} else if _, ok := loaded.Accelerator("Z900"); !ok {
		t.Error("not known after Load")
	}
}

func TestMemoryForms(t *testing.T) {
	for s, want := range map[string]MemoryForm{
		"80GB":           {MemoryGiB: 80 * One, Count: One},
		"80gb+":          {MemoryGiB: 80 * One, AtLeast: true, Count: One},
		"80GB:2":         {MemoryGiB: 80 * One, Count: 2 * One},
		"NVIDIA:80GB":    {Maker: "NVIDIA", MemoryGiB: 80 * One, Count: One},
		"nvidia:80GB+:2": {Maker: "nvidia", MemoryGiB: 80 * One, AtLeast: true, Count: 2 * One},
		"40960MB":        {MemoryGiB: 40 * One, Count: One},
		"0.125TB":        {MemoryGiB: 128 * One, Count: One},
		"80GB:0.5":       {MemoryGiB: 80 * One, Count: One / 2},
	} {
		if got, ok, err := ParseMemoryForm(s); !ok || err != nil || got != want {
			t.Errorf("%q is %+v, %v, %v", s, got, ok, err)
		}
	}
	for _, s := range []string{"A100", "A100:8", "A100-80GB", "A100-80GB:2", "", "80", "80G", "GB", "tpu-v2-8", "RTX4090", ":80GB"} {
		if got, ok, err := ParseMemoryForm(s); ok || err != nil {
			t.Errorf("%q is the form %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"0GB", "80GB:0", "80GB:1.2.3", "80.1234567GB", "99999999999999999999GB", "9999999999TB", "80GB:."} {
		if got, ok, err := ParseMemoryForm(s); !ok || err == nil {
			t.Errorf("%q is %+v, %v", s, got, ok)
		}
	}
}

func TestMemoryFormsExpandToDevices(t *testing.T) {
	c := open(t)
	names := func(s string) []string {
		f, _, err := ParseMemoryForm(s)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, a := range c.WithMemory(f) {
			list = append(list, a.Name)
		}
		return list
	}
	if got := names("AMD:288GB"); !slices.Equal(got, []string{"MI350X", "MI355X"}) {
		t.Errorf("AMD:288GB: %v", got)
	}
	got := names("80GB")
	if !slices.Contains(got, "H100") || !slices.Contains(got, "A100-80GB") || slices.Contains(got, "H200") {
		t.Errorf("80GB: %v", got)
	}
	if got := names("80GB+"); !slices.Contains(got, "H200") || slices.ContainsFunc(got, func(n string) bool { return n[:2] == "tp" }) {
		t.Errorf("80GB+: %v", got)
	}
	if got := names("Google:128GB"); !slices.Contains(got, "tpu-v3-8") {
		t.Errorf("Google:128GB: %v", got)
	}
	if got := names("Nobody:80GB+"); len(got) > 0 {
		t.Errorf("Nobody:80GB+: %v", got)
	}
}

func FuzzParseMemoryForm(f *testing.F) {
	for _, s := range []string{"80GB", "NVIDIA:80GB+:2", "1.5TB", "A100"} {
		f.Add(s)
	}
	c := open(f)
	f.Fuzz(func(t *testing.T, s string) {
		if form, ok, err := ParseMemoryForm(s); ok && err == nil && (form.MemoryGiB <= 0 || form.Count <= 0) {
			t.Errorf("%q is %+v", s, form)
		}
		if name, _ := c.Canonical(s); name != "" {
			if again, _ := c.Canonical(name); again != name {
				t.Errorf("%q is %q, which is %q", s, name, again)
			}
		}
	})
}

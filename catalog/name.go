package catalog

import (
	"slices"
	"strings"
)

// maxSuggestions is how many names a person reads.
const maxSuggestions = 8

// Accelerators are all known accelerators with the clouds that sell them, sorted by name. Shared: never change them.
func (c *Catalog) Accelerators() []Accelerator { return c.accelerators() }

// Accelerator finds one by its canonical name.
func (c *Catalog) Accelerator(name string) (Accelerator, bool) {
	list := c.accelerators()
	i, found := slices.BinarySearchFunc(list, name, func(a Accelerator, n string) int { return strings.Compare(a.Name, n) })
	if !found {
		return Accelerator{}, false
	}
	return list[i], true
}

// sellers fills in which clouds sell the known accelerators.
func (c *Catalog) sellers() []Accelerator {
	list := slices.Clone(c.known)
	for _, cl := range c.opened(nil) {
		for i := range list {
			if len(cl.byAccelerator[list[i].Name]) > 0 {
				list[i].Clouds = append(list[i].Clouds, cl.info.Name)
			}
		}
	}
	return list
}

// Canonical returns the canonical spelling of an accelerator's name, or "" with what may have been meant. In order:
//
//   - the name, whatever its case ("a100" is A100, "TPU-V5P-8" is tpu-v5p-8);
//   - the name, whatever stands between its parts ("rtx 6000 ada" is RTX6000-Ada);
//   - the name with what makers add: themselves, their brands, the memory it has anyway ("NVIDIA Tesla T4",
//     "A100-40GB"), and "v5e" for v5litepod;
//   - the one name that contains the text; with several the text is ambiguous, and they are returned.
//
// With clouds named, the last rule looks at what they sell only.
func (c *Catalog) Canonical(name string, clouds ...string) (string, []string) {
	folded := fold(name)
	if folded == "" {
		return "", nil
	}
	if i, ok := c.exactly(folded); ok {
		return c.known[i].Name, nil
	}
	within := c.containing(folded, clouds)
	if len(within) == 1 {
		return within[0].Name, nil
	}
	if len(within) == 0 {
		within = c.similar(folded)
	}
	return "", suggestions(within)
}

// exactly finds a name by the rules that leave no doubt.
func (c *Catalog) exactly(folded string) (int, bool) {
	names := c.byFolded()
	for {
		if i, ok := names[folded]; ok {
			return i, true
		}
		if i, ok := c.withMemory(names, folded); ok {
			return i, true
		}
		rest := withoutBrand(folded)
		if rest == folded {
			return 0, false
		}
		folded = rest
	}
}

// withMemory finds "a10040gb": a name with the memory that it has anyway.
func (c *Catalog) withMemory(names map[string]int, folded string) (int, bool) {
	short := strings.TrimSuffix(strings.TrimSuffix(folded, "b"), "g")
	for cut := len(short); short != folded && cut > 0 && short[cut-1] >= '0' && short[cut-1] <= '9'; cut-- {
		i, ok := names[short[:cut-1]]
		if ok && c.known[i].MemoryGiB.String() == short[cut-1:] {
			return i, true
		}
	}
	// The memory as the only difference in spelling: "a10080g" for A100-80GB.
	i, ok := names[short+"gb"]
	return i, ok && short != folded
}

// withoutBrand takes away one word that makers put before the name, or replaces a name that is in use for another.
func withoutBrand(folded string) string {
	for _, brand := range []string{"nvidia", "amd", "intel", "google", "aws", "habana", "tesla", "geforce", "quadro", "instinct", "cloud"} {
		if rest, ok := strings.CutPrefix(folded, brand); ok {
			return rest
		}
	}
	if rest, ok := strings.CutPrefix(folded, "tpuv5e"); ok {
		return "tpuv5litepod" + rest
	}
	return folded
}

// containing returns what has the text in its name and is sold by one of the clouds.
func (c *Catalog) containing(folded string, clouds []string) []Accelerator {
	list := c.known
	if len(clouds) > 0 {
		list = c.accelerators()
	}
	var found []Accelerator
	for _, a := range list {
		sold := len(clouds) == 0 || slices.ContainsFunc(a.Clouds, func(cloud string) bool { return slices.Contains(clouds, cloud) })
		if sold && strings.Contains(fold(a.Name), folded) {
			found = append(found, a)
		}
	}
	return found
}

// similar returns what the text contains or what differs from it by a slip or two, nearest first.
func (c *Catalog) similar(folded string) []Accelerator {
	type near struct {
		Accelerator
		distance int
	}
	var found []near
	for _, a := range c.known {
		name := fold(a.Name)
		if d := distance(folded, name); d <= allowedSlips(folded) || len(name) > 2 && strings.Contains(folded, name) {
			found = append(found, near{a, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.distance - b.distance })
	list := make([]Accelerator, len(found))
	for i := range found {
		list[i] = found[i].Accelerator
	}
	return list
}

func allowedSlips(folded string) int {
	if len(folded) <= 3 {
		return 1
	}
	return 2
}

func suggestions(list []Accelerator) []string {
	var names []string
	for _, a := range list[:min(len(list), maxSuggestions)] {
		names = append(names, a.Name)
	}
	return names
}

// fold brings spellings together that mean the same.
func fold(name string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(name))
}

func foldedNames(list []Accelerator) map[string]int {
	names := make(map[string]int, len(list))
	for i, a := range list {
		names[fold(a.Name)] = i
	}
	return names
}

// distance is how many letters must be put in, taken out or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

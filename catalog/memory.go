package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// MemoryForm is a wish for accelerators by their memory: `80GB`, `80GB+`, `NVIDIA:80GB+:2`.
type MemoryForm struct {
	// Maker of the device; empty is any.
	Maker string
	// MemoryGiB that it has; with AtLeast it may have more.
	MemoryGiB Quantity
	AtLeast   bool
	// Count of devices.
	Count Quantity
}

// memoryPattern is compiled for each form: there are a handful in a task, and no package variable is worth that.
func memoryPattern() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(?:([a-z][a-z ]*):)?([0-9]+(?:\.[0-9]+)?)([mgt])b(\+?)(?::([0-9.]+))?$`)
}

// ParseMemoryForm reads a wish by memory. ok is false when s is something else, like the name of an accelerator.
func ParseMemoryForm(s string) (f MemoryForm, ok bool, err error) {
	s = strings.TrimSpace(s)
	part := memoryPattern().FindStringSubmatch(s)
	if part == nil {
		return MemoryForm{}, false, nil
	}
	f = MemoryForm{Maker: strings.TrimSpace(part[1]), AtLeast: part[4] != "", Count: One}
	if f.MemoryGiB, err = memoryOf(part[2], part[3]); err != nil {
		return MemoryForm{}, true, fmt.Errorf("read memory in %q: %w", s, err)
	}
	if part[5] != "" {
		if f.Count, err = ParseQuantity(part[5]); err != nil {
			return MemoryForm{}, true, fmt.Errorf("read count in %q: %w", s, err)
		}
	}
	if f.MemoryGiB == 0 || f.Count == 0 {
		return MemoryForm{}, true, fmt.Errorf("read %q: memory and count must be more than zero", s)
	}
	return f, true, nil
}

// memoryOf turns "40960", "m" into 40 GiB. As everywhere in task files a GB is 1024 MB.
func memoryOf(number, unit string) (Quantity, error) {
	const step = 1024
	q, err := ParseQuantity(number)
	if err != nil || q > One<<30 {
		return 0, fmt.Errorf("%q is too large or too fine", number)
	}
	switch strings.ToLower(unit) {
	case "m":
		return q / step, nil
	case "t":
		return q * step, nil
	}
	return q, nil
}

// WithMemory returns the accelerators that meet the form, sorted by name. A slice of TPUs has the memory of many chips,
// so TPUs are meant only when Google is.
func (c *Catalog) WithMemory(f MemoryForm) []Accelerator {
	return slices.DeleteFunc(slices.Clone(c.Accelerators()), func(a Accelerator) bool { return !f.fits(a) })
}

func (f MemoryForm) fits(a Accelerator) bool {
	if f.Maker == "" && a.Kind == KindTPU || f.Maker != "" && !strings.EqualFold(f.Maker, a.Maker) {
		return false
	}
	return a.MemoryGiB == f.MemoryGiB || f.AtLeast && a.MemoryGiB > f.MemoryGiB
}

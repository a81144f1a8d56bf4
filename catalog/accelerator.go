package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kinds of accelerators.
const (
	KindGPU   = "gpu"
	KindTPU   = "tpu"
	KindOther = "accelerator"
)

// Accelerator is a kind of device, or for TPUs a whole slice.
type Accelerator struct {
	// Name in its canonical spelling.
	Name string
	// Maker as people write it ("NVIDIA"); empty where it is not known.
	Maker string
	// MemoryGiB of one, nominal.
	MemoryGiB Quantity
	// Kind is one of the kinds above.
	Kind string
	// Clouds that sell it, sorted; empty when none does that the catalog knows.
	Clouds []string
}

// EncodeAccelerators makes the catalog file of the list of accelerators, without their clouds: those follow from the
// offers. Equal lists make equal files.
func EncodeAccelerators(list []Accelerator) ([]byte, error) {
	list = slices.SortedFunc(slices.Values(list), func(a, b Accelerator) int { return strings.Compare(a.Name, b.Name) })
	var w writer
	w.number(int64(len(list)))
	names := map[string]bool{}
	for _, a := range list {
		if a.Name == "" || a.Maker == "" || a.Kind == "" || a.MemoryGiB <= 0 {
			return nil, fmt.Errorf("encode accelerators: %q has no name, maker, kind or memory", a.Name)
		}
		if folded := strings.ToLower(a.Name); names[folded] {
			return nil, fmt.Errorf("encode accelerators: %q is there twice", a.Name)
		} else {
			names[folded] = true
		}
		w.strings(a.Name, a.Maker, a.Kind)
		w.number(int64(a.MemoryGiB))
	}
	return seal(kindAccelerators, w.body), nil
}

func decodeAccelerators(file []byte) ([]Accelerator, error) {
	body, err := unseal(kindAccelerators, file)
	if err != nil {
		return nil, err
	}
	r := &reader{rest: body}
	list := make([]Accelerator, r.count())
	for i := range list {
		list[i] = Accelerator{Name: r.text(), Maker: r.text(), Kind: r.text(), MemoryGiB: Quantity(r.number())}
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	if !slices.IsSortedFunc(list, func(a, b Accelerator) int { return strings.Compare(a.Name, b.Name) }) {
		return nil, errors.Join(ErrFormat, errors.New("the accelerators are not sorted"))
	}
	return list, nil
}

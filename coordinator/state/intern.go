package state

import stixv1 "github.com/stix-run/stix/proto/stix/v1"

// internSlots bounds an interner.
const internSlots = 4096

// interner gives strings that were seen lately a single copy: a million jobs name few clusters, specs and users. It is
// a cache, used by one goroutine; losing entries costs memory, never correctness.
type interner struct {
	slots [internSlots]string
}

func (in *interner) str(s string) string {
	if s == "" {
		return ""
	}
	h := uint32(2166136261) // FNV-1a
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	slot := &in.slots[(h^h>>12)%internSlots]
	if *slot != s {
		*slot = s
	}
	return *slot
}

func (in *interner) all(ss []string) {
	for i, s := range ss {
		ss[i] = in.str(s)
	}
}

func (in *interner) meta(m *stixv1.Meta) {
	m.Name = in.str(m.Name)
	m.Workspace = in.str(m.Workspace)
	m.Owner = in.str(m.Owner)
	m.CreatedBy = in.str(m.CreatedBy)
	m.RequestId = in.str(m.RequestId)
}

package state

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Record is what a table holds: a message with the head that every record has. Its key is the uid in the head.
type Record interface {
	proto.Message
	GetMeta() *stixv1.Meta
}

// TableID numbers the tables in entries and snapshots. A number is never reused.
type TableID uint32

// spec declares a table.
type spec[M Record] struct {
	id      TableID
	name    string
	make    func() M
	indexes []index[M]
	// intern replaces strings that many records share by one copy.
	intern func(m M, in *interner)
}

// index declares a secondary index: the place of a record in it, as a pure function.
type index[M Record] struct {
	name string
	// place returns the key to look under and the order among the records of that key (then the uid decides); ok is
	// false for a record that the index leaves out.
	place func(m M) (key string, order int64, ok bool)
	// unique refuses a second record under a key.
	unique bool
}

// decode makes the record of one logged or saved value and checks that it belongs under that key.
func (s *spec[M]) decode(key string, value []byte, in *interner) (M, error) {
	m := s.make()
	if err := unmarshal.Unmarshal(value, m); err != nil {
		return m, fmt.Errorf("decode %s %q: %w", s.name, key, err)
	}
	meta := m.GetMeta()
	if key == "" || meta.GetUid() != key {
		return m, fmt.Errorf("decode %s %q: its uid is %q", s.name, key, meta.GetUid())
	}
	in.meta(meta)
	if s.intern != nil {
		s.intern(m, in)
	}
	return m, nil
}

var (
	marshal   = proto.MarshalOptions{Deterministic: true}
	unmarshal = proto.UnmarshalOptions{}
)

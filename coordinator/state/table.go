package state

import (
	"cmp"
	"fmt"
	"iter"
	"math"

	"github.com/tidwall/btree"
	"google.golang.org/protobuf/proto"
)

// Table is the reading side of one table: of a view, where it never changes, or of a transaction, where it shows what
// the transaction and those before it wrote. Records are shared and must not be written to.
type Table[M Record] struct {
	spec *spec[M]
	rows *btree.Map[string, M]
	idx  []*btree.BTreeG[entry]
}

// Index names a secondary index of the table of M.
type Index[M Record] int

// entry is the place of one record in an index.
type entry struct {
	key   string
	order int64
	uid   string
}

func less(a, b entry) bool {
	if c := cmp.Compare(a.key, b.key); c != 0 {
		return c < 0
	}
	if a.order != b.order {
		return a.order < b.order
	}
	return a.uid < b.uid
}

// lastUID sorts after every uid.
const lastUID = "\xff"

// last sorts after every entry of the key.
func last(key string) entry { return entry{key, math.MaxInt64, lastUID} }

// first sorts before every entry of the key.
func first(key string) entry { return entry{key, math.MinInt64, ""} }

func newTable[M Record](s *spec[M]) Table[M] {
	t := Table[M]{spec: s, rows: btree.NewMap[string, M](0)}
	for range s.indexes {
		t.idx = append(t.idx, btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}))
	}
	return t
}

// Get returns the record with that uid.
func (t *Table[M]) Get(uid string) (M, bool) { return t.rows.Get(uid) }

// Len returns the number of records.
func (t *Table[M]) Len() int { return t.rows.Len() }

// All returns all records in the order of their uids. In a transaction, records may be written while it runs.
func (t *Table[M]) All() iter.Seq[M] { return t.from("") }

// By returns the records under a key of an index, in the order of the index. In a transaction, records may be written
// while it runs: one that was deleted or moved before its turn is left out.
func (t *Table[M]) By(i Index[M], key string) iter.Seq[M] {
	return t.walk(i, first(key), last(key), ascending)
}

// desc is By backwards.
func (t *Table[M]) desc(i Index[M], key string) iter.Seq[M] {
	return t.walk(i, last(key), first(key), descending)
}

// firstBy returns the first record under a key of an index.
func (t *Table[M]) firstBy(i Index[M], key string) (m M, ok bool) {
	t.idx[i].Ascend(first(key), func(e entry) bool {
		if e.key == key {
			m, ok = t.rows.Get(e.uid)
		}
		return false
	})
	return m, ok
}

// at returns the first record under a key of an index that has this order.
func (t *Table[M]) at(i Index[M], key string, order int64) (m M, ok bool) {
	t.idx[i].Ascend(entry{key: key, order: order}, func(e entry) bool {
		if e.key == key && e.order == order {
			m, ok = t.rows.Get(e.uid)
		}
		return false
	})
	return m, ok
}

// keys returns the distinct keys of an index, in order.
func (t *Table[M]) keys(i Index[M]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for pivot := (entry{order: math.MinInt64}); ; {
			next, ok := pivot, false
			t.idx[i].Ascend(pivot, func(e entry) bool {
				next, ok = e, true
				return false
			})
			if !ok || !yield(next.key) {
				return
			}
			pivot = last(next.key)
		}
	}
}

// Iteration reads ahead this many entries: few at first, since many callers want one, then more. Between the reads the
// table may change under the iterator.
const (
	firstChunk = 8
	chunkLimit = 256
)

// from returns the records whose uid is at least pivot.
func (t *Table[M]) from(pivot string) iter.Seq[M] {
	return func(yield func(M) bool) {
		at, skip := pivot, false
		for size := firstChunk; ; size = min(2*size, chunkLimit) {
			chunk := make([]string, 0, size)
			t.rows.Ascend(at, func(uid string, _ M) bool {
				if !skip || uid != at {
					chunk = append(chunk, uid)
				}
				return len(chunk) < size
			})
			for _, uid := range chunk {
				if m, ok := t.rows.Get(uid); ok && !yield(m) {
					return
				}
			}
			if len(chunk) < size {
				return
			}
			at, skip = chunk[len(chunk)-1], true
		}
	}
}

type direction bool

const (
	ascending  direction = false
	descending direction = true
)

// walk returns the records of an index from one entry to another, both inclusive.
func (t *Table[M]) walk(i Index[M], from, to entry, dir direction) iter.Seq[M] {
	return func(yield func(M) bool) {
		at, skip := from, false
		for size := firstChunk; ; size = min(2*size, chunkLimit) {
			chunk := t.chunk(i, at, to, dir, skip, size)
			for _, e := range chunk {
				if m, ok := t.placed(i, e); ok && !yield(m) {
					return
				}
			}
			if len(chunk) < size {
				return
			}
			at, skip = chunk[len(chunk)-1], true
		}
	}
}

func (t *Table[M]) chunk(i Index[M], at, to entry, dir direction, skip bool, size int) []entry {
	chunk := make([]entry, 0, size)
	collect := func(e entry) bool {
		if skip && e == at {
			return true
		}
		if dir == ascending && less(to, e) || dir == descending && less(e, to) {
			return false
		}
		chunk = append(chunk, e)
		return len(chunk) < size
	}
	if dir == ascending {
		t.idx[i].Ascend(at, collect)
	} else {
		t.idx[i].Descend(at, collect)
	}
	return chunk
}

// placed returns the record of an entry if it is still there.
func (t *Table[M]) placed(i Index[M], e entry) (M, bool) {
	m, ok := t.rows.Get(e.uid)
	if !ok {
		return m, false
	}
	key, order, in := t.spec.indexes[i].place(m)
	return m, in && key == e.key && order == e.order
}

// conflict tells whether another record already stands where m would go in a unique index.
func (t *Table[M]) conflict(m M) error {
	uid := m.GetMeta().GetUid()
	for i, d := range t.spec.indexes {
		if !d.unique {
			continue
		}
		key, _, ok := d.place(m)
		if !ok {
			continue
		}
		if other, taken := t.firstBy(Index[M](i), key); taken && other.GetMeta().GetUid() != uid {
			return fmt.Errorf("%w: %s: %s %q is that of %s", ErrConflict, t.spec.name, d.name, key, other.GetMeta().GetUid())
		}
	}
	return nil
}

// set stores m, which the table owns from now on, and returns what it replaced.
func (t *Table[M]) set(m M) (old M, replaced bool) {
	uid := m.GetMeta().GetUid()
	old, replaced = t.rows.Set(uid, m)
	for i := range t.idx {
		is, in := t.place(i, m, uid)
		if replaced {
			was, wasIn := t.place(i, old, uid)
			if wasIn && in && was == is {
				continue
			}
			if wasIn {
				t.idx[i].Delete(was)
			}
		}
		if in {
			t.idx[i].Set(is)
		}
	}
	return old, replaced
}

// unset removes a record and returns it.
func (t *Table[M]) unset(uid string) (old M, existed bool) {
	old, existed = t.rows.Delete(uid)
	if !existed {
		return old, false
	}
	for i := range t.idx {
		if was, in := t.place(i, old, uid); in {
			t.idx[i].Delete(was)
		}
	}
	return old, true
}

func (t *Table[M]) place(i int, m M, uid string) (entry, bool) {
	key, order, ok := t.spec.indexes[i].place(m)
	return entry{key, order, uid}, ok
}

// table is a Table without its type, for what treats all alike: applying, saving, restoring, hashing.
type table interface {
	id() TableID
	title() string
	isolate()
	size() int
	put(key string, value []byte, in *interner) (old, new proto.Message, err error)
	restore(key string, value []byte, in *interner) error
	remove(key string) (old proto.Message)
	each(f func(key string, m proto.Message) bool)
}

func (t *Table[M]) id() TableID   { return t.spec.id }
func (t *Table[M]) title() string { return t.spec.name }
func (t *Table[M]) size() int     { return t.rows.Len() }

// isolate gives t its own copy of the rows and indexes, which costs nothing until they are written to. The caller holds
// whatever guards the table that t was copied from: taking a copy marks the original.
func (t *Table[M]) isolate() {
	t.rows = t.rows.Copy()
	idx := make([]*btree.BTreeG[entry], len(t.idx))
	for i, ix := range t.idx {
		idx[i] = ix.Copy()
	}
	t.idx = idx
}

func (t *Table[M]) put(key string, value []byte, in *interner) (old, new proto.Message, err error) {
	m, err := t.spec.decode(key, value, in)
	if err != nil {
		return nil, nil, err
	}
	if was, replaced := t.set(m); replaced {
		old = was
	}
	return old, m, nil
}

// restore is put for records that come in the order of their keys into a table that is being made.
func (t *Table[M]) restore(key string, value []byte, in *interner) error {
	m, err := t.spec.decode(key, value, in)
	if err != nil {
		return err
	}
	uid := m.GetMeta().GetUid()
	if _, twice := t.rows.Load(uid, m); twice {
		return fmt.Errorf("%s %q is there twice", t.spec.name, key)
	}
	for i := range t.idx {
		if e, in := t.place(i, m, uid); in {
			t.idx[i].Load(e)
		}
	}
	return nil
}

func (t *Table[M]) remove(key string) proto.Message {
	if old, existed := t.unset(key); existed {
		return old
	}
	return nil
}

func (t *Table[M]) each(f func(key string, m proto.Message) bool) {
	t.rows.Scan(func(key string, m M) bool { return f(key, m) })
}

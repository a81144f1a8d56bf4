package state

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// model is the same state as plain maps.
type model struct {
	clusters    map[string]*stixv1.Cluster
	nodes       map[string]*stixv1.Node
	jobs        map[string]*stixv1.Job
	assignments map[string]*stixv1.Assignment
	requests    map[string]*stixv1.Request
	intervals   map[string]*stixv1.Interval
}

func newModel() *model {
	return &model{
		map[string]*stixv1.Cluster{}, map[string]*stixv1.Node{}, map[string]*stixv1.Job{},
		map[string]*stixv1.Assignment{}, map[string]*stixv1.Request{}, map[string]*stixv1.Interval{},
	}
}

func (m *model) clone() *model {
	return &model{
		maps.Clone(m.clusters), maps.Clone(m.nodes), maps.Clone(m.jobs),
		maps.Clone(m.assignments), maps.Clone(m.requests), maps.Clone(m.intervals),
	}
}

func meta(kind string, n int) *stixv1.Meta { return &stixv1.Meta{Uid: fmt.Sprintf("%s-%03d", kind, n)} }

// apply does one random thing to a table of tx and to its map.
func apply[M Record](rnd *rand.Rand, t *TxTable[M], in map[string]M, m M, edit func(M)) {
	uid := m.GetMeta().Uid
	switch rnd.IntN(4) {
	case 0, 1:
		t.Put(m)
		in[uid], _ = t.Get(uid)
	case 2:
		t.Edit(uid, edit)
		if now, ok := t.Get(uid); ok {
			in[uid] = now
		}
	case 3:
		t.Delete(uid)
		delete(in, uid)
	}
}

func (m *model) step(rnd *rand.Rand, tx *Tx) {
	ref := func(kind string, n int) string { return meta(kind, rnd.IntN(n)).Uid }
	switch rnd.IntN(6) {
	case 0:
		c := &stixv1.Cluster{Meta: meta("c", rnd.IntN(8)), State: stixv1.ClusterState(rnd.IntN(6))}
		c.Meta.Name = c.Meta.Uid // unique, so that no update conflicts
		apply(rnd, &tx.Clusters, m.clusters, c, func(c *stixv1.Cluster) { c.State = stixv1.ClusterState(rnd.IntN(6)) })
	case 1:
		apply(rnd, &tx.Nodes, m.nodes, &stixv1.Node{
			Meta: meta("n", rnd.IntN(20)), ClusterUid: ref("c", 8), Index: rnd.Int32N(4), State: stixv1.NodeState(rnd.IntN(6)),
		}, func(n *stixv1.Node) { n.JoinTokenHash = ref("t", 5) })
	case 2:
		apply(rnd, &tx.Jobs, m.jobs, &stixv1.Job{
			Meta: meta("j", rnd.IntN(60)), ClusterUid: ref("c", 8), SpecUid: ref("s", 9), Number: rnd.Int64N(50),
			State: stixv1.JobState(rnd.IntN(10)), AllottedAt: rnd.Int64N(2), CancelRequestedAt: rnd.Int64N(2),
		}, func(j *stixv1.Job) { j.State, j.NodeUids = stixv1.JobState(rnd.IntN(10)), []string{ref("n", 20)} })
	case 3:
		apply(rnd, &tx.Assignments, m.assignments, &stixv1.Assignment{
			Meta: meta("a", rnd.IntN(60)), JobUid: ref("j", 60), NodeUid: ref("n", 20), Rank: rnd.Int32N(4),
			Phase: stixv1.Phase(rnd.IntN(3)),
		}, func(a *stixv1.Assignment) {
			a.Status = &stixv1.AssignmentStatus{State: stixv1.AssignmentState(rnd.IntN(5)), LogArchived: rnd.IntN(2) == 0}
		})
	case 4:
		apply(rnd, &tx.Requests, m.requests, &stixv1.Request{Meta: meta("r", rnd.IntN(30))},
			func(r *stixv1.Request) { r.State = stixv1.RequestState(rnd.IntN(6)) })
	case 5:
		apply(rnd, &tx.Intervals, m.intervals, &stixv1.Interval{Meta: meta("i", rnd.IntN(30)), NodeUid: ref("n", 20), From: rnd.Int64N(9)},
			func(i *stixv1.Interval) { i.To = rnd.Int64N(3) })
	}
}

// sameTable compares a table and all its indexes, forwards and backwards, with a map.
func sameTable[M Record](t *testing.T, table *Table[M], want map[string]M) {
	t.Helper()
	uids := slices.Sorted(maps.Keys(want))
	sameRecords(t, table.spec.name, slices.Collect(table.All()), uids, want)
	if table.Len() != len(want) {
		t.Errorf("%s has %d records, want %d", table.spec.name, table.Len(), len(want))
	}
	for i, d := range table.spec.indexes {
		at := map[string][]entry{}
		for _, uid := range uids {
			if key, order, ok := d.place(want[uid]); ok {
				at[key] = append(at[key], entry{key, order, uid})
			}
		}
		if got := slices.Collect(table.keys(Index[M](i))); !slices.Equal(got, slices.Sorted(maps.Keys(at))) {
			t.Errorf("%s by %s has keys %q", table.spec.name, d.name, got)
		}
		for key, entries := range at {
			slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.uid, b.uid)) })
			var order []string
			for _, e := range entries {
				order = append(order, e.uid)
			}
			name := fmt.Sprintf("%s by %s %q", table.spec.name, d.name, key)
			sameRecords(t, name, slices.Collect(table.By(Index[M](i), key)), order, want)
			slices.Reverse(order)
			sameRecords(t, name+" backwards", slices.Collect(table.desc(Index[M](i), key)), order, want)
		}
		if n := table.idx[i].Len(); n != sum(at) {
			t.Errorf("%s by %s has %d entries, want %d", table.spec.name, d.name, n, sum(at))
		}
	}
}

func sum(at map[string][]entry) (n int) {
	for _, entries := range at {
		n += len(entries)
	}
	return n
}

func sameRecords[M Record](t *testing.T, name string, got []M, uids []string, want map[string]M) {
	t.Helper()
	if len(got) != len(uids) {
		t.Errorf("%s: %d records, want %d", name, len(got), len(uids))
		return
	}
	for i, m := range got {
		if m.GetMeta().Uid != uids[i] || !proto.Equal(m, want[uids[i]]) {
			t.Errorf("%s: record %d is %v, want %v", name, i, m, want[uids[i]])
		}
	}
}

func (m *model) same(t *testing.T, v *View) {
	t.Helper()
	sameTable(t, &v.Clusters, m.clusters)
	sameTable(t, &v.Nodes, m.nodes)
	sameTable(t, &v.Jobs, m.jobs)
	sameTable(t, &v.Assignments, m.assignments)
	sameTable(t, &v.Requests, m.requests)
	sameTable(t, &v.Intervals, m.intervals)
}

// TestRandomUpdatesGiveWhatPlainMapsGive compares every table and index, on the leader, after replaying its log and after
// a snapshot, with the model. Some updates fail on purpose and some entries are refused.
func TestRandomUpdatesGiveWhatPlainMapsGive(t *testing.T) {
	boom := errors.New("boom")
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s, l, stop := lead(t, func(c *Config, _ *fakeLog) { c.EventsPerObject = 3 })
		defer stop()
		m := newModel()
		older := map[*View]*model{}
		for range 60 {
			var next *model
			fails := rnd.IntN(4) == 0
			if rnd.IntN(5) == 0 {
				l.fail(fault{err: errRefused})
			}
			state := rnd.Uint64()
			err := s.Update(context.Background(), by("random"), func(tx *Tx) error {
				again := rand.New(rand.NewPCG(state, 2)) // the function may run twice
				next = m.clone()
				for range again.IntN(12) {
					next.step(again, tx)
				}
				tx.Event("cluster", fmt.Sprint("c-", again.IntN(3)), "typ", fmt.Sprint(again.IntN(3)))
				if fails {
					return boom
				}
				return nil
			})
			if fails != errors.Is(err, boom) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if !fails {
				m = next
			}
			older[s.Read()] = m
		}
		for v, m := range older {
			m.same(t, v)
		}
		sameEverywhere(t, s, l)
		stop()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// sameEverywhere checks that replaying the log, and restoring a snapshot, give the same state.
func sameEverywhere(t *testing.T, s *Store, l *fakeLog) {
	t.Helper()
	want := s.Read().Hash()
	replayed := l.replay(t)
	if got := replayed.Read().Hash(); got != want {
		t.Errorf("the replayed log has hash %s, want %s", got, want)
	}
	restored := newStore(t, Config{})
	if err := restored.Restore(bytes.NewReader(save(t, replayed))); err != nil {
		t.Fatal(err)
	}
	if got := restored.Read().Hash(); got != want {
		t.Errorf("the restored snapshot has hash %s, want %s", got, want)
	}
	if !bytes.Equal(save(t, restored), save(t, s)) {
		t.Error("the snapshots differ")
	}
	sameIndexes(t, &restored.Read().Jobs, &s.Read().Jobs)
	sameIndexes(t, &restored.Read().Assignments, &s.Read().Assignments)
}

func sameIndexes[M Record](t *testing.T, a, b *Table[M]) {
	t.Helper()
	for i := range a.idx {
		if !slices.Equal(a.idx[i].Items(), b.idx[i].Items()) {
			t.Errorf("index %s of %s differs", a.spec.indexes[i].name, a.spec.name)
		}
	}
}

func save(t testing.TB, s *Store) []byte {
	t.Helper()
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	var b bytes.Buffer
	if n, err := snap.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

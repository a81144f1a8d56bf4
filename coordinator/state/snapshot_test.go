package state

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	logv1 "github.com/stix-run/stix/proto/stix/log/v1"
)

func entryOf(t testing.TB, e *logv1.Entry) []byte {
	t.Helper()
	b, err := encodeEntry(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func putting(t testing.TB, table TableID, key string, m proto.Message) *logv1.Update {
	t.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return &logv1.Update{Changes: []*logv1.Change{{Table: uint32(table), Key: key, Value: value}}}
}

func TestApplyRefusesWhatItCannotFollow(t *testing.T) {
	good := putting(t, TableClusters, "c", cluster("c", "demo"))
	newer := entryOf(t, &logv1.Entry{Term: 1})
	newer[len(entryMagic)]++
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":         {nil, "not an entry"},
		"other magic":   {[]byte("other"), "not an entry"},
		"no version":    {[]byte(entryMagic), "not an entry"},
		"newer format":  {newer, "entry has format 2, this build reads 1: it was written by a newer stix"},
		"garbage":       {append([]byte(entryMagic), entryVersion, 0xff), "decode entry"},
		"base":          {entryOf(t, &logv1.Entry{BaseRevision: 7, Term: 1}), "entry was decided on revision 7, the state is at 0"},
		"later term":    {entryOf(t, &logv1.Entry{Term: 2}), "decided in the later term 2"},
		"unknown table": {entryOf(t, &logv1.Entry{Term: 1, Updates: []*logv1.Update{good, putting(t, 99, "c", cluster("c", ""))}}), "table 99, which this build does not know"},
		"other uid":     {entryOf(t, &logv1.Entry{Term: 1, Updates: []*logv1.Update{good, putting(t, TableClusters, "d", cluster("c", ""))}}), `decode clusters "d": its uid is "c"`},
		"no uid":        {entryOf(t, &logv1.Entry{Term: 1, Updates: []*logv1.Update{putting(t, TableClusters, "", cluster("", ""))}}), "its uid is"},
		"bad record": {entryOf(t, &logv1.Entry{Term: 1, Updates: []*logv1.Update{good, {
			Changes: []*logv1.Change{{Table: uint32(TableClusters), Key: "d", Value: []byte{0xff}}},
		}}}), `decode clusters "d"`},
	} {
		s := newStore(t, Config{})
		before := s.Read()
		err := s.Apply(1, 1, c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if s.Read() != before || s.Read().Clusters.Len() != 0 {
			t.Errorf("%s: something was applied", name)
		}
	}
}

func TestApplyPassesOverEntriesOfEarlierTerms(t *testing.T) {
	s := newStore(t, Config{})
	e := entryOf(t, &logv1.Entry{Term: 1, Updates: []*logv1.Update{putting(t, TableClusters, "c", cluster("c", ""))}})
	if err := s.Apply(1, 2, e); err != nil || s.Read().Revision != 0 {
		t.Errorf("%v, revision %d", err, s.Read().Revision)
	}
	if err := s.Apply(2, 1, e); err != nil || s.Read().Revision != 1 {
		t.Errorf("%v, revision %d", err, s.Read().Revision)
	}
}

// sample is the snapshot of a few records.
func sample(t testing.TB) (*Store, []byte) {
	t.Helper()
	s, _, stop := lead(t, nil)
	defer stop()
	must(t, s, func(tx *Tx) {
		for i := range 5 {
			tx.Clusters.Put(cluster(fmt.Sprint("c", i), fmt.Sprint("demo", i)))
			tx.Jobs.Put(job(fmt.Sprint("j", i), "c1", int64(i)))
		}
		tx.Event("cluster", "c1", "cluster.up", "up")
	})
	return s, save(t, s)
}

func TestRestoreRefusesATornOrDamagedSnapshot(t *testing.T) {
	_, good := sample(t)
	s := newStore(t, Config{})
	for n := range good {
		if err := s.Restore(bytes.NewReader(good[:n])); err == nil {
			t.Fatalf("a snapshot of %d bytes, cut to %d, was restored", len(good), n)
		}
		bad := bytes.Clone(good)
		bad[n] ^= 0x40
		if err := s.Restore(bytes.NewReader(bad)); err == nil {
			t.Fatalf("a snapshot with byte %d changed was restored", n)
		}
	}
	if err := s.Restore(bytes.NewReader(append(bytes.Clone(good), 0))); err == nil {
		t.Error("a snapshot with a byte after its end was restored")
	}
	if v := s.Read(); v.Revision != 0 || v.Clusters.Len() != 0 {
		t.Errorf("a failed restore left revision %d", v.Revision)
	}
	if err := s.Restore(bytes.NewReader(good)); err != nil {
		t.Error(err)
	}
}

func TestFailedRestoreKeepsTheState(t *testing.T) {
	s, good := sample(t)
	before, w := s.Read(), s.Watch(0, Filter{})
	if err := s.Restore(bytes.NewReader(good[:len(good)-1])); err == nil {
		t.Error("a torn snapshot was restored")
	}
	if s.Read() != before {
		t.Error("the state changed")
	}
	if _, err := w.Next(cancelled()); errors.Is(err, ErrStartOver) {
		t.Error("the watch was told to start over")
	}
}

func TestRestoreRefusesANewerFormat(t *testing.T) {
	_, good := sample(t)
	good[len(snapshotMagic)]++
	err := newStore(t, Config{}).Restore(bytes.NewReader(good))
	if err == nil || !strings.Contains(err.Error(), "format 2, this build reads 1: it was written by a newer stix") {
		t.Errorf("%v", err)
	}
}

// frames writes a snapshot by hand.
func frames(write func(f *frameWriter)) []byte {
	var b bytes.Buffer
	f := &frameWriter{w: &b}
	f.write(append([]byte(snapshotMagic), snapshotVersion))
	write(f)
	return b.Bytes()
}

func TestRestoreRefusesWhatDoesNotAddUp(t *testing.T) {
	head, c := &logv1.SnapshotHead{Revision: 1}, cluster("c", "demo")
	end := func(n uint64) *logv1.SnapshotEnd { return &logv1.SnapshotEnd{Records: n} }
	for name, data := range map[string][]byte{
		"no head": frames(func(f *frameWriter) { f.message(frameEnd, end(0)) }),
		"two heads": frames(func(f *frameWriter) {
			f.message(frameHead, head)
			f.message(frameHead, head)
			f.message(frameEnd, end(0))
		}),
		"count": frames(func(f *frameWriter) { f.message(frameHead, head); f.record(1, "c", c); f.message(frameEnd, end(2)) }),
		"twice": frames(func(f *frameWriter) {
			f.message(frameHead, head)
			f.record(1, "c", c)
			f.record(1, "c", c)
			f.message(frameEnd, end(2))
		}),
		"unknown table": frames(func(f *frameWriter) { f.message(frameHead, head); f.record(99, "c", c); f.message(frameEnd, end(1)) }),
		"unknown frame": frames(func(f *frameWriter) { f.message(frameHead, head); f.message(9, head); f.message(frameEnd, end(0)) }),
		"other uid":     frames(func(f *frameWriter) { f.message(frameHead, head); f.record(1, "d", c); f.message(frameEnd, end(1)) }),
	} {
		if err := newStore(t, Config{}).Restore(bytes.NewReader(data)); err == nil {
			t.Errorf("%s was restored", name)
		}
	}
}

func TestSnapshotIsOfTheMomentItWasTaken(t *testing.T) {
	s, _, stop := lead(t, nil)
	defer stop()
	rename(t, s, "c", "before")
	want := save(t, s)
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	rename(t, s, "c", "after")
	var b bytes.Buffer
	if _, err := snap.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) || snap.Revision() != 1 {
		t.Error("a later change is in the snapshot")
	}
}

type fullDisk struct{ left int }

var errFull = errors.New("disk full")

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.left -= len(b); d.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestSnapshotReportsAFailedWrite(t *testing.T) {
	s, good := sample(t)
	for n := range good {
		snap, _ := s.Snapshot()
		if _, err := snap.WriteTo(&fullDisk{left: n}); !errors.Is(err, errFull) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

// The entries of a log continue on a restored snapshot.
func TestLogContinuesOnASnapshot(t *testing.T) {
	s, l, stop := lead(t, nil)
	defer stop()
	for i := range 10 {
		rename(t, s, fmt.Sprint("c", i%3), fmt.Sprint("name", i))
	}
	half := newStore(t, Config{})
	for i, e := range l.entries[:5] {
		if err := half.Apply(uint64(i), 1, e); err != nil {
			t.Fatal(err)
		}
	}
	late := newStore(t, Config{})
	if err := late.Restore(bytes.NewReader(save(t, half))); err != nil {
		t.Fatal(err)
	}
	for i, e := range l.entries[5:] {
		if err := late.Apply(uint64(i), 1, e); err != nil {
			t.Fatal(err)
		}
	}
	if late.Read().Hash() != s.Read().Hash() {
		t.Error("the states differ")
	}
}

func FuzzApply(f *testing.F) {
	f.Add(entryOf(f, &logv1.Entry{Term: 1, Updates: []*logv1.Update{
		putting(f, TableClusters, "c", cluster("c", "demo")),
		putting(f, TableAssignments, "j", job("j", "c", 1)),
		{Changes: []*logv1.Change{{Table: 1, Key: "c", Deleted: true}}},
	}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newStore(t, Config{})
		before := s.Read()
		for _, b := range [][]byte{data, append(append([]byte(entryMagic), entryVersion), data...)} {
			if err := s.Apply(1, 1, b); err != nil && s.Read() != before {
				t.Error("an entry that was refused changed the state")
			}
			before = s.Read()
		}
		again := newStore(t, Config{})
		if err := again.Restore(bytes.NewReader(save(t, s))); err != nil || again.Read().Hash() != s.Read().Hash() {
			t.Errorf("what was applied cannot be saved and restored: %v", err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	_, good := sample(f)
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newStore(t, Config{})
		if err := s.Restore(bytes.NewReader(data)); err != nil && s.Read().Revision != 0 {
			t.Error("a snapshot that was refused changed the state")
		}
		reframe(t, data)
	})
}

// reframe lets the fuzzer past the checksums: the data is taken as the payloads of frames.
func reframe(t *testing.T, data []byte) {
	s := newStore(t, Config{})
	_ = s.Restore(bytes.NewReader(frames(func(f *frameWriter) {
		f.message(frameHead, &logv1.SnapshotHead{})
		for payload := range bytes.SplitSeq(data, []byte("\n")) {
			f.begin(frameRecord)
			f.buf = append(f.buf, payload...)
			f.end()
		}
	})))
}

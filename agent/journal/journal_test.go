package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/stix-run/stix/internal/seal"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func open(t testing.TB, path string, box Sealer) *Journal {
	t.Helper()
	j, err := Open(path, box)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func closed(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func status(uid string, s stixv1.AssignmentState) *stixv1.AssignmentStatus {
	return &stixv1.AssignmentStatus{Uid: uid, State: s}
}

func record(t testing.TB, j *Journal, uid string, s stixv1.AssignmentState) {
	t.Helper()
	o := &stixv1.Order{AssignmentUid: uid, Script: "echo secret-" + uid}
	if err := j.Record([]*stixv1.Order{o}, []*stixv1.AssignmentStatus{status(uid, s)}, nil); err != nil {
		t.Fatal(err)
	}
}

func remembered(t testing.TB, j *Journal) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := j.Each(func(o *stixv1.Order, s *stixv1.AssignmentStatus) error {
		got[o.GetAssignmentUid()] = fmt.Sprint(o.GetScript(), " ", int(s.GetState()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWhatWasRecordedIsThereAfterARestart(t *testing.T) {
	path, box := filepath.Join(t.TempDir(), "j"), seal.NewBox(seal.NewKey())
	j := open(t, path, box)
	record(t, j, "a", stixv1.AssignmentState_ASSIGNMENT_STATE_ACCEPTED)
	record(t, j, "b", stixv1.AssignmentState_ASSIGNMENT_STATE_ACCEPTED)
	record(t, j, "a", stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED)
	if err := j.Record(nil, nil, []string{"b"}); err != nil {
		t.Fatal(err)
	}
	// As after kill -9: the file as it is, opened again from a copy.
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := path + "2"
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	closed(t, j)
	for _, p := range []string{path, copied} {
		j := open(t, p, box)
		if got := remembered(t, j); len(got) != 1 || got["a"] != "echo secret-a 4" {
			t.Fatalf("remembered %v", got)
		}
		reports, _ := j.Reports(0)
		if len(reports) != 3 || reports[2].GetSequence() != 3 {
			t.Fatalf("reports %v", reports)
		}
		closed(t, j)
	}
}

func TestReportsStayUntilTheyAreConfirmedAndNumbersGoOn(t *testing.T) {
	path, box := filepath.Join(t.TempDir(), "j"), seal.NewBox(seal.NewKey())
	j := open(t, path, box)
	record(t, j, "a", stixv1.AssignmentState_ASSIGNMENT_STATE_ACCEPTED)
	_, more := j.Reports(1)
	record(t, j, "a", stixv1.AssignmentState_ASSIGNMENT_STATE_RUNNING)
	select {
	case <-more:
	default:
		t.Fatal("nobody was told of the second report")
	}
	j.Ack(1)
	j.Ack(99) // confirms no more than there is
	record(t, j, "a", stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED)
	closed(t, j)
	j = open(t, path, box)
	reports, _ := j.Reports(0)
	if len(reports) != 1 || reports[0].GetSequence() != 3 || reports[0].GetStatuses()[0].GetState() != stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED {
		t.Fatalf("reports %v", reports)
	}
	j.Ack(3)
	closed(t, j)
	j = open(t, path, box)
	defer closed(t, j)
	if reports, _ := j.Reports(0); len(reports) != 0 {
		t.Fatalf("confirmed reports are back: %v", reports)
	}
	record(t, j, "b", stixv1.AssignmentState_ASSIGNMENT_STATE_ACCEPTED)
	if reports, _ := j.Reports(0); reports[0].GetSequence() != 4 {
		t.Fatalf("numbers began again: %v", reports)
	}
}

func TestRecordsThatWaitShareOneCommit(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "j"), seal.NewBox(seal.NewKey()))
	defer closed(t, j)
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { record(t, j, fmt.Sprint("u", i), stixv1.AssignmentState_ASSIGNMENT_STATE_ACCEPTED) })
	}
	wg.Wait()
	reports, _ := j.Reports(0)
	statuses := 0
	for i, r := range reports {
		if r.GetSequence() != uint64(i+1) {
			t.Fatalf("report %d has number %d", i, r.GetSequence())
		}
		statuses += len(r.GetStatuses())
	}
	if statuses != n || len(remembered(t, j)) != n {
		t.Fatalf("%d statuses, %d orders", statuses, len(remembered(t, j)))
	}
	if len(reports) == n {
		t.Error("every record had a commit of its own")
	}
}

func TestNoSecretIsInTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, seal.NewBox(seal.NewKey()))
	record(t, j, "a", stixv1.AssignmentState_ASSIGNMENT_STATE_ACCEPTED)
	closed(t, j)
	data, err := os.ReadFile(path)
	if err != nil || bytes.Contains(data, []byte("secret-a")) {
		t.Fatalf("the script is in the file (%v)", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
}

func TestBootIDIsKept(t *testing.T) {
	path, box := filepath.Join(t.TempDir(), "j"), seal.NewBox(seal.NewKey())
	j := open(t, path, box)
	if j.BootID() != "" {
		t.Fatal("new journal knows a boot")
	}
	if err := j.SetBootID("one"); err != nil {
		t.Fatal(err)
	}
	closed(t, j)
	j = open(t, path, box)
	defer closed(t, j)
	if j.BootID() != "one" {
		t.Fatalf("boot %q", j.BootID())
	}
}

func TestForeignAndNewerFilesAreRefused(t *testing.T) {
	box := seal.NewBox(seal.NewKey())
	for name, change := range map[string]func(*bbolt.Tx) error{
		"newer": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bucketMeta)).Put([]byte(keyVersion), encodeUint(Version+1))
		},
		"foreign": func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketMeta)).Put([]byte(keyMagic), []byte("x")) },
		"torn":    func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(bucketOutbox)) },
	} {
		path := filepath.Join(t.TempDir(), "j")
		closed(t, open(t, path, box))
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(change), db.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = Open(path, box)
		if err == nil || (name == "newer") != errors.Is(err, ErrNewer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnotherKeyIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, seal.NewBox(seal.NewKey()))
	record(t, j, "a", stixv1.AssignmentState_ASSIGNMENT_STATE_ACCEPTED)
	closed(t, j)
	j = open(t, path, seal.NewBox(seal.NewKey()))
	defer closed(t, j)
	if err := j.Each(func(*stixv1.Order, *stixv1.AssignmentStatus) error { return nil }); err == nil {
		t.Fatal("read an order that another key sealed")
	}
}

func FuzzOrder(f *testing.F) {
	box := seal.NewBox(seal.NewKey())
	good, err := box.Seal([]byte("\x0a\x01a"), []byte("a"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("STXS"))
	j := &Journal{seal: box}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if o, err := j.openOrder([]byte("a"), sealed); err == nil && o == nil {
			t.Fatal("no order and no error")
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	j := open(b, filepath.Join(b.TempDir(), "j"), seal.NewBox(seal.NewKey()))
	defer closed(b, j)
	for b.Loop() {
		record(b, j, "a", stixv1.AssignmentState_ASSIGNMENT_STATE_RUNNING)
		j.Ack(1 << 62)
	}
}

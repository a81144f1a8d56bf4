package blobs_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stix-run/stix/coordinator/blobs"
	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestCollectKeepsWhatRecordsNeed(t *testing.T) {
	s := newStore(t)
	shared, own := fileObject("shared"), fileObject("own")
	below := treeObject(t, shared)
	kept, gone := treeObject(t, below), treeObject(t, below, own)
	single := fileObject("a blob that a record names itself")
	must(t, s.upload(t.Context(), shared, own, below, kept, gone, single))
	s.clock.pass(61 * time.Minute)
	done := s.collect(t, kept.hash, single.hash, tree.Hash([]byte("never uploaded")), "no hash")
	if done.Blobs != 2 || done.Bytes != int64(len(own.data)+len(gone.data)) {
		t.Errorf("%+v", done)
	}
	if got := s.missing(t, shared.hash, own.hash, below.hash, kept.hash, gone.hash, single.hash); !slices.Equal(got, []string{own.hash, gone.hash}) {
		t.Errorf("missing %v", got)
	}
	s.whole(t)
}

func TestLeasesKeepBlobsForTheirTime(t *testing.T) {
	s := newStore(t)
	part := fileObject("part")
	dir := treeObject(t, part)
	must(t, s.upload(t.Context(), part, dir))
	s.clock.pass(59 * time.Minute)
	// A question about the root renews the lease of all below.
	if s.missing(t, dir.hash) != nil {
		t.Fatal("not there")
	}
	s.clock.pass(59 * time.Minute)
	if done := s.collect(t); done.Blobs != 0 {
		t.Fatalf("collected %+v under a lease", done)
	}
	s.clock.pass(2 * time.Minute)
	if done := s.collect(t); done.Blobs != 2 {
		t.Fatalf("collected %+v, want both", done)
	}
}

func TestNothingIsCollectedSoonAfterAStart(t *testing.T) {
	s := newStore(t)
	hash := s.put(t, fileKind, []byte("leased by the process before"))
	s.clock.pass(30 * time.Minute)
	s.reopen(t)
	s.clock.pass(59 * time.Minute)
	if done := s.collect(t); done.Blobs != 0 {
		t.Fatalf("%+v", done)
	}
	s.clock.pass(2 * time.Minute)
	if done := s.collect(t); done.Blobs != 1 || s.missing(t, hash) == nil {
		t.Fatalf("%+v", done)
	}
}

// late is a set of references that lets something happen while they are read,
// which is when the collection has looked at the leases.
type late struct {
	roots []string
	do    func()
}

func (l late) Roots() iter.Seq[string] {
	l.do()
	return slices.Values(l.roots)
}

func TestWhatIsLeasedDuringACollectionStays(t *testing.T) {
	s := newStore(t)
	part, other := fileObject("part"), fileObject("other")
	dir := treeObject(t, part)
	must(t, s.upload(t.Context(), part, dir, other))
	s.clock.pass(2 * time.Hour)
	fresh := fileObject("fresh")
	done, err := s.Collect(t.Context(), late{do: func() {
		if s.missing(t, dir.hash) != nil {
			t.Error("told to be missing")
		}
		must(t, s.upload(t.Context(), fresh))
	}})
	must(t, err)
	if got := s.missing(t, part.hash, dir.hash, fresh.hash, other.hash); done.Blobs != 1 || !slices.Equal(got, []string{other.hash}) {
		t.Fatalf("%+v, missing %v", done, got)
	}
}

// A collection that stops in the middle has removed parents before children.
func TestStoppedCollectionLeavesWholeTrees(t *testing.T) {
	s := newStore(t)
	objects := []object{fileObject("bottom")}
	for i := range 30 {
		objects = append(objects, treeObject(t, objects[i], fileObject("bottom")))
	}
	must(t, s.upload(t.Context(), objects...))
	s.clock.pass(2 * time.Hour)
	total := int64(0)
	for stop := 1; total < int64(len(objects)); stop++ {
		ctx := &countdown{Context: t.Context(), left: 40 + stop}
		done, err := s.Collect(ctx, refs(nil))
		total += done.Blobs
		s.whole(t)
		if err == nil && total != int64(len(objects)) {
			t.Fatalf("collected %d of %d", total, len(objects))
		}
		// The store goes on as if nothing had happened.
		s.put(t, fileKind, fmt.Append(nil, "new ", stop))
		if stop > 200 {
			t.Fatal("no end")
		}
		if err == nil {
			break
		}
	}
}

// countdown is a context that ends when it was asked often enough.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestDamagedTreeStopsTheCollection(t *testing.T) {
	s := newStore(t)
	part := fileObject("part")
	dir := treeObject(t, part)
	must(t, s.upload(t.Context(), part, dir))
	must(t, os.WriteFile(s.dir+"/tree/"+dir.hash[:2]+"/"+dir.hash, []byte("damaged"), 0o600))
	s.clock.pass(2 * time.Hour)
	if _, err := s.Collect(t.Context(), refs{dir.hash}); err == nil {
		t.Fatal("collected, though what the tree needs is not known")
	}
	if s.missing(t, part.hash) != nil {
		t.Fatal("the part is gone")
	}
	var _ blobs.Refs = refs(nil)
}

// An upload may take longer than a lease: what its tree objects rely on was checked
// at its beginning, and must be there at its end.
func TestSlowUploadKeepsWhatItReliesOn(t *testing.T) {
	s := newStore(t)
	part := fileObject("part")
	below := treeObject(t, part)
	must(t, s.upload(t.Context(), part, below))
	next, calls := messages(1000, treeObject(t, below), fileObject("a long time later")), 0
	_, err := s.Upload(t.Context(), func() (*stixv1.UploadRequest, error) {
		if calls++; calls == 2 {
			s.clock.pass(3 * time.Hour)
			s.collect(t)
		}
		return next()
	})
	must(t, err)
	s.whole(t)
	if got := s.missing(t, part.hash, below.hash); got != nil {
		t.Fatalf("missing %v", got)
	}
	s.clock.pass(61 * time.Minute)
	s.collect(t)
	if got := s.missing(t, part.hash); got == nil {
		t.Fatal("kept for ever")
	}
}

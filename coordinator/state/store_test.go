package state

import (
	"context"
	"errors"
	"slices"
	"testing"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestUpdateCommitsWhatItsFunctionWrote(t *testing.T) {
	s, l, stop := lead(t, nil)
	defer stop()
	rev := must(t, s, func(tx *Tx) { tx.Clusters.Put(cluster("c1", "demo")) })
	v := s.Read()
	if rev != 1 || v.Revision != 1 {
		t.Errorf("revision %d, view %d, want 1", rev, v.Revision)
	}
	c, ok := v.ClusterByName("demo")
	if !ok {
		t.Fatal("the cluster is missing")
	}
	if m := c.Meta; m.CreatedAt != v.At || m.CreatedBy != "tester" || m.RequestId != "req" || m.Revision != 1 {
		t.Errorf("head is %v", m)
	}
	must(t, s, func(tx *Tx) {
		tx.Clusters.Edit("c1", func(c *stixv1.Cluster) { c.State = stixv1.ClusterState_CLUSTER_STATE_UP })
	})
	edited, _ := s.Read().Clusters.Get("c1")
	if edited.Meta.Revision != 2 || edited.Meta.CreatedAt != c.Meta.CreatedAt {
		t.Errorf("head after the edit is %v", edited.Meta)
	}
	if c.State != stixv1.ClusterState_CLUSTER_STATE_INIT {
		t.Error("the edit changed the record of an older view")
	}
	must(t, s, func(tx *Tx) { tx.Clusters.Delete("c1") })
	if _, ok := s.Read().Clusters.Get("c1"); ok {
		t.Error("the deleted cluster is there")
	}
	if got, want := l.replay(t).Read().Hash(), s.Read().Hash(); got != want {
		t.Errorf("replay has hash %s, want %s", got, want)
	}
}

func TestUpdateThatChangesNothingWritesNoEntry(t *testing.T) {
	s, l, stop := lead(t, nil)
	defer stop()
	must(t, s, func(tx *Tx) { tx.Clusters.Put(cluster("c1", "demo")) })
	must(t, s, func(tx *Tx) {
		tx.Clusters.Edit("c1", func(c *stixv1.Cluster) { c.State = stixv1.ClusterState_CLUSTER_STATE_INIT })
		tx.Clusters.Delete("none")
	})
	if len(l.entries) != 1 {
		t.Errorf("%d entries, want 1", len(l.entries))
	}
}

func TestFailedUpdateLeavesNoTrace(t *testing.T) {
	s, l, stop := lead(t, nil)
	defer stop()
	must(t, s, func(tx *Tx) {
		tx.Clusters.Put(cluster("c1", "one"))
		tx.Jobs.Put(job("j1", "c1", 1))
	})
	before := s.Read().Hash()
	boom := errors.New("boom")
	for name, ending := range map[string]func(tx *Tx) error{
		"error":    func(*Tx) error { return boom },
		"panic":    func(*Tx) error { panic("boom") },
		"no uid":   func(tx *Tx) error { tx.Clusters.Put(&stixv1.Cluster{}); return nil },
		"no utf-8": func(tx *Tx) error { tx.Clusters.Put(cluster("c9", "\xff")); return nil },
		"conflict": func(tx *Tx) error { tx.Clusters.Put(cluster("c9", "two")); return nil },
		"shared":   func(tx *Tx) error { c, _ := tx.Clusters.Get("c3"); tx.Clusters.Put(c); return nil },
		"new uid":  func(tx *Tx) error { tx.Clusters.Edit("c3", func(c *stixv1.Cluster) { c.Meta.Uid = "c4" }); return nil },
	} {
		err := s.Update(context.Background(), by("test"), func(tx *Tx) error {
			tx.Clusters.Edit("c1", func(c *stixv1.Cluster) { c.Meta.Name = "renamed" })
			tx.Clusters.Edit("c1", func(c *stixv1.Cluster) { c.State = stixv1.ClusterState_CLUSTER_STATE_TERMINATED })
			tx.Clusters.Put(cluster("c3", "two"))
			tx.Jobs.Delete("j1")
			tx.Event("cluster", "c1", "cluster.odd", "text")
			return ending(tx)
		})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if name == "conflict" && !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, s, func(tx *Tx) {
			if c, ok := tx.ClusterByName("one"); !ok || c.Meta.Uid != "c1" {
				t.Errorf("%s: the cluster is not found by its name", name)
			}
			if n := len(slices.Collect(tx.JobsOfCluster("c1"))); n != 1 {
				t.Errorf("%s: %d jobs", name, n)
			}
		})
	}
	if s.Read().Hash() != before || len(l.entries) != 1 {
		t.Errorf("something was written: %d entries", len(l.entries))
	}
}

func TestPutKeepsACopy(t *testing.T) {
	s, _, stop := lead(t, nil)
	defer stop()
	c := cluster("c1", "demo")
	must(t, s, func(tx *Tx) { tx.Clusters.Put(c) })
	c.Meta.Name = "changed"
	if got, _ := s.Read().Clusters.Get("c1"); got.Meta.Name != "demo" {
		t.Errorf("name is %q", got.Meta.Name)
	}
}

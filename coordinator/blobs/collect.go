package blobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Refs tells which blobs are in use.
type Refs interface {
	// Roots yields the hashes that records name: roots of trees, or single blobs.
	// It must see every record that was committed before the call.
	Roots() iter.Seq[string]
}

// Collected is what a Collect removed.
type Collected struct {
	Blobs int64
	Bytes int64
}

// Collect removes the blobs that no record and no lease needs. Within the time of
// one lease after New it removes nothing, because the leases of the process before
// are not known. It may run while everything else goes on. When ctx ends it stops
// early, and what is left is consistent.
func (s *Store) Collect(ctx context.Context, refs Refs) (Collected, error) {
	select {
	case s.collecting <- struct{}{}:
		defer func() { <-s.collecting }()
	case <-ctx.Done():
		return Collected{}, context.Cause(ctx)
	}
	// One time for all of it: a lease that was given since it began is not over.
	m := &marking{store: s, now: s.cfg.Now(), live: map[string]bool{}}
	if m.now.Before(s.opened.Add(s.cfg.Lease)) {
		return Collected{}, nil
	}
	// Leases before references: a record that is committed while its blobs have a
	// lease is among the references when the lease is seen to be over.
	leased, seen := s.liveLeases(m)
	if err := m.mark(ctx, slices.Values(leased)); err != nil {
		return Collected{}, fmt.Errorf("collect blobs: %w", err)
	}
	if err := m.mark(ctx, refs.Roots()); err != nil {
		return Collected{}, fmt.Errorf("collect blobs: %w", err)
	}
	dead, err := s.condemn(ctx, m, seen)
	if err != nil {
		return Collected{}, fmt.Errorf("collect blobs: %w", err)
	}
	defer s.bury(dead)
	done, err := s.sweep(ctx, dead)
	if err != nil {
		return done, fmt.Errorf("collect blobs: %w", err)
	}
	s.cfg.Logger.Debug("blobs collected", "blobs", done.Blobs, "bytes", done.Bytes, "kept", len(m.live))
	return done, nil
}

// liveLeases drops the leases that are over and returns those of the others that
// are not marked, with the count of leases that they go up to.
func (s *Store) liveLeases(m *marking) (hashes []string, seen uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, l := range s.leases {
		if l.pins == 0 && m.now.After(l.until) {
			delete(s.leases, hash)
		} else if !m.live[hash] {
			hashes = append(hashes, hash)
		}
	}
	return hashes, s.leased
}

// marking is what is known to be in use.
type marking struct {
	store *Store
	// now is when the collection began.
	now  time.Time
	live map[string]bool
}

// mark adds roots and everything below them.
func (m *marking) mark(ctx context.Context, roots iter.Seq[string]) error {
	var todo []string
	for root := range roots {
		todo = append(todo, root)
		for len(todo) > 0 {
			hash := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if m.live[hash] || !tree.ValidHash(hash) {
				continue
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
			m.live[hash] = true
			t, ok, err := m.store.readTree(hash)
			if err != nil {
				return err
			}
			if ok {
				todo = m.children(t, todo)
			}
		}
	}
	return nil
}

// children marks the parts of files, which have nothing below them, and adds the
// tree objects to todo. A part is looked at no further even if its bytes are those
// of a tree object: nothing promises that children of it exist.
func (m *marking) children(t *stixv1.Tree, todo []string) []string {
	for hash, kind := range tree.Children(t) {
		if kind == stixv1.BlobKind_BLOB_KIND_TREE {
			todo = append(todo, hash)
		} else if !m.live[hash] {
			todo = m.part(hash, todo)
		}
	}
	return todo
}

// part marks a part of a file. Where the same bytes are in the store as a tree
// object, they are kept as one, with their children.
func (m *marking) part(hash string, todo []string) []string {
	if _, err := os.Lstat(m.store.path(dirTree, hash)); err == nil {
		return append(todo, hash)
	}
	m.live[hash] = true
	return todo
}

// condemn finds what is not in use and makes it absent for everybody. A blob that
// is leased meanwhile is marked, until there is none.
func (s *Store) condemn(ctx context.Context, m *marking, seen uint64) (map[string][]string, error) {
	dead, err := s.unmarked(ctx, m.live)
	if err != nil {
		return nil, err
	}
	for !s.kill(dead, m.live, seen) {
		var leased []string
		leased, seen = s.liveLeases(m)
		if err := m.mark(ctx, slices.Values(leased)); err != nil {
			return nil, err
		}
	}
	return dead, nil
}

// kill makes dead absent, less what is live by now, unless there were new leases
// since seen.
func (s *Store) kill(dead map[string][]string, live map[string]bool, seen uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leased != seen {
		return false
	}
	for hash := range dead {
		if live[hash] {
			delete(dead, hash)
		} else {
			s.dying[hash] = make(chan struct{})
		}
	}
	return true
}

// bury ends the time in which the blobs count as being removed.
func (s *Store) bury(dead map[string][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash := range dead {
		close(s.dying[hash])
		delete(s.dying, hash)
	}
}

// unmarked lists the blobs that are not live, with the spaces that they are in.
func (s *Store) unmarked(ctx context.Context, live map[string]bool) (map[string][]string, error) {
	dead := map[string][]string{}
	for _, space := range spaces() {
		shards, err := os.ReadDir(filepath.Join(s.cfg.Dir, space))
		if err != nil {
			return nil, err
		}
		for _, shard := range shards {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			blobs, err := os.ReadDir(filepath.Join(s.cfg.Dir, space, shard.Name()))
			if err != nil {
				return nil, err
			}
			for _, b := range blobs {
				if tree.ValidHash(b.Name()) && !live[b.Name()] {
					dead[b.Name()] = append(dead[b.Name()], space)
				}
			}
		}
	}
	return dead, nil
}

// sweep unlinks, tree objects first and parents before children.
func (s *Store) sweep(ctx context.Context, dead map[string][]string) (Collected, error) {
	var done Collected
	parents := s.parents(dead)
	for len(parents) > 0 {
		var level []key
		for hash, n := range parents {
			if n == 0 {
				level = append(level, key{space: dirTree, hash: hash})
			}
		}
		if len(level) == 0 {
			return done, fmt.Errorf("%d tree objects changed while they were removed", len(parents))
		}
		for _, k := range level {
			delete(parents, k.hash)
			s.forChildren(k.hash, parents, func(child string) { parents[child]-- })
		}
		if err := s.unlink(ctx, level, &done); err != nil {
			return done, err
		}
	}
	var rest []key
	for hash, in := range dead {
		for _, space := range in {
			if space != dirTree {
				rest = append(rest, key{space: space, hash: hash})
			}
		}
	}
	return done, s.unlink(ctx, rest, &done)
}

// parents counts, for each dead tree object, the dead tree objects that name it.
func (s *Store) parents(dead map[string][]string) map[string]int {
	n := map[string]int{}
	for hash, in := range dead {
		if in[0] == dirTree {
			n[hash] = 0
		}
	}
	for hash := range n {
		s.forChildren(hash, n, func(child string) { n[child]++ })
	}
	return n
}

// forChildren calls fn for each mention in a tree object of one that is in among.
func (s *Store) forChildren(hash string, among map[string]int, fn func(child string)) {
	t, _, err := s.readTree(hash)
	if err != nil {
		// Damaged: it promises nothing any more.
		return
	}
	for child, kind := range tree.Children(t) {
		if _, ok := among[child]; ok && kind == stixv1.BlobKind_BLOB_KIND_TREE {
			fn(child)
		}
	}
}

func (s *Store) unlink(ctx context.Context, keys []key, done *Collected) error {
	dirs := map[string]bool{}
	for _, k := range keys {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		path := s.path(k.space, k.hash)
		info, err := os.Lstat(path)
		if err == nil {
			err = os.Remove(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		dirs[filepath.Dir(path)] = true
		done.Blobs++
		done.Bytes += info.Size()
	}
	return syncBarrier(s.cfg.Dir, slices.Collect(maps.Keys(dirs)))
}

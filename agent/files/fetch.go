package files

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// One request asks for at most so many blobs and, as far as sizes are known, bytes.
const (
	batchBlobs = 1000
	batchBytes = 256 << 20
)

// fetch gets blobs in order, checks each against its hash, and passes it to use.
// The bytes are valid until use returns.
func (j *mountSync) fetch(ctx context.Context, hashes []string, limit int64, use func(hash string, data []byte) error) error {
	var buf []byte
	got := 0
	err := j.syncer.cfg.Fetch(ctx, hashes, func(hash string, r io.Reader) (err error) {
		if got == len(hashes) || hash != hashes[got] {
			return fmt.Errorf("%w: %s came out of turn", ErrDamaged, hash)
		}
		if buf, err = readInto(buf[:0], io.LimitReader(r, limit+1)); err != nil {
			return fmt.Errorf("fetch blob %s: %w", hash, err)
		}
		if int64(len(buf)) > limit || tree.Hash(buf) != hash {
			return fmt.Errorf("fetch blob %s: %w", hash, ErrDamaged)
		}
		got++
		return use(hash, buf)
	})
	if err != nil {
		return err
	}
	if got < len(hashes) {
		return fmt.Errorf("%w: %s, which the tree needs, did not come; upload the files again", ErrMissing, hashes[got])
	}
	return nil
}

// readInto reads all of r into buf, growing it.
func readInto(buf []byte, r io.Reader) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, max(64<<10, len(buf)))...)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// loadTrees gets all tree objects of the mount, level by level, those of the last
// sync from its manifest.
func (j *mountSync) loadTrees(ctx context.Context) error {
	if !tree.ValidHash(j.root) {
		return fmt.Errorf("%w: root %.100q is no hash", ErrTree, j.root)
	}
	j.trees = map[string]*stixv1.Tree{}
	level := []string{j.root}
	for depth := 0; len(level) > 0; depth++ {
		if depth > tree.MaxDepth {
			return fmt.Errorf("%w: more than %d directories deep", ErrTree, tree.MaxDepth)
		}
		if err := j.loadLevel(ctx, level); err != nil {
			return err
		}
		var below []string
		for _, hash := range level {
			for child, kind := range tree.Children(j.trees[hash]) {
				if _, known := j.trees[child]; !known && kind == stixv1.BlobKind_BLOB_KIND_TREE {
					j.trees[child] = nil
					below = append(below, child)
				}
			}
		}
		level = below
	}
	return nil
}

func (j *mountSync) loadLevel(ctx context.Context, level []string) error {
	var missing []string
	for _, hash := range level {
		data, ok := j.old.trees[hash]
		if !ok || tree.Hash(data) != hash {
			missing = append(missing, hash)
			continue
		}
		if err := j.addTree(hash, data); err != nil {
			return err
		}
	}
	for len(missing) > 0 {
		n := min(len(missing), batchBlobs)
		err := j.fetch(ctx, missing[:n], tree.MaxTreeBytes, func(hash string, data []byte) error {
			j.now.changed = true
			return j.addTree(hash, append([]byte(nil), data...))
		})
		if err != nil {
			return fmt.Errorf("read tree: %w", err)
		}
		missing = missing[n:]
	}
	return nil
}

// addTree decodes a tree object. Only the root may be the tree of a single file.
func (j *mountSync) addTree(hash string, data []byte) error {
	t, err := tree.Decode(data)
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrTree, hash, err)
	}
	if _, single := tree.Single(t); single && hash != j.root {
		return fmt.Errorf("%w %s: a file without a name in a directory", ErrTree, hash)
	}
	j.trees[hash], j.now.trees[hash] = t, data
	return nil
}

// target is a place for a part.
type target struct {
	file *wantedFile
	part int
}

// fetchFiles gets the parts of the wanted files, each once, and writes them to
// every file that has them.
func (j *mountSync) fetchFiles(ctx context.Context) error {
	targets := map[string][]target{}
	var order []string
	for _, f := range j.wanted {
		if f.left == 0 {
			if err := j.store(f, 0, nil); err != nil {
				return err
			}
		}
		for i, h := range f.entry.GetHashes() {
			hash := hex.EncodeToString(h)
			if targets[hash] == nil {
				order = append(order, hash)
			}
			targets[hash] = append(targets[hash], target{file: f, part: i})
		}
	}
	for len(order) > 0 {
		n := batch(order, targets)
		err := j.fetch(ctx, order[:n], tree.PartSize, func(hash string, data []byte) error {
			return j.spread(targets[hash], data)
		})
		if err != nil {
			return err
		}
		order = order[n:]
	}
	return nil
}

// batch returns how many of the hashes go into one request.
func batch(order []string, targets map[string][]target) int {
	var bytes int64
	for n, hash := range order {
		if n == batchBlobs || bytes >= batchBytes {
			return n
		}
		t := targets[hash][0]
		bytes += partSize(t.file.entry, t.part)
	}
	return len(order)
}

// partSize is the size that a part must have.
func partSize(e *stixv1.TreeEntry, part int) int64 {
	return min(e.GetSize()-int64(part)*tree.PartSize, tree.PartSize)
}

// spread writes a part to all its places.
func (j *mountSync) spread(places []target, data []byte) error {
	for _, t := range places {
		if partSize(t.file.entry, t.part) != int64(len(data)) {
			return describe(t.file.path(), fmt.Errorf("%w: a part has %d bytes", ErrTree, len(data)))
		}
		if err := j.store(t.file, t.part, data); err != nil {
			return err
		}
	}
	return nil
}

// store writes one part of a file, and puts the file in its place when that was
// the last.
func (j *mountSync) store(f *wantedFile, part int, data []byte) error {
	dir, err := j.open(f.dir)
	if err != nil {
		return describe(f.path(), err)
	}
	if err := writePart(dir, f, int64(part)*tree.PartSize, data); err != nil {
		return describe(f.path(), err)
	}
	if f.left -= min(f.left, 1); f.left > 0 {
		return nil
	}
	if err := replace(dir, tempName(f.name), f.name); err != nil {
		return describe(f.path(), err)
	}
	j.written++
	return describe(f.path(), j.keepOwn(dir, f))
}

func writePart(dir *os.Root, f *wantedFile, offset int64, data []byte) error {
	flags := os.O_WRONLY
	if !f.begun {
		if err := dir.Remove(tempName(f.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		flags |= os.O_CREATE | os.O_EXCL
	}
	file, err := dir.OpenFile(tempName(f.name), flags, 0o600)
	if err != nil {
		return err
	}
	f.begun = true
	_, err = file.WriteAt(data, offset)
	if err == nil && f.left <= 1 {
		err = file.Chmod(fs.FileMode(f.entry.GetMode()))
	}
	return errors.Join(err, file.Close())
}

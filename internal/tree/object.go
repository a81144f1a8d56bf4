package tree

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Object is one blob of a tree and where its bytes are.
type Object struct {
	Hash string
	Kind stixv1.BlobKind
	Size int64

	// data of a tree object; parts are read from the file again.
	data   []byte
	path   string
	offset int64
}

// Open reads the blob. At its end the bytes are checked: where they are not
// those that Build saw, the read returns ErrChanged with the file's name instead
// of io.EOF.
func (o Object) Open() (io.ReadCloser, error) {
	if o.Kind == stixv1.BlobKind_BLOB_KIND_TREE {
		return io.NopCloser(bytes.NewReader(o.data)), nil
	}
	f, err := os.Open(o.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w: it is gone", o.path, ErrChanged)
	}
	if err != nil {
		return nil, readError(o.path, err)
	}
	return &partReader{
		Reader: io.NewSectionReader(f, o.offset, o.Size),
		file:   f, object: o, hash: sha256.New(),
	}, nil
}

type partReader struct {
	io.Reader
	file   *os.File
	object Object
	hash   hash.Hash
}

func (r *partReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.hash.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(r.hash.Sum(nil)) != r.object.Hash {
		err = fmt.Errorf("read %s: %w", r.object.path, ErrChanged)
	}
	return n, err
}

func (r *partReader) Close() error { return r.file.Close() }

// result makes the tree objects, children first, and lists all blobs.
func (w *walk) result(top *node) (*Result, error) {
	res := &Result{
		Objects: make(map[string]Object, len(w.files)+1), Order: make([]string, 0, len(w.files)+1),
		Files: int64(len(w.files)), Read: w.read, Warnings: w.warnings,
	}
	for _, n := range w.files {
		res.Bytes += n.entry.Size
	}
	sum, err := w.assemble(res, top)
	res.Root = hex.EncodeToString(sum)
	return res, err
}

// assemble adds a directory and all below it, and returns its hash.
func (w *walk) assemble(res *Result, dir *node) ([]byte, error) {
	t := &stixv1.Tree{Version: version, Entries: make([]*stixv1.TreeEntry, 0, len(dir.children))}
	for _, n := range dir.children {
		switch n.entry.Type {
		case stixv1.TreeEntryType_TREE_ENTRY_TYPE_DIRECTORY:
			sum, err := w.assemble(res, n)
			if err != nil {
				return nil, err
			}
			n.entry.Hashes = [][]byte{sum}
		case stixv1.TreeEntryType_TREE_ENTRY_TYPE_FILE:
			w.addParts(res, n)
		}
		t.Entries = append(t.Entries, n.entry)
	}
	data, err := Encode(t)
	if err != nil {
		return nil, fmt.Errorf("build tree of %s: %w", w.abs(dir.path), err)
	}
	sum := sha256.Sum256(data)
	res.add(Object{
		Hash: hex.EncodeToString(sum[:]), Kind: stixv1.BlobKind_BLOB_KIND_TREE, Size: int64(len(data)), data: data,
	})
	return sum[:], nil
}

func (w *walk) addParts(res *Result, n *node) {
	path := w.abs(n.path)
	for i, h := range n.entry.Hashes {
		offset := int64(i) * PartSize
		res.add(Object{
			Hash: hex.EncodeToString(h), Kind: stixv1.BlobKind_BLOB_KIND_FILE,
			Size: min(n.entry.Size-offset, PartSize), path: path, offset: offset,
		})
	}
}

// add keeps one object for each hash. A tree object wins over a part with the
// same bytes: as a tree its children are checked, and as a part it serves too.
func (r *Result) add(o Object) {
	if old, ok := r.Objects[o.Hash]; ok {
		if old.Kind == o.Kind || o.Kind != stixv1.BlobKind_BLOB_KIND_TREE {
			return
		}
		// Its children may come after the part.
		i := slices.Index(r.Order, o.Hash)
		r.Order = slices.Delete(r.Order, i, i+1)
	}
	r.Order = append(r.Order, o.Hash)
	r.Objects[o.Hash] = o
}

// attempts to read a file that changes meanwhile.
const attempts = 3

// hashFile reads a file into the hashes of its parts.
func hashFile(ctx context.Context, path string, n *node) error {
	for range attempts {
		stable, err := tryHash(ctx, path, n)
		if err != nil {
			return readError(path, err)
		}
		if stable {
			return nil
		}
	}
	return fmt.Errorf("read %s: %w (stop what writes to it, or name it in .skyignore)", path, ErrChanged)
}

// tryHash reports false when the file was not the same before and after.
func tryHash(ctx context.Context, path string, n *node) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, errors.New("no regular file any more")
	}
	before := statOf(info)
	sums, err := hashParts(ctx, f, before.size)
	if err != nil {
		return false, err
	}
	if info, err = f.Stat(); err != nil {
		return false, err
	}
	n.stat, n.entry.Hashes = before, sums
	n.entry.Size, n.entry.Mode = before.size, uint32(info.Mode().Perm())
	return sums != nil && statOf(info) == before, nil
}

// hashParts returns nil when the file is shorter than size.
func hashParts(ctx context.Context, f io.Reader, size int64) ([][]byte, error) {
	sums := make([][]byte, 0, parts(size))
	h := sha256.New()
	buf := make([]byte, min(size, 256<<10))
	for left := size; left > 0; {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		h.Reset()
		n, err := io.CopyBuffer(h, io.LimitReader(f, min(left, PartSize)), buf)
		if err != nil {
			return nil, err
		}
		if n != min(left, PartSize) {
			return nil, nil
		}
		left -= n
		sums = append(sums, h.Sum(nil))
	}
	return sums, nil
}

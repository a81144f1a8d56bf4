// Package tree turns a local directory, or a single file, into a Merkle tree of
// content-addressed objects, and reads such trees back.
//
// A blob is named by the SHA-256 of its bytes. There are two kinds: a part is up
// to PartSize bytes of one file; a tree object lists one directory. A tree object
// names its children by hash, so the hash of the root names everything below it.
//
// A tree object is Magic followed by a stixv1.Tree in one canonical encoding:
// the same directory has the same bytes, and Decode refuses any other encoding
// of it. What Decode returns is safe to use as file names in one directory.
package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Limits of trees. Build and Decode refuse what is over them.
const (
	// PartSize is the size of every part of a file but the last.
	PartSize = 8 << 20
	// MaxTreeBytes bounds one tree object: some 600,000 entries.
	MaxTreeBytes = 64 << 20
	// MaxNameBytes bounds the name of one entry, as file systems do.
	MaxNameBytes = 255
	// MaxTargetBytes bounds the target of a symbolic link.
	MaxTargetBytes = 4096
	// MaxDepth bounds how deep directories nest.
	MaxDepth = 512
)

// Magic begins every tree object. The format's version is in the message.
const Magic = "\x89stixtree\n"

// version of the format that this program writes, and the newest it reads.
const version = 1

// ErrInvalid is the kind of every error about a tree object that is not what
// this package would write.
var ErrInvalid = errors.New("invalid tree object")

// Hash returns the name of a blob: its SHA-256 in hex.
func Hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// ValidHash reports whether s has the form of a blob's name.
func ValidHash(s string) bool {
	if len(s) != 2*sha256.Size {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// HasMagic reports whether a blob that begins with these bytes may be a tree
// object. A part of a file may happen to be one, too.
func HasMagic(prefix []byte) bool { return bytes.HasPrefix(prefix, []byte(Magic)) }

// Single returns the file of a tree that stands for a single file: its one
// entry, which has no name because the mount's destination is the name.
func Single(t *stixv1.Tree) (*stixv1.TreeEntry, bool) {
	if e := t.GetEntries(); len(e) == 1 && len(e[0].GetName()) == 0 {
		return e[0], true
	}
	return nil, false
}

// Children yields the hash and the kind of every blob that a tree names.
func Children(t *stixv1.Tree) iter.Seq2[string, stixv1.BlobKind] {
	return func(yield func(string, stixv1.BlobKind) bool) {
		for _, e := range t.GetEntries() {
			kind := stixv1.BlobKind_BLOB_KIND_FILE
			if e.GetType() == stixv1.TreeEntryType_TREE_ENTRY_TYPE_DIRECTORY {
				kind = stixv1.BlobKind_BLOB_KIND_TREE
			}
			for _, h := range e.GetHashes() {
				if !yield(hex.EncodeToString(h), kind) {
					return
				}
			}
		}
	}
}

// Encode returns the tree object of t, whose entries must be valid and sorted.
func Encode(t *stixv1.Tree) ([]byte, error) {
	if err := check(t); err != nil {
		return nil, err
	}
	data := marshal(t)
	if len(data) > MaxTreeBytes {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrInvalid, len(data), MaxTreeBytes)
	}
	return data, nil
}

// Decode reads a tree object and checks all of it: magic, version, canonical
// encoding, names without tricks, in order and without doubles, limits.
func Decode(data []byte) (*stixv1.Tree, error) {
	switch {
	case !HasMagic(data):
		return nil, fmt.Errorf("%w: no magic", ErrInvalid)
	case len(data) > MaxTreeBytes:
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrInvalid, len(data), MaxTreeBytes)
	}
	t := &stixv1.Tree{}
	if err := proto.Unmarshal(data[len(Magic):], t); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrInvalid, err)
	}
	if err := check(t); err != nil {
		return nil, err
	}
	if !bytes.Equal(marshal(t), data) {
		return nil, fmt.Errorf("%w: not in canonical form", ErrInvalid)
	}
	return t, nil
}

func check(t *stixv1.Tree) error {
	if v := t.GetVersion(); v > version {
		return fmt.Errorf("%w: format version %d is newer than this program's %d", ErrInvalid, v, version)
	} else if v != version {
		return fmt.Errorf("%w: format version %d", ErrInvalid, v)
	}
	if e, ok := Single(t); ok {
		if e.GetType() != stixv1.TreeEntryType_TREE_ENTRY_TYPE_FILE {
			return fmt.Errorf("%w: an entry without a name that is no file", ErrInvalid)
		}
		return checkContent(e)
	}
	var last []byte
	for i, e := range t.GetEntries() {
		if err := checkName(e.GetName()); err != nil {
			return err
		}
		if i > 0 && bytes.Compare(last, e.GetName()) >= 0 {
			return fmt.Errorf("%w: entry %q is not after %q", ErrInvalid, e.GetName(), last)
		}
		if err := checkContent(e); err != nil {
			return err
		}
		last = e.GetName()
	}
	return nil
}

func checkName(name []byte) error {
	switch {
	case len(name) == 0, len(name) > MaxNameBytes, string(name) == ".", string(name) == "..",
		bytes.IndexByte(name, '/') >= 0, bytes.IndexByte(name, 0) >= 0:
		return fmt.Errorf("%w: bad name %.300q", ErrInvalid, name)
	}
	return nil
}

// checkContent checks what follows from the type: only the fields that it needs
// are set, so that there is one way to write each entry.
func checkContent(e *stixv1.TreeEntry) error {
	ok := false
	switch e.GetType() {
	case stixv1.TreeEntryType_TREE_ENTRY_TYPE_FILE:
		ok = e.GetSize() >= 0 && int64(len(e.GetHashes())) == parts(e.GetSize()) && len(e.GetTarget()) == 0
	case stixv1.TreeEntryType_TREE_ENTRY_TYPE_DIRECTORY:
		ok = e.GetSize() == 0 && len(e.GetHashes()) == 1 && len(e.GetTarget()) == 0
	case stixv1.TreeEntryType_TREE_ENTRY_TYPE_SYMLINK:
		target := e.GetTarget()
		ok = e.GetSize() == 0 && len(e.GetHashes()) == 0 && e.GetMode() == 0 &&
			len(target) > 0 && len(target) <= MaxTargetBytes && bytes.IndexByte(target, 0) < 0
	}
	for _, h := range e.GetHashes() {
		ok = ok && len(h) == sha256.Size
	}
	if !ok || e.GetMode()&^0o777 != 0 {
		return fmt.Errorf("%w: bad entry %q", ErrInvalid, e.GetName())
	}
	return nil
}

// parts is the number of parts of a file of this size.
func parts(size int64) int64 {
	n := size / PartSize
	if size%PartSize != 0 {
		n++
	}
	return n
}

// marshal writes the canonical encoding by hand: fields in order, shortest
// varints, nothing for zero values. The protobuf library does not promise that
// its own encoding stays the same from version to version.
func marshal(t *stixv1.Tree) []byte {
	b := append(make([]byte, 0, len(Magic)+96*len(t.GetEntries())+8), Magic...)
	b = appendVarint(b, 1, uint64(t.GetVersion()))
	var buf []byte
	for _, e := range t.GetEntries() {
		buf = appendEntry(buf[:0], e)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendBytes(b, buf)
	}
	return b
}

func appendEntry(b []byte, e *stixv1.TreeEntry) []byte {
	b = appendBytes(b, 1, e.GetName())
	b = appendVarint(b, 2, uint64(e.GetType()))
	b = appendVarint(b, 3, uint64(e.GetMode()))
	b = appendVarint(b, 4, uint64(e.GetSize()))
	for _, h := range e.GetHashes() {
		b = appendBytes(b, 5, h)
	}
	return appendBytes(b, 6, e.GetTarget())
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

package state

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	logv1 "github.com/stix-run/stix/proto/stix/log/v1"
)

// A snapshot is a magic, one byte of format version, and frames: the length of the payload and its CRC-32C (both 32 bit,
// big endian), then the payload, whose first byte is the kind. The first frame is the head; the last, the end, counts the
// records between them: without it the snapshot is torn. Nothing follows it.
const (
	snapshotMagic   = "stixS"
	snapshotVersion = 1

	frameHeadLen = 8
	// frameLimit is the longest payload that is believed.
	frameLimit = 1 << 30
)

// Kinds of frames.
const (
	frameHead   byte = 1
	frameRecord byte = 2
	frameEnd    byte = 3
)

// Snapshot is a captured state.
type Snapshot struct{ view *View }

// Snapshot captures the state as it is. It takes no time and costs nothing until later changes: they copy what they
// touch while the snapshot is held.
func (s *Store) Snapshot() (Snapshot, error) { return Snapshot{s.Read()}, nil }

// Release lets go of the state. There is nothing else to do: views are garbage collected.
func (s Snapshot) Release() {}

// Revision returns the revision of the captured state.
func (s Snapshot) Revision() uint64 { return s.view.Revision }

// WriteTo streams the state. The writer should be buffered.
func (s Snapshot) WriteTo(w io.Writer) (int64, error) {
	f := &frameWriter{w: w}
	f.write(append([]byte(snapshotMagic), snapshotVersion))
	f.message(frameHead, &logv1.SnapshotHead{Revision: s.view.Revision, At: s.view.At, Term: s.view.term})
	for _, t := range s.view.tables() {
		t.each(func(key string, m proto.Message) bool {
			f.record(t.id(), key, m)
			return f.err == nil
		})
	}
	f.message(frameEnd, &logv1.SnapshotEnd{Records: f.records})
	if f.err != nil {
		return f.written, fmt.Errorf("write snapshot of revision %d: %w", s.view.Revision, f.err)
	}
	return f.written, nil
}

// frameWriter writes frames until the first error.
type frameWriter struct {
	w       io.Writer
	buf     []byte
	written int64
	records uint64
	err     error
}

func (f *frameWriter) write(b []byte) {
	if f.err != nil {
		return
	}
	n, err := f.w.Write(b)
	f.written += int64(n)
	f.err = err
}

// begin starts a frame in buf, with room for its head.
func (f *frameWriter) begin(kind byte) {
	f.buf = append(f.buf[:0], make([]byte, frameHeadLen)...)
	f.buf = append(f.buf, kind)
}

func (f *frameWriter) end() {
	payload := f.buf[frameHeadLen:]
	if len(payload) > frameLimit {
		f.err = fmt.Errorf("a record of %d bytes is too long", len(payload))
		return
	}
	binary.BigEndian.PutUint32(f.buf, uint32(len(payload)))
	binary.BigEndian.PutUint32(f.buf[4:], checksum(payload))
	f.write(f.buf)
}

func (f *frameWriter) message(kind byte, m proto.Message) {
	if f.err != nil {
		return
	}
	f.begin(kind)
	f.buf, f.err = marshal.MarshalAppend(f.buf, m)
	f.end()
}

// record writes a logv1.SnapshotFrame without making one: there may be millions.
func (f *frameWriter) record(id TableID, key string, m proto.Message) {
	size := marshal.Size(m)
	f.begin(frameRecord)
	f.buf = protowire.AppendTag(f.buf, 1, protowire.VarintType)
	f.buf = protowire.AppendVarint(f.buf, uint64(id))
	f.buf = protowire.AppendTag(f.buf, 2, protowire.BytesType)
	f.buf = protowire.AppendString(f.buf, key)
	f.buf = protowire.AppendTag(f.buf, 3, protowire.BytesType)
	f.buf = protowire.AppendVarint(f.buf, uint64(size))
	f.buf, f.err = proto.MarshalOptions{Deterministic: true, UseCachedSize: true}.MarshalAppend(f.buf, m)
	if f.err != nil {
		return
	}
	f.end()
	f.records++
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

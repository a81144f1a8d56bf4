package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"

	logv1 "github.com/stix-run/stix/proto/stix/log/v1"
)

// Restore replaces all state by what a snapshot holds. If the snapshot is torn, damaged or of a newer format, it says
// so and the state stays as it was. All watchers start over. The reader should be buffered.
func (s *Store) Restore(r io.Reader) error {
	v, err := readSnapshot(r, &s.decoding)
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	s.view.Store(v)
	s.restores.Add(1)
	s.ring.reset(v.Revision)
	s.wake()
	return nil
}

func readSnapshot(r io.Reader, in *interner) (*View, error) {
	f := &frameReader{r: r}
	if err := f.open(); err != nil {
		return nil, err
	}
	var head logv1.SnapshotHead
	if err := f.expect(frameHead, &head); err != nil {
		return nil, err
	}
	tables := newReader()
	records, err := f.records(tables, in)
	if err != nil {
		return nil, err
	}
	var end logv1.SnapshotEnd
	if err := unmarshal.Unmarshal(f.payload, &end); err != nil {
		return nil, fmt.Errorf("decode end: %w", err)
	}
	if end.Records != records {
		return nil, fmt.Errorf("it has %d records, its end says %d", records, end.Records)
	}
	if err := f.nothingLeft(); err != nil {
		return nil, err
	}
	return &View{Reader: *tables, Revision: head.Revision, At: head.At, term: head.Term}, nil
}

// frameReader reads frames. The payload of the last is valid until the next.
type frameReader struct {
	r       io.Reader
	buf     bytes.Buffer
	kind    byte
	payload []byte
}

func (f *frameReader) open() error {
	var b [len(snapshotMagic) + 1]byte
	if _, err := io.ReadFull(f.r, b[:]); err != nil {
		return fmt.Errorf("read magic: %w", err)
	}
	if string(b[:len(snapshotMagic)]) != snapshotMagic {
		return errors.New("not a snapshot of stix")
	}
	if v := b[len(snapshotMagic)]; v != snapshotVersion {
		return fmt.Errorf("it has format %d, this build reads %d: it was written by a newer stix", v, snapshotVersion)
	}
	return nil
}

func (f *frameReader) next() error {
	var head [frameHeadLen]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return torn(err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > frameLimit {
		return fmt.Errorf("a frame of %d bytes", size)
	}
	// Copied rather than read into a slice of that size: a damaged length must not take a gigabyte.
	f.buf.Reset()
	if _, err := io.CopyN(&f.buf, f.r, int64(size)); err != nil {
		return torn(err)
	}
	b := f.buf.Bytes()
	if checksum(b) != binary.BigEndian.Uint32(head[4:]) {
		return errors.New("a frame is damaged: its checksum differs")
	}
	f.kind, f.payload = b[0], b[1:]
	return nil
}

func torn(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("it is torn: %w", err)
}

func (f *frameReader) expect(kind byte, m *logv1.SnapshotHead) error {
	if err := f.next(); err != nil {
		return err
	}
	if f.kind != kind {
		return fmt.Errorf("frame of kind %d where %d is expected", f.kind, kind)
	}
	if err := unmarshal.Unmarshal(f.payload, m); err != nil {
		return fmt.Errorf("decode head: %w", err)
	}
	return nil
}

// records reads records into the tables up to the end frame, which is then the last that was read.
func (f *frameReader) records(tables *Reader, in *interner) (n uint64, err error) {
	byID := map[TableID]table{}
	for _, t := range tables.tables() {
		byID[t.id()] = t
	}
	for {
		if err := f.next(); err != nil {
			return n, err
		}
		switch f.kind {
		case frameEnd:
			return n, nil
		case frameRecord:
		default:
			return n, fmt.Errorf("frame of kind %d: a newer stix wrote it", f.kind)
		}
		id, key, value, err := splitRecord(f.payload)
		if err != nil {
			return n, err
		}
		t := byID[id]
		if t == nil {
			return n, fmt.Errorf("it has table %d, which this build does not know: a newer stix wrote it", id)
		}
		if err := t.restore(key, value, in); err != nil {
			return n, err
		}
		n++
	}
}

func (f *frameReader) nothingLeft() error {
	var b [1]byte
	if n, err := io.ReadFull(f.r, b[:]); n != 0 || err != io.EOF {
		return errors.New("there is something after its end")
	}
	return nil
}

// splitRecord takes a logv1.SnapshotFrame apart without making one. Value is a part of b.
func splitRecord(b []byte) (id TableID, key string, value []byte, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, "", nil, fmt.Errorf("decode record frame: %w", protowire.ParseError(n))
		}
		b = b[n:]
		switch {
		case num == 1 && typ == protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(b)
			id = TableID(v)
		case num == 2 && typ == protowire.BytesType:
			var v []byte
			v, n = protowire.ConsumeBytes(b)
			key = string(v)
		case num == 3 && typ == protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return 0, "", nil, fmt.Errorf("decode record frame: %w", protowire.ParseError(n))
		}
		b = b[n:]
	}
	return id, key, value, nil
}

package logs

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// The index lies beside the exit file, not beside the log: a header, then
// records of fixed size, little endian: kind, time, offset, count.
const (
	indexMagic   = "stix-log-idx"
	indexVersion = 1
	indexHeader  = len(indexMagic) + 4
	indexRecord  = 32

	// kindMark says that the byte at offset was written at time.
	kindMark = 1
	// kindLost says that count bytes were lost before the byte at offset.
	kindLost = 2
)

// DefaultSegmentBytes is the size at which a log is rotated.
const DefaultSegmentBytes = 8 << 30

// markEvery is the least distance in time between two marks of the index.
const markEvery = int64(1e9)

// WriterConfig says where a log is written.
type WriterConfig struct {
	// Path of the log. Its directories are made. A file that is there is
	// continued.
	Path string
	// Index is the path of the (time, offset) marks.
	Index string
	// SegmentBytes is the size at which the log is rotated: the last segment and
	// the one before are kept. Zero means DefaultSegmentBytes.
	SegmentBytes int64
	// Now tells the time in Unix nanoseconds.
	Now func() int64
}

// Writer writes one log and never makes whoever produces it wait or fail: what
// cannot be written, because the disk is full, is counted, and a line in the log
// tells of it as soon as there is room again.
//
// It belongs to one goroutine.
type Writer struct {
	config WriterConfig
	file   *os.File
	index  *os.File
	base   int64 // offset of the first byte of file
	size   int64 // offset of the next byte
	marked int64 // time of the last mark
	lost   int64 // bytes that could not be written since the last one that could
	cause  error
}

// NewWriter opens a log for writing.
func NewWriter(c WriterConfig) (*Writer, error) {
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = DefaultSegmentBytes
	}
	w := &Writer{config: c}
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if err := w.openFile(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	w.openIndex()
	return w, nil
}

func (w *Writer) openFile() error {
	f, err := os.OpenFile(w.config.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	w.file, w.size = f, w.base+info.Size()
	return nil
}

// openIndex leaves the index out where it cannot be made: the log is worth more.
func (w *Writer) openIndex() {
	f, err := os.OpenFile(w.config.Index, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	w.index = f
	header := binary.LittleEndian.AppendUint32([]byte(indexMagic), indexVersion)
	_, _ = f.Write(header)
}

// Size returns the offset after the last byte of the log.
func (w *Writer) Size() int64 { return w.size }

// Lost returns how many bytes could not be written and are not told of yet.
func (w *Writer) Lost() int64 { return w.lost }

// Write appends p. It always reports success.
func (w *Writer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if w.lost > 0 && !w.tellLoss() {
		w.lost += int64(len(p))
		return len(p), nil
	}
	w.mark()
	w.append(p)
	if w.size-w.base >= w.config.SegmentBytes {
		w.rotate()
	}
	return len(p), nil
}

func (w *Writer) append(p []byte) {
	n, err := w.file.Write(p)
	w.size += int64(n)
	if err != nil {
		w.lost += int64(len(p) - n)
		w.cause = err
	}
}

// tellLoss writes into the log what was lost, and tells whether it could.
func (w *Writer) tellLoss() bool {
	text := fmt.Sprintf("\n[stix: %d bytes of output were lost here: %v]\n", w.lost, cause(w.cause))
	n, err := w.file.WriteString(text)
	w.size += int64(n)
	if err != nil {
		return false
	}
	w.record(kindLost, w.size, w.lost)
	w.lost = 0
	return true
}

// cause strips the path from an error of package os.
func cause(err error) error {
	if p, ok := err.(*os.PathError); ok {
		return p.Err
	}
	return err
}

func (w *Writer) mark() {
	now := w.config.Now()
	if now-w.marked < markEvery {
		return
	}
	w.marked = now
	w.record(kindMark, w.size, 0)
}

func (w *Writer) record(kind, offset, count int64) {
	if w.index == nil {
		return
	}
	b := make([]byte, 0, indexRecord)
	for _, v := range []int64{kind, w.config.Now(), offset, count} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	_, _ = w.index.Write(b) // a mark that is missing makes a search coarser
}

// rotate moves the file aside under a name that tells its first offset, drops
// the segment before it, and begins a new file. Where that fails the log goes on
// in the same file. A crash after the rename leaves no file under the log's name,
// which readers take for an empty one.
func (w *Writer) rotate() {
	old, _ := segments(w.config.Path)
	if err := os.Rename(w.config.Path, segmentName(w.config.Path, w.base)); err != nil {
		return
	}
	before, base := w.file, w.base
	w.base = w.size
	if err := w.openFile(); err != nil {
		w.base = base
		_ = os.Rename(segmentName(w.config.Path, base), w.config.Path)
		return
	}
	before.Close()
	for _, s := range old {
		_ = os.Remove(s.path)
	}
}

// Close tells of a loss that is not told of yet, where it can, and closes the
// log. It does not wait for the disk: after a power cut the end may be missing,
// and is told of when the log is read.
func (w *Writer) Close() error {
	if w.lost > 0 {
		w.tellLoss()
	}
	if w.index != nil {
		w.index.Close()
	}
	return w.file.Close()
}

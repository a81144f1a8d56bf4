package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A catalog file is an envelope around a body. The envelope is, little-endian:
//
//	magic    8 bytes
//	version  uint16  a reader refuses a version that it does not know
//	kind     uint16  offers of a cloud, or accelerators
//	checksum uint32  CRC-32C of the body
//	length   uint32  of the body, which ends the file
//
// The head of a body are numbers (uvarint) and strings (length, bytes). Names are written once and then meant by their
// place in a list. The rows of a table of offers follow the head as columns of fixed width, which are read where they
// lie: opening a table costs its head only. docs/decisions/0011-catalog-format.md says why.
const (
	magic         = "STIXCAT\n"
	formatVersion = 1
	envelopeSize  = len(magic) + 2 + 2 + 4 + 4

	kindOffers       = 1
	kindAccelerators = 2
)

// ErrFormat is the kind of every error about a catalog file that cannot be read.
var ErrFormat = errors.New("no usable catalog file")

func seal(kind uint16, body []byte) []byte {
	b := make([]byte, 0, envelopeSize+len(body))
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, formatVersion)
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint32(b, checksum(body))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// unseal returns the body of a file that is whole.
func unseal(kind uint16, file []byte) ([]byte, error) {
	if len(file) < envelopeSize || string(file[:len(magic)]) != magic {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrFormat)
	}
	head, body := file[len(magic):envelopeSize], file[envelopeSize:]
	if v := binary.LittleEndian.Uint16(head); v != formatVersion {
		return nil, fmt.Errorf("%w: it has version %d, and this program reads version %d", ErrFormat, v, formatVersion)
	}
	if k := binary.LittleEndian.Uint16(head[2:]); k != kind {
		return nil, fmt.Errorf("%w: it is of kind %d, not %d", ErrFormat, k, kind)
	}
	if n := binary.LittleEndian.Uint32(head[8:]); int64(n) != int64(len(body)) {
		return nil, fmt.Errorf("%w: %d bytes instead of %d", ErrFormat, len(body), n)
	}
	if binary.LittleEndian.Uint32(head[4:]) != checksum(body) {
		return nil, fmt.Errorf("%w: the checksum does not fit", ErrFormat)
	}
	return body, nil
}

func checksum(body []byte) uint32 { return crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) }

// column is a list of small numbers of fixed width.
type column struct {
	data  []byte
	width int
}

func (c column) at(i int) int {
	switch c.width {
	case 1:
		return int(c.data[i])
	case 2:
		return int(binary.LittleEndian.Uint16(c.data[2*i:]))
	default:
		return int(binary.LittleEndian.Uint32(c.data[4*i:]))
	}
}

// below reports whether all n numbers of the column are less than limit.
func (c column) below(n, limit int) bool {
	for i := range n {
		if c.at(i) >= limit {
			return false
		}
	}
	return true
}

// widthFor is the width that numbers less than limit need.
func widthFor(limit int) int {
	switch {
	case limit <= 1<<8:
		return 1
	case limit <= 1<<16:
		return 2
	default:
		return 4
	}
}

func appendColumn(b []byte, numbers []int, limit int) []byte {
	width := widthFor(limit)
	b = append(b, byte(width))
	for _, n := range numbers {
		switch width {
		case 1:
			b = append(b, byte(n))
		case 2:
			b = binary.LittleEndian.AppendUint16(b, uint16(n))
		default:
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
	}
	return b
}

package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrNewer tells that an index was written by a newer program than this one.
var ErrNewer = errors.New("log index has a newer version")

// Mark says that the byte at Offset was written at At.
type Mark struct {
	At     int64 // Unix nanoseconds
	Offset int64
}

// DecodeIndex reads the marks from the content of an index file. A last record that is torn is left out.
func DecodeIndex(data []byte) ([]Mark, error) {
	if len(data) < indexHeader || string(data[:len(indexMagic)]) != indexMagic {
		return nil, errors.New("not a log index")
	}
	if v := binary.LittleEndian.Uint32(data[len(indexMagic):]); v > indexVersion {
		return nil, fmt.Errorf("%w: %d, this program knows up to %d", ErrNewer, v, indexVersion)
	}
	var marks []Mark
	for rest := data[indexHeader:]; len(rest) >= indexRecord; rest = rest[indexRecord:] {
		if binary.LittleEndian.Uint64(rest) != kindMark {
			continue
		}
		marks = append(marks, Mark{
			At:     int64(binary.LittleEndian.Uint64(rest[8:])),
			Offset: int64(binary.LittleEndian.Uint64(rest[16:])),
		})
	}
	return marks, nil
}

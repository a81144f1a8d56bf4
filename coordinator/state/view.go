package state

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"

	"google.golang.org/protobuf/proto"
)

// View is the committed state at one revision. It never changes, costs nothing to hold for a while, and is safe for
// concurrent use. How old it may be is the business of whoever took it: Store.Read gives what this replica has applied.
type View struct {
	Reader
	// Revision counts the entries that made the state.
	Revision uint64
	// At is the leader's time of the last entry, Unix nanoseconds.
	At int64
	// term of the leader who decided the last entry.
	term uint64

	forking sync.Mutex
}

// fork returns a copy of the tables to write to. Copying marks the original, so it is done by one at a time.
func (v *View) fork() *Reader {
	v.forking.Lock()
	defer v.forking.Unlock()
	return v.Reader.fork()
}

// Hash returns a digest of all records, of the revision and of its time: replicas that applied the same entries have
// the same one, if they are of the same build. It reads everything.
func (v *View) Hash() string {
	h := sha256.New()
	var head [20]byte
	binary.BigEndian.PutUint64(head[:], v.Revision)
	binary.BigEndian.PutUint64(head[8:], uint64(v.At))
	h.Write(head[:16])
	var buf []byte
	for _, t := range v.tables() {
		t.each(func(key string, m proto.Message) bool {
			// A record that came out of a log or snapshot can be encoded; there is nothing to report.
			buf, _ = marshal.MarshalAppend(append(buf[:0], key...), m)
			binary.BigEndian.PutUint32(head[:], uint32(t.id()))
			binary.BigEndian.PutUint64(head[4:], uint64(len(key)))
			binary.BigEndian.PutUint64(head[12:], uint64(len(buf)))
			h.Write(head[:])
			h.Write(buf)
			return true
		})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Package ids makes the identifiers of records: time-ordered UUIDs (version 7)
// whose creation time can be read back, and random secrets.
//
// Ids sort by creation time to about a quarter of a microsecond, on one
// machine's clock. They are no secrets: use Token for anything that must not be
// guessed.
package ids

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
)

// tokenBytes is the size of a secret token: 256 bits.
const tokenBytes = 32

// Source makes identifiers from a clock and a source of randomness. The zero
// value uses the system's; tests set both to get the same ids again.
type Source struct {
	// Now tells the time. Nil means time.Now.
	Now func() time.Time
	// Rand gives random bytes. Nil means crypto/rand. Where it errors, the
	// bytes come from crypto/rand: an id is never less random than promised.
	Rand io.Reader
}

// New returns a time-ordered id from the system's clock and randomness.
func New() string { return Source{}.New() }

// Random returns nbytes random bytes in hex.
func Random(nbytes int) string { return Source{}.Random(nbytes) }

// Token returns a secret of 256 random bits in URL-safe text.
func Token() string { return Source{}.Token() }

// Time returns the creation time held in an id made by New, to the
// millisecond. It errors for text that is no version 7 UUID in canonical form.
func Time(id string) (time.Time, error) {
	u, err := parse(id)
	if err != nil {
		return time.Time{}, err
	}
	var b [8]byte
	copy(b[2:], u[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[:]))).UTC(), nil
}

// Valid reports whether id is a version 7 UUID in canonical form.
func Valid(id string) bool {
	_, err := parse(id)
	return err == nil
}

// New returns a time-ordered id: a version 7 UUID in canonical text, whose
// twelve bits after the milliseconds are the fraction of the millisecond
// (RFC 9562, method 3).
func (s Source) New() string {
	var u uuid.UUID
	s.read(u[8:])
	now := s.now()
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(u[:6], ms[2:])
	frac := uint16(now.Nanosecond() % int(time.Millisecond) * 4096 / int(time.Millisecond))
	binary.BigEndian.PutUint16(u[6:], 0x7000|frac)
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}

// Random returns nbytes random bytes in hex.
func (s Source) Random(nbytes int) string {
	b := make([]byte, nbytes)
	s.read(b)
	return hex.EncodeToString(b)
}

// Token returns a secret of 256 random bits in URL-safe text.
func (s Source) Token() string {
	b := make([]byte, tokenBytes)
	s.read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (s Source) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// read fills b. crypto/rand.Read does not return errors: it ends the program.
func (s Source) read(b []byte) {
	if s.Rand != nil {
		if _, err := io.ReadFull(s.Rand, b); err == nil {
			return
		}
	}
	rand.Read(b)
}

func parse(id string) (uuid.UUID, error) {
	u, err := uuid.Parse(id)
	if err != nil {
		return u, fmt.Errorf("parse id %q: %w", id, err)
	}
	if u.String() != id || u.Version() != 7 || u.Variant() != uuid.RFC4122 {
		return u, fmt.Errorf("parse id %q: no canonical version 7 UUID", id)
	}
	return u, nil
}

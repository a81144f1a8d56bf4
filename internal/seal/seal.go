// Package seal encrypts secrets before they are written anywhere, and keeps the
// key in a file of its own.
//
// A sealed text is "STXS", a version byte, the eight-byte id of the key, and
// AES-256-GCM's random nonce, ciphertext and tag; the header is authenticated
// too. With random nonces one key is good for 2^32 texts.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

const (
	magic      = "STXS"
	version    = 1
	keySize    = 32
	keyIDSize  = 8
	headerSize = len(magic) + 1 + keyIDSize
)

// ErrRefused is returned by Open for a text that was changed, or sealed with
// other additional data.
var ErrRefused = errors.New("sealed text was changed or is for another place")

// Key is a secret key. Printing it does not show it.
type Key struct {
	secret [keySize]byte
	id     [keyIDSize]byte
}

// NewKey makes a random key.
func NewKey() Key {
	var secret [keySize]byte
	rand.Read(secret[:])
	return makeKey(secret)
}

func makeKey(secret [keySize]byte) Key {
	k := Key{secret: secret}
	sum := sha256.Sum256(append([]byte("stix seal key id 1\x00"), secret[:]...))
	copy(k.id[:], sum[:])
	return k
}

// ID names the key without telling anything about it.
func (k Key) ID() string { return fmt.Sprintf("%x", k.id) }

// String returns the key's id, so that a key in a log line is harmless.
func (k Key) String() string { return "seal.Key " + k.ID() }

// GoString is String.
func (k Key) GoString() string { return k.String() }

// Box seals with one key and opens with any of its keys. It may be used from
// several goroutines.
type Box struct {
	current Key
	keys    []Key
}

// NewBox returns a box that seals with current and opens also what older keys
// sealed.
func NewBox(current Key, older ...Key) *Box {
	return &Box{current: current, keys: append([]Key{current}, older...)}
}

// KeyID returns the id of the key that Seal uses.
func (b *Box) KeyID() string { return b.current.ID() }

// Seal encrypts plaintext. The same aad must be given to Open: it binds the
// text to its place, such as a table and a record's uid, so that it cannot be
// moved to another.
func (b *Box) Seal(plaintext, aad []byte) ([]byte, error) {
	aead, err := newAEAD(b.current)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	head := header(b.current)
	return aead.Seal(head, nil, plaintext, slices.Concat(head, aad)), nil
}

// Open decrypts what Seal made with one of the box's keys and the same aad.
func (b *Box) Open(sealed, aad []byte) ([]byte, error) {
	key, err := b.keyOf(sealed)
	if err != nil {
		return nil, fmt.Errorf("open sealed text: %w", err)
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, fmt.Errorf("open sealed text: %w", err)
	}
	head, body := sealed[:headerSize], sealed[headerSize:]
	plaintext, err := aead.Open(nil, nil, body, slices.Concat(head, aad))
	if err != nil {
		return nil, fmt.Errorf("open sealed text: %w", ErrRefused)
	}
	return plaintext, nil
}

// keyOf finds the key that a sealed text names.
func (b *Box) keyOf(sealed []byte) (Key, error) {
	if len(sealed) < headerSize || string(sealed[:len(magic)]) != magic {
		return Key{}, errors.New("not a sealed text")
	}
	if v := sealed[len(magic)]; v != version {
		return Key{}, fmt.Errorf("version %d is not known to this program, which knows %d", v, version)
	}
	id := [keyIDSize]byte(sealed[len(magic)+1 : headerSize])
	for _, k := range b.keys {
		if k.id == id {
			return k, nil
		}
	}
	return Key{}, fmt.Errorf("sealed with key %x, which is not here", id)
}

func header(k Key) []byte {
	head := make([]byte, 0, 128)
	head = append(head, magic...)
	head = append(head, version)
	return append(head, k.id[:]...)
}

func newAEAD(k Key) (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.secret[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// MAC is a fingerprint of data that only who has the current key can make: unlike
// a plain hash it cannot be used to guess what it was made of.
func (b *Box) MAC(data []byte) []byte {
	h := hmac.New(sha256.New, b.current.secret[:])
	h.Write([]byte("stix-mac 1\x00"))
	h.Write(data)
	return h.Sum(nil)
}

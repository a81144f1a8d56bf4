package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/stix-run/stix/internal/atomicfile"
)

// A key file begins with the magic and the version of its format on one line;
// the key follows in hex.
const (
	keyFileMagic   = "stix-seal-key "
	keyFileVersion = "1"
)

// LoadOrCreate returns the key in the file at path, and makes the file, mode
// 0600, with a new key where there is none. When two do so at once, both get the
// same key.
func LoadOrCreate(path string) (Key, error) {
	key, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	err = atomicfile.Create(path, encodeKey(NewKey()), 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Key{}, fmt.Errorf("make seal key: %w", err)
	}
	return Load(path)
}

// Load returns the key in the file at path. It refuses a file that anybody but
// its owner may read, write or execute.
func Load(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("load seal key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Key{}, fmt.Errorf("load seal key: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return Key{}, fmt.Errorf("load seal key: %s has mode %v, which lets others at it: make it 0600", path, info.Mode())
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return Key{}, fmt.Errorf("load seal key: %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return Key{}, fmt.Errorf("load seal key: %s: %w", path, err)
	}
	return key, nil
}

func encodeKey(k Key) []byte {
	return fmt.Appendf(nil, "%s%s\n%x\n", keyFileMagic, keyFileVersion, k.secret)
}

func parseKey(text []byte) (Key, error) {
	head, body, _ := strings.Cut(string(bytes.TrimSpace(text)), "\n")
	v, ok := strings.CutPrefix(head, keyFileMagic)
	if !ok {
		return Key{}, errors.New("not a seal key file")
	}
	if v != keyFileVersion {
		return Key{}, fmt.Errorf("version %q is not known to this program, which knows %s", v, keyFileVersion)
	}
	// The text of a decoding error would show a character of the key.
	secret, err := hex.DecodeString(body)
	if err != nil || len(secret) != keySize {
		return Key{}, fmt.Errorf("key is not %d bytes in hex", keySize)
	}
	return makeKey([keySize]byte(secret)), nil
}

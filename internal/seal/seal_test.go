package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stix-run/stix/internal/seal"
)

func TestSealedTextOpensOnlyInItsPlace(t *testing.T) {
	box := seal.NewBox(seal.NewKey())
	sealed := mustSeal(t, box, "hunter2", "jobs/1")
	if bytes.Contains(sealed, []byte("hunter2")) {
		t.Fatal("the secret can be read in the sealed text")
	}
	got, err := box.Open(sealed, []byte("jobs/1"))
	if err != nil || string(got) != "hunter2" {
		t.Fatalf("opened %q, %v", got, err)
	}
	if _, err := box.Open(sealed, []byte("jobs/2")); !errors.Is(err, seal.ErrRefused) {
		t.Fatalf("opened in another place: %v", err)
	}
	if bytes.Equal(sealed, mustSeal(t, box, "hunter2", "jobs/1")) {
		t.Fatal("sealing twice gives the same text")
	}
}

func TestEveryChangedBitIsRefused(t *testing.T) {
	box := seal.NewBox(seal.NewKey())
	sealed := mustSeal(t, box, "hunter2", "")
	for i := range sealed {
		for bit := range 8 {
			bad := bytes.Clone(sealed)
			bad[i] ^= 1 << bit
			if _, err := box.Open(bad, nil); err == nil {
				t.Fatalf("byte %d, bit %d changed: opened", i, bit)
			}
		}
		if _, err := box.Open(sealed[:i], nil); err == nil {
			t.Fatalf("cut to %d bytes: opened", i)
		}
	}
}

func TestNewerVersionIsRefusedByName(t *testing.T) {
	box := seal.NewBox(seal.NewKey())
	sealed := mustSeal(t, box, "x", "")
	sealed[4] = 9
	if _, err := box.Open(sealed, nil); err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Fatalf("version 9: %v", err)
	}
}

func TestRotatedBoxOpensWhatTheOlderKeySealed(t *testing.T) {
	older, newer := seal.NewKey(), seal.NewKey()
	sealed := mustSeal(t, seal.NewBox(older), "old", "")
	rotated := seal.NewBox(newer, older)
	if got, err := rotated.Open(sealed, nil); err != nil || string(got) != "old" {
		t.Fatalf("opened %q, %v", got, err)
	}
	if rotated.KeyID() != newer.ID() {
		t.Fatal("a rotated box seals with the older key")
	}
	if _, err := seal.NewBox(newer).Open(sealed, nil); err == nil || !strings.Contains(err.Error(), older.ID()) {
		t.Fatalf("key that is not here: %v", err)
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	key, err := seal.LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Fields(string(text))[2]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, key); strings.Contains(got, secret[:16]) || strings.Contains(got, "{") {
			t.Fatalf("%s prints %s", verb, got)
		}
	}
}

func TestKeyFileIsMadeOnceAndPrivate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	keys := make([]seal.Key, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = seal.LoadOrCreate(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k.ID() != keys[0].ID() {
			t.Fatal("two callers got two keys")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Fatalf("left behind: %v", entries)
	}
}

func TestKeyFileThatOthersMayReadIsRefused(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o602, 0o660} {
		path := filepath.Join(t.TempDir(), "key")
		if _, err := seal.LoadOrCreate(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.LoadOrCreate(path); err == nil || !strings.Contains(err.Error(), "0600") {
			t.Fatalf("mode %v: %v", mode, err)
		}
	}
}

func TestBadKeyFileIsRefusedAndKept(t *testing.T) {
	for name, text := range map[string]string{
		"empty":   "",
		"foreign": "hello\n",
		"newer":   "stix-seal-key 2\n" + strings.Repeat("00", 32) + "\n",
		"short":   "stix-seal-key 1\nabcd\n",
		"no hex":  "stix-seal-key 1\n" + strings.Repeat("zz", 32) + "\n",
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.LoadOrCreate(path); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if got, _ := os.ReadFile(path); string(got) != text {
			t.Errorf("%s: overwritten with %q", name, got)
		}
	}
}

func FuzzOpen(f *testing.F) {
	box := seal.NewBox(seal.NewKey())
	sealed, err := box.Seal([]byte("secret"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:13])
	f.Add([]byte("STXS"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := box.Open(text, nil); err == nil && string(got) != "secret" {
			t.Fatalf("forged %q", got)
		}
	})
}

func mustSeal(t *testing.T, box *seal.Box, text, aad string) []byte {
	t.Helper()
	sealed, err := box.Seal([]byte(text), []byte(aad))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

package files

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestManifestRoundTrip(t *testing.T) {
	m := newManifest("boot", "root", time.Unix(0, 5))
	m.trees["hash"] = []byte("tree object\x00")
	m.files["a\nb"] = written{content: sha256.Sum256(nil), stat: fileStat{size: 1 << 40, mtime: -5, ctime: 6, inode: 1<<64 - 1}, checked: 7}
	m.files[""] = written{}
	got, err := parseManifest(m.format())
	if err != nil {
		t.Fatal(err)
	}
	m.checked = 0
	if diff := cmp.Diff(m, got, cmp.AllowUnexported(manifest{}, written{}, fileStat{})); diff != "" {
		t.Error(diff)
	}
	if after := loadManifest(t.TempDir()+"/none", "boot"); len(after.files) != 0 {
		t.Error("something from nothing")
	}
}

func TestTrustNeedsTimesThatLieBehind(t *testing.T) {
	content := sha256.Sum256([]byte("x"))
	stat := fileStat{size: 1, mtime: 1000, ctime: 2000}
	w := written{content: content, stat: stat, checked: 2000 + int64(settle) + 1}
	if !w.trusted(content, stat) {
		t.Error("not trusted")
	}
	w.checked--
	if w.trusted(content, stat) {
		t.Error("trusted, though it may have changed in the same tick")
	}
}

func FuzzManifest(f *testing.F) {
	m := newManifest("boot", "root", time.Unix(0, 5))
	m.trees["hash"] = []byte("tree object")
	m.files["path"] = written{checked: 7}
	good := m.format()
	f.Add(good[:len(good)-sha256.Size])
	f.Add([]byte(manifestMagic + "\x00\x00\x00\x01\x00\x00\xff\xff\xff\x0f"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		// With a checksum that fits: random bytes would not get past it.
		sum := sha256.Sum256(data)
		m, err := parseManifest(slices.Concat(data, sum[:]))
		if err != nil {
			return
		}
		if again, err := parseManifest(m.format()); err != nil || len(again.files) != len(m.files) || len(again.trees) != len(m.trees) {
			t.Fatalf("%v does not come back: %v", m, err)
		}
	})
}

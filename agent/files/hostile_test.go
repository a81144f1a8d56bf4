package files_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stix-run/stix/agent/files"
	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestDestinations(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	source := tempDir(t)
	write(t, filepath.Join(source, "f"), "1")
	inTmp, err := os.MkdirTemp("/tmp", "stix-files-test")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(inTmp) })
	for destination, where := range map[string]string{
		"~/a/b": n.home + "/a/b", "~": n.home, n.home + "/c": n.home + "/c", "rel/d": n.home + "/sky_workdir/rel/d",
		inTmp + "/e": inTmp + "/e", "~/g/": n.home + "/g", "~//h/./i": n.home + "/h/i",
	} {
		n.sync(t, s.upload(t, source, destination))
		if read(t, filepath.Join(where, "f")) != "1" {
			t.Errorf("%s is not at %s", destination, where)
		}
	}
	for _, destination := range []string{"", "~/../x", "/tmp/../etc/x", "..", "a/../../b", "~root/x", "/", "/tmp", "~/a\x00b"} {
		n.fails(t, files.ErrDestination, s.upload(t, source, destination))
	}
}

func TestSingleFileMounts(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	source := filepath.Join(tempDir(t), "name here")
	write(t, source, "one")
	must(t, os.Chmod(source, 0o750))
	m := s.upload(t, source, "~/conf/name there")
	n.sync(t, m)
	on := filepath.Join(n.home, "conf/name there")
	write(t, filepath.Join(n.home, "conf/other"), "stays")
	if info, err := os.Stat(on); err != nil || info.Mode().Perm() != 0o750 || read(t, on) != "one" {
		t.Fatalf("%v, %v", info, err)
	}
	s.reset()
	n.sync(t, m)
	if s.calls != 0 {
		t.Errorf("%d fetches for an unchanged file", s.calls)
	}
	write(t, source, "two")
	n.sync(t, s.upload(t, source, "~/conf/name there"))
	if read(t, on) != "two" || read(t, filepath.Join(n.home, "conf/other")) != "stays" {
		t.Error("wrong content")
	}
	n.fails(t, files.ErrInWay, s.upload(t, source, "~/conf"))
}

func TestDestinationElsewhereIsLinked(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	elsewhere := filepath.Join(notInTmp(t), "data/x")
	source := tempDir(t)
	write(t, filepath.Join(source, "f"), "1")
	m := s.upload(t, source, elsewhere)
	n.sync(t, m)
	n.sync(t, m)
	inHome := filepath.Join(n.home, ".sky/file_mounts", elsewhere)
	if target, err := os.Readlink(elsewhere); err != nil || target != inHome || read(t, elsewhere+"/f") != "1" {
		t.Fatalf("%q, %v", target, err)
	}
	// Another machine on the same host cannot have it while this one does.
	other := newNode(t, s)
	other.fails(t, files.ErrInWay, m)
	must(t, os.RemoveAll(n.home))
	other.sync(t, m)
	must(t, os.Remove(elsewhere))
	write(t, elsewhere, "of the user")
	other.fails(t, files.ErrInWay, m)
	if read(t, elsewhere) != "of the user" {
		t.Error("a file of the user was replaced")
	}
}

func TestDestinationElsewhereWithoutPermissionNamesTheRemedy(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("everything is permitted to root")
	}
	s := newServer()
	n := newNode(t, s)
	locked := notInTmp(t)
	must(t, os.Chmod(locked, 0o500))
	m := s.upload(t, tempDir(t), locked+"/x")
	n.fails(t, files.ErrDestination, m)
	err := n.Sync(t.Context(), []*stixv1.Mount{m}, n.home)
	for _, want := range []string{locked + "/x", "~/"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// notInTmp returns a directory that is neither in /tmp nor in a home.
func notInTmp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "stix-files-")
	must(t, err)
	t.Cleanup(func() {
		os.Chmod(dir, 0o700)
		os.RemoveAll(dir)
	})
	return dir
}

func TestLinksOnTheWayOutAreNotFollowed(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	outside := tempDir(t)
	source := tempDir(t)
	write(t, filepath.Join(source, "f"), "1")
	must(t, os.Symlink(outside, filepath.Join(n.home, "out")))
	must(t, os.Symlink("../"+filepath.Base(outside), filepath.Join(n.home, "sky_workdir")))
	n.fails(t, files.ErrDestination, s.upload(t, source, "~/out/x"))
	n.fails(t, files.ErrDestination, s.upload(t, source, "~/out"))
	n.fails(t, files.ErrDestination, s.upload(t, source, workdir))
	n.fails(t, files.ErrDestination, s.upload(t, filepath.Join(source, "f"), "~/out/f"))
	if left := contents(t, outside); len(left) != 0 {
		t.Errorf("wrote outside: %v", left)
	}
	// A link that stays inside the home is the user's business.
	must(t, os.Mkdir(filepath.Join(n.home, "real"), 0o755))
	must(t, os.Symlink("real", filepath.Join(n.home, "inside")))
	n.sync(t, s.upload(t, source, "~/inside"))
	if read(t, filepath.Join(n.home, "real/f")) != "1" {
		t.Error("not there")
	}
}

// Links that lie where temporary files will be written must not be written through.
func TestPlantedTemporaryFilesAreNotFollowed(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	victim := filepath.Join(tempDir(t), "victim")
	write(t, victim, "precious")
	planted := filepath.Join(n.home, "sky_workdir", ".stix-"+tree.Hash([]byte("f"))[:16]+".part")
	must(t, os.MkdirAll(filepath.Dir(planted), 0o755))
	must(t, os.Symlink(victim, planted))
	source := tempDir(t)
	write(t, filepath.Join(source, "f"), "1")
	n.sync(t, s.upload(t, source, workdir))
	if read(t, victim) != "precious" {
		t.Error("wrote through a planted link")
	}
	same(t, source, filepath.Join(n.home, "sky_workdir"))
}

func dirEntry(name, hash string) *stixv1.TreeEntry {
	sum, err := hex.DecodeString(hash)
	if err != nil {
		panic(err)
	}
	return &stixv1.TreeEntry{Name: []byte(name), Type: stixv1.TreeEntryType_TREE_ENTRY_TYPE_DIRECTORY, Mode: 0o755, Hashes: [][]byte{sum}}
}

func TestHostileTreesAreRefused(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	single := s.put(t, &stixv1.TreeEntry{Type: stixv1.TreeEntryType_TREE_ENTRY_TYPE_FILE, Mode: 0o644})
	n.fails(t, files.ErrTree, &stixv1.Mount{Destination: workdir, Root: s.put(t, dirEntry("a", single))})
	n.fails(t, files.ErrTree, &stixv1.Mount{Destination: workdir, Root: "../../etc/passwd"})
	for name, data := range map[string][]byte{"no tree": []byte("hello"), "torn": []byte(tree.Magic)} {
		s.blobs[tree.Hash(data)] = data
		t.Log(name)
		n.fails(t, files.ErrTree, &stixv1.Mount{Destination: workdir, Root: tree.Hash(data)})
	}
	// A part whose size is not what the entry says.
	s.blobs[tree.Hash([]byte("four"))] = []byte("four")
	sum, err := hex.DecodeString(tree.Hash([]byte("four")))
	must(t, err)
	n.fails(t, files.ErrTree, &stixv1.Mount{Destination: workdir, Root: s.put(t, &stixv1.TreeEntry{
		Name: []byte("f"), Type: stixv1.TreeEntryType_TREE_ENTRY_TYPE_FILE, Size: 5, Hashes: [][]byte{sum},
	})})
	deep := s.put(t)
	for range tree.MaxDepth + 1 {
		deep = s.put(t, dirEntry("d", deep))
	}
	n.fails(t, files.ErrTree, &stixv1.Mount{Destination: workdir, Root: deep})
}

// The deepest tree that is allowed works, though its path is longer than the
// system takes in one call.
func TestDeepTreesWork(t *testing.T) {
	s := newServer()
	n := newNode(t, s)
	name := strings.Repeat("d", 60)
	deep := s.put(t)
	for range 200 {
		deep = s.put(t, dirEntry(name, deep))
	}
	m := &stixv1.Mount{Destination: workdir, Root: deep}
	n.sync(t, m)
	s.reset()
	n.sync(t, m)
	if s.calls != 0 {
		t.Errorf("%d fetches", s.calls)
	}
}

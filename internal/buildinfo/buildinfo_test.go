package buildinfo

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
)

func TestBuildIDFollowsTheContent(t *testing.T) {
	for _, goos := range []string{"linux", "darwin"} {
		t.Run(goos, func(t *testing.T) {
			one := build(t, goos, `package main; func main() { println("one") }`)
			again := build(t, goos, `package main; func main() { println("one") }`)
			two := build(t, goos, `package main; func main() { println("two") }`)
			head, err := os.ReadFile(one)
			if err != nil {
				t.Fatal(err)
			}
			if goBuildID(head[:min(headSize, len(head))]) == nil {
				t.Fatal("no Go build id in a stripped executable")
			}
			if idOf(t, one) != idOf(t, again) {
				t.Fatal("the same source has two build ids")
			}
			if idOf(t, one) == idOf(t, two) {
				t.Fatal("two sources have one build id")
			}
		})
	}
}

func TestBuildIDWithoutGosIsTheFilesHash(t *testing.T) {
	dir := t.TempDir()
	ids := map[string]bool{}
	for _, text := range []string{"", "\x7fELF", "\x7fELF\x04\x00\x00\x00Go\x00\x00", "\xff Go build ID: \"", "#!/bin/sh\n"} {
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ids[idOf(t, path)] = true
	}
	if len(ids) != 5 {
		t.Fatalf("%d different ids for 5 files", len(ids))
	}
	if _, err := BuildOf(filepath.Join(dir, "absent")); err == nil {
		t.Fatal("a missing file has a build id")
	}
}

func TestOwnBuildIDIsThatOfTheExecutable(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own, err := Build()
	if err != nil || own != idOf(t, path) {
		t.Fatalf("Build() = %q, %v", own, err)
	}
}

func TestVersionNamesTheCommit(t *testing.T) {
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123"},
		{Key: "vcs.modified", Value: "true"},
	}}
	if got := describe(info); got != "devel-0123456789ab-modified" {
		t.Fatalf("version %q", got)
	}
	if got := describe(&debug.BuildInfo{}); got != "devel" {
		t.Fatalf("version without a commit: %q", got)
	}
	if Version() == "" {
		t.Fatal("empty version")
	}
}

func FuzzGoBuildID(f *testing.F) {
	f.Add([]byte("\x7fELF\x04\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00Go\x00\x00abc"))
	f.Add([]byte("\xff Go build ID: \"abc\"\n \xff"))
	f.Fuzz(func(t *testing.T, head []byte) {
		if id := goBuildID(head); id != nil && len(id) == 0 {
			t.Fatal("empty id")
		}
	})
}

func idOf(t *testing.T, path string) string {
	t.Helper()
	id, err := BuildOf(path)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// build makes a stripped executable as the Makefile does.
func build(t *testing.T, goos, source string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", "prog", "main.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "prog")
}

package tree

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// write makes files from path to content; a path that ends in a slash is a
// directory.
func write(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		full := filepath.Join(root, path)
		dir := filepath.Dir(full)
		if strings.HasSuffix(path, "/") {
			dir = full
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "/") {
			continue
		}
		if err := os.WriteFile(full, []byte(files[path]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// git runs git in dir, away from the user's configuration.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git to compare with")
	}
	cmd := exec.Command("git", append([]string{"-c", "safe.directory=*", "-c", "core.quotePath=false"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"XDG_CONFIG_HOME="+t.TempDir(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// listing returns the paths of all that is in the tree of root, directories with
// a slash at the end; .git and what is in it only as ".git/".
func listing(t testing.TB, cfg Config) []string {
	t.Helper()
	res, err := Build(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	var visit func(hash, prefix string)
	visit = func(hash, prefix string) {
		tr, err := Decode(res.Objects[hash].data)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range tr.Entries {
			path := prefix + string(e.Name)
			if e.Type != dirEntry("").Type {
				paths = append(paths, path)
				continue
			}
			paths = append(paths, path+"/")
			if string(e.Name) != ".git" {
				visit(hexOf(e.Hashes[0]), path+"/")
			}
		}
	}
	visit(res.Root, "")
	return paths
}

// hexOf formats a raw hash.
func hexOf(sum []byte) string { return fmt.Sprintf("%x", sum) }

func wantPaths(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("tree has\n%q\nwant\n%q", got, want)
	}
}

func TestSkyignoreWinsOverGit(t *testing.T) {
	root := t.TempDir()
	git(t, root, "init", "-q")
	write(t, root, map[string]string{
		".skyignore":      "# comment\n\n/top\n*.log\nbuild/\ndeep/**/x\na/b\n - odd\n/only/***\n[xy]z\nlit\\eral\n",
		".gitignore":      "kept-by-sky\n",
		"kept-by-sky":     "",
		"top":             "",
		"sub/top":         "",
		"sub/x.log":       "",
		"x.log":           "",
		"build/out":       "",
		"sub/build":       "a file is no directory",
		"deep/x":          "",
		"deep/1/2/x":      "",
		"deep/1/2/y":      "",
		"sub/a/b/c":       "",
		"a/b":             "",
		"a/c":             "",
		"odd":             "",
		"only/x":          "",
		"xz":              "",
		"zz":              "",
		`lit\eral`:        "",
		"literal":         "",
		"empty/":          "",
		"only-logs/a.log": "",
	})
	wantPaths(t, listing(t, Config{Root: root}), ".git/", ".gitignore", ".skyignore", "a/", "a/c", "deep/", "deep/1/", "deep/1/2/",
		"deep/1/2/y", "empty/", "kept-by-sky", "literal", "only-logs/", "sub/", "sub/a/", "sub/build", "sub/top", "zz")
}

func TestSkyignoreWarnsOfWhatItCannotDo(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{".skyignore": "*.log\n!keep.log\n+ other.log\n", "keep.log": ""})
	res, err := Build(t.Context(), Config{Root: root})
	if err != nil || len(res.Warnings) != 2 || res.Files != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
}

func TestGitignoreOutsideARepositoryIsNotUsed(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{".gitignore": "*\n", "a": ""})
	wantPaths(t, listing(t, Config{Root: root}), ".gitignore", "a")
}

func TestGitRulesOfEverySource(t *testing.T) {
	top := t.TempDir()
	git(t, top, "init", "-q")
	excludes := filepath.Join(t.TempDir(), "excludes")
	write(t, filepath.Dir(excludes), map[string]string{"excludes": "*.global\n*.both\n"})
	write(t, top, map[string]string{
		".gitignore":           "*.o\n/work/rooted\n!kept.global\n",
		".git/info/exclude":    "*.private\n!*.both\n",
		"work/.gitignore":      "!keep.o\n",
		"work/sub/.gitignore":  "/local\n*.x\n",
		"work/a.o":             "",
		"work/keep.o":          "",
		"work/rooted":          "",
		"work/sub/rooted":      "",
		"work/sub/local":       "",
		"work/sub/deep/local":  "",
		"work/sub/deep/a.x":    "",
		"work/other/a.x":       "",
		"work/a.private":       "",
		"work/a.global":        "",
		"work/kept.global":     "",
		"work/a.both":          "",
		"work/only-objects/.o": "",
	})
	wantPaths(t, listing(t, Config{Root: filepath.Join(top, "work"), GitExcludes: excludes}),
		".gitignore", "a.both", "keep.o", "kept.global", "only-objects/", "other/", "other/a.x",
		"sub/", "sub/.gitignore", "sub/deep/", "sub/deep/local", "sub/rooted")
}

func TestTrackedFilesAreKeptThoughIgnored(t *testing.T) {
	for _, indexVersion := range []string{"2", "3", "4"} {
		top := t.TempDir()
		git(t, top, "init", "-q")
		write(t, top, map[string]string{
			".gitignore": "build/\n*.bin\n", "build/kept/tracked": "", "build/kept/loose": "", "build/other/loose": "",
			"tracked.bin": "", "loose.bin": "", "intent.bin": "", "a/very/long/path/that/shares/a/prefix": "",
		})
		git(t, top, "add", "-f", "build/kept/tracked", "tracked.bin", "a")
		// Entries with extended flags need version 3.
		git(t, top, "add", "-f", "--intent-to-add", "intent.bin")
		git(t, top, "update-index", "--index-version", indexVersion)
		wantPaths(t, listing(t, Config{Root: top}), ".git/", ".gitignore", "a/", "a/very/", "a/very/long/", "a/very/long/path/",
			"a/very/long/path/that/", "a/very/long/path/that/shares/", "a/very/long/path/that/shares/a/",
			"a/very/long/path/that/shares/a/prefix", "build/", "build/kept/", "build/kept/tracked", "intent.bin", "tracked.bin")
	}
}

func TestRepositoryWithSHA256NamesIsRead(t *testing.T) {
	top := t.TempDir()
	git(t, top, "init", "-q", "--object-format=sha256")
	write(t, top, map[string]string{".gitignore": "*.bin\n", "tracked.bin": "", "loose.bin": ""})
	git(t, top, "add", "-f", "tracked.bin")
	wantPaths(t, listing(t, Config{Root: top}), ".git/", ".gitignore", "tracked.bin")
}

func TestSplitIndexIsWarnedOf(t *testing.T) {
	top := t.TempDir()
	git(t, top, "init", "-q")
	write(t, top, map[string]string{".gitignore": "*.bin\n", "tracked.bin": ""})
	git(t, top, "add", "-f", "tracked.bin")
	git(t, top, "update-index", "--split-index")
	res, err := Build(t.Context(), Config{Root: top})
	if err != nil || len(res.Warnings) != 1 {
		t.Fatalf("%v, %v", res.Warnings, err)
	}
}

func TestNestedRepositoriesHaveTheirOwnRules(t *testing.T) {
	inner := t.TempDir()
	git(t, inner, "init", "-q")
	write(t, inner, map[string]string{".gitignore": "*.inner\n", "a.inner": "", "a.outer": "", "tracked.inner": ""})
	git(t, inner, "add", "-f", ".gitignore", "tracked.inner")
	git(t, inner, "commit", "-q", "-m", "x")
	top := t.TempDir()
	git(t, top, "init", "-q")
	write(t, top, map[string]string{".gitignore": "*.outer\nmodule\n", "a.inner": "", "a.outer": ""})
	git(t, top, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "-f", inner, "module")
	write(t, filepath.Join(top, "module"), map[string]string{"b.inner": "", "b.outer": ""})
	wantPaths(t, listing(t, Config{Root: top}), ".git/", ".gitignore", ".gitmodules", "a.inner", "module/", "module/.git",
		"module/.gitignore", "module/b.outer", "module/tracked.inner")
	// A linked work tree has its index and its exclude file in two places.
	linked := filepath.Join(t.TempDir(), "linked")
	git(t, inner, "worktree", "add", "-q", linked)
	write(t, inner, map[string]string{".git/info/exclude": "*.private\n"})
	write(t, linked, map[string]string{"a.private": "", "b.inner": ""})
	wantPaths(t, listing(t, Config{Root: linked}), ".git", ".gitignore", "tracked.inner")
}

// The oracle for the matcher is git: random patterns over random trees.
func TestGitRulesAreWhatGitSays(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	top := t.TempDir()
	git(t, top, "init", "-q")
	names := []string{"a", "b", "ab", "abc", "a.o", "b.o", "a b", "a ", "[a]", "-", "]", "A", "#a", "!a", `a\b`, "ä", "foo"}
	dirs := []string{""}
	files := map[string]string{}
	for range 60 {
		dir := dirs[rnd.IntN(len(dirs))]
		if rnd.IntN(3) == 0 && strings.Count(dir, "/") < 4 {
			dir += names[rnd.IntN(len(names))] + ".d/"
			dirs = append(dirs, dir)
		}
		files[dir+names[rnd.IntN(len(names))]] = ""
	}
	write(t, top, files)
	for range 40 {
		ignores := map[string]string{".gitignore": randomPatterns(rnd), ".git/info/exclude": randomPatterns(rnd)}
		ignores[dirs[rnd.IntN(len(dirs))]+".gitignore"] = randomPatterns(rnd)
		write(t, top, ignores)
		compareWithGit(t, top, ignores)
		for path := range ignores {
			if err := os.Remove(filepath.Join(top, path)); err != nil {
				t.Fatal(err)
			}
		}
		if t.Failed() {
			return
		}
	}
}

func randomPatterns(rnd *rand.Rand) string {
	atoms := []string{"a", "b", "o", ".", "*", "**", "?", "/", "[ab]", "[!a]", "[^b-z]", "[]-]", "[a-", "[[:alpha:]]", "[[:bad:]]",
		"[[:x]", `\`, `\*`, " ", `\ `, ".d", "/**/", "**/", "/**", "*.o", "foo", "#", "!", "\r", "ä", "\t", "[a/b]"}
	var b strings.Builder
	for range rnd.IntN(6) {
		if rnd.IntN(4) == 0 {
			b.WriteString("!")
		}
		if rnd.IntN(4) == 0 {
			b.WriteString("/")
		}
		for range 1 + rnd.IntN(4) {
			b.WriteString(atoms[rnd.IntN(len(atoms))])
		}
		if rnd.IntN(4) == 0 {
			b.WriteString("/")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func compareWithGit(t *testing.T, top string, ignores map[string]string) {
	t.Helper()
	var want []string
	for path := range strings.SplitSeq(git(t, top, "ls-files", "-z", "--others", "--exclude-standard"), "\x00") {
		if path != "" {
			want = append(want, path)
		}
	}
	var got []string
	for _, path := range listing(t, Config{Root: top}) {
		if !strings.HasSuffix(path, "/") {
			got = append(got, path)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("with %q\nwe keep  %q\ngit keeps %q", ignores, got, want)
	}
}

func TestGlobTimeIsBounded(t *testing.T) {
	g := compileGlob(strings.Repeat("*a", 100)+"**/"+strings.Repeat("*a", 100)+"b", false)
	if g.match(strings.Repeat("a", 20_000)) {
		t.Fatal("matched")
	}
}

func FuzzIgnorePatterns(f *testing.F) {
	f.Add("*.o\n!a.o\n/b/**/c\n[a-z]?\\ \n", "b/x/c", true)
	f.Add("a/***\n- b\n**/x\n", "a/b", false)
	f.Add("[[:alpha:]][!a-\\]]\n[", "x]", false)
	f.Fuzz(func(t *testing.T, data, path string, dir bool) {
		if len(data) > 1<<10 || len(path) > 1<<10 {
			return
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		sky, _ := parseSkyignore(data)
		for _, set := range []ruleSet{{patterns: parseGitignore(data)}, {patterns: sky}} {
			set.decide(path, name, dir)
		}
	})
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00"))
	entry := append(make([]byte, 60), "\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	f.Add(append([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x01"), entry...))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := parseIndex(data)
		if err == nil && len(names) > len(data) {
			t.Fatalf("%d names from %d bytes", len(names), len(data))
		}
	})
}

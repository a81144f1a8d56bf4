//go:build integration && linux

package binaries

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stix-run/stix/internal/tree"
)

// makeWorkdir makes a directory of everything that may be in one, and returns what of it goes to the nodes.
func makeWorkdir(h *home, dir string) map[string]string {
	h.t.Helper()
	for name, content := range map[string]string{
		"plain":               "plain\n",
		"empty file":          "",
		"with space/and more": "space\n",
		"new\nline":           "newline\n",
		"-dash":               "dash\n",
		"ünïcode":             "unicode\n",
		"run.sh":              "#!/bin/sh\necho from the workdir\n",
		"private":             "mine\n",
		".hidden":             "hidden\n",
		"sub/deep/er/file":    strings.Repeat("0123456789abcdef", 1<<16) + "\n",
		"sub/keep.tmp.not":    "kept\n",
		"build/out":           "ignored\n",
		"sub/scratch.tmp":     "ignored\n",
		"sub/build/out":       "only the first build is ignored\n",
		".skyignore":          "*.tmp\n/build\n",
	} {
		h.write(filepath.Join(dir, name), content)
	}
	root := filepath.Join(h.work, dir)
	for _, err := range []error{
		os.Mkdir(filepath.Join(root, "empty"), 0o755),
		os.Chmod(filepath.Join(root, "run.sh"), 0o755),
		os.Chmod(filepath.Join(root, "plain"), 0o644),
		os.Chmod(filepath.Join(root, "private"), 0o400),
		os.Symlink("plain", filepath.Join(root, "link")),
		os.Symlink("../outside the workdir", filepath.Join(root, "sub/dangling")),
		os.Symlink("empty", filepath.Join(root, "link to dir")),
	} {
		if err != nil {
			h.t.Fatal(err)
		}
	}
	want := listing(h.t, root)
	for _, name := range []string{"build", "build/out", "sub/scratch.tmp"} {
		if _, ok := want[name]; !ok {
			h.t.Fatalf("%q is not in the workdir", name)
		}
		delete(want, name)
	}
	return want
}

// listing describes all that is in a directory: kind, mode, and content or target.
func listing(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text = "link to " + target
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + tree.Hash(data)
		}
		all[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sameListing tells where two directories differ.
func sameListing(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: %q is %q, not %q", what, name, got[name], text)
		}
	}
	for name, text := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %q is there: %q", what, name, text)
		}
	}
}

// fileIDs are the inode and time of all files below a directory: they tell what was written.
func fileIDs(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all = append(all, fmt.Sprintf("%s %v %+v", path, info.ModTime().UnixNano(), info.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWorkdirAndFileMountsArriveWhole(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	want := makeWorkdir(h, "wd")
	h.write("single", "one file\n")
	h.write("mounted/a", "a\n")
	h.write("mounted/b c/d", "d\n")
	h.write("task.yaml", `
name: files
num_nodes: 2
workdir: wd
file_mounts:
  ~/data/single.txt: single
  ~/data/mounted: mounted
resources: {infra: local}
run: |
  pwd
  ./run.sh
  cat link ~/data/single.txt ~/data/mounted/b\ c/d
`)
	r := h.ok("launch", "-y", "-c", "demo", "task.yaml")
	for _, line := range []string{"from the workdir", "plain", "one file", "d"} {
		if n := strings.Count(r.stdout, ") "+line+"\n"); n != 2 {
			t.Errorf("%d nodes printed %q, not 2: %v", n, line, r)
		}
	}
	for _, m := range h.machines() {
		sameListing(t, "workdir", listing(t, filepath.Join(h.machineHome(m), "sky_workdir")), want)
		sameListing(t, "file mount", listing(t, filepath.Join(h.machineHome(m), "data/mounted")), listing(t, filepath.Join(h.work, "mounted")))
	}

	// What is there is not sent again, neither to the server nor to a node.
	blobs := filepath.Join(h.dir, "server/blobs")
	var before []string
	all := func() []string {
		files := fileIDs(t, blobs)
		for _, m := range h.machines() {
			files = append(files, fileIDs(t, filepath.Join(h.machineHome(m), "sky_workdir"))...)
			files = append(files, fileIDs(t, filepath.Join(h.machineHome(m), "data"))...)
		}
		return files
	}
	before = all()
	h.ok("launch", "-y", "-c", "demo", "task.yaml")
	if after := all(); !slices.Equal(before, after) {
		t.Errorf("unchanged files were written again:\n%q\nwere\n%q", after, before)
	}
	built, err := tree.Build(h.ctx(), tree.Config{Root: filepath.Join(h.work, "wd")})
	if err != nil {
		t.Fatal(err)
	}
	if sent, err := h.dial().Upload(h.ctx(), built); err != nil || sent.Blobs != 0 {
		t.Errorf("of an unchanged tree %+v was sent: %v", sent, err)
	}

	// One changed file is one blob, and reaches the nodes with exec too.
	h.write("wd/plain", "changed\n")
	r = h.ok("exec", "demo", "--workdir", "wd", "--num-nodes", "2", "cat plain")
	if n := strings.Count(r.stdout, ") changed\n"); n != 2 {
		t.Errorf("%d nodes have the changed file, not 2: %v", n, r)
	}
	h.end()
}

func TestSetupThatFailsOnOneNodeEndsTheJob(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.write("task.yaml", `
num_nodes: 3
resources: {infra: local}
setup: |
  echo setting up $SKYPILOT_SETUP_NODE_RANK
  echo $SKYPILOT_SETUP_NODE_RANK >>`+h.work+`/setup
  [ "$SKYPILOT_SETUP_NODE_RANK" != 1 ] && exit
  while [ $(wc -l <`+h.work+`/setup) != 3 ]; do sleep 0.05; done # the others have begun
  exit 7
run: echo >>`+h.work+`/ran
`)
	r := h.code(100, "launch", "-y", "-c", "demo", "task.yaml")
	matches(t, r.stdout, `(?m)^\(setup pid=\d+\) setting up 0$`, `(?m)^\(setup pid=\d+, ip=[\d.]+\) setting up 1$`,
		`returncode=7`, `Job finished \(status: FAILED_SETUP\)`)
	if ran := h.read("ran"); len(ran) != 0 {
		t.Errorf("run was started %d times", len(ran))
	}
	if j := h.job("demo", 1); j.Status != "FAILED_SETUP" {
		t.Errorf("the job is %+v", j)
	}
	h.code(100, "logs", "demo", "1", "--status")
	if c := h.clusters(); len(c) != 1 || c[0].Status != "UP" {
		t.Errorf("the cluster is %+v", c)
	}
	h.ok("exec", "demo", "task.yaml") // exec runs no setup
	if setups := sorted(h.read("setup")); len(h.read("ran")) != 3 || len(setups) != 3 {
		t.Errorf("run was started %d times, not 3; setup by %q", len(h.read("ran")), setups)
	}
	h.end()
}

func TestSetupRunsOnAllNodesBeforeTheJob(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.write("task.yaml", `
num_nodes: 2
resources: {infra: local}
envs: {WHO: world}
setup: |
  echo setup-$WHO >~/made
  sleep 0.2
  echo setup >>`+h.work+`/order
run: |
  echo run >>`+h.work+`/order
  cat ~/made
`)
	r := h.ok("launch", "-y", "-c", "demo", "task.yaml", "--env", "WHO=you")
	if n := strings.Count(r.stdout, ") setup-you\n"); n != 2 {
		t.Errorf("%d nodes have what setup made, not 2: %v", n, r)
	}
	if order := h.read("order"); !slices.Equal(order, []string{"setup", "setup", "run", "run"}) {
		t.Errorf("the order was %q", order)
	}
	h.end()
}

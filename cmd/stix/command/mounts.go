package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// workdirOnNode is where the workdir goes, and what relative destinations are
// relative to.
const workdirOnNode = "~/sky_workdir"

// buildAttempts is how often a tree is built when its files keep changing.
const buildAttempts = 3

// largeTree is the size from which on the user is told that there is a lot to copy.
const largeTree = 256 << 20

// source is a local path that goes to the nodes.
type source struct {
	path        string
	destination string
	workdir     bool
}

// sources lists what a task wants copied. Jobs of exec sync only the workdir.
func (a *app) sources(t *stixv1.Task, onlyWorkdir bool) []source {
	var all []source
	if path := t.GetWorkdir().GetPath(); path != "" {
		all = append(all, source{path: a.abs(path), destination: workdirOnNode, workdir: true})
	}
	if onlyWorkdir {
		return all
	}
	for _, m := range t.GetFileMounts() {
		dest := m.GetDestination()
		if !strings.HasPrefix(dest, "/") && dest != "~" && !strings.HasPrefix(dest, "~/") {
			dest = workdirOnNode + "/" + dest
		}
		all = append(all, source{path: a.abs(m.GetSource()), destination: dest})
	}
	return all
}

// sync brings the sources to the server and returns them as mounts.
func (a *app) sync(ctx context.Context, p *progress, sources []source) ([]*stixv1.Mount, error) {
	if len(sources) == 0 {
		return nil, nil
	}
	p.stage("Syncing files")
	for attempt := 1; ; attempt++ {
		mounts, err := a.syncOnce(ctx, sources)
		if !errors.Is(err, tree.ErrChanged) || attempt == buildAttempts {
			return mounts, err
		}
	}
}

func (a *app) syncOnce(ctx context.Context, sources []source) ([]*stixv1.Mount, error) {
	mounts := make([]*stixv1.Mount, len(sources))
	trees := make([]*tree.Result, len(sources))
	for i, s := range sources {
		built, err := a.build(ctx, s)
		if err != nil {
			return nil, err
		}
		trees[i] = built
		mounts[i] = &stixv1.Mount{
			Destination: s.destination, Root: built.Root, Workdir: s.workdir, Bytes: built.Bytes, Files: built.Files,
		}
	}
	_, err := a.client.Upload(ctx, trees...)
	return mounts, err
}

func (a *app) build(ctx context.Context, s source) (*tree.Result, error) {
	if _, err := os.Stat(s.path); err != nil {
		return nil, fail("%s for %s: %v", kindOfSource(s), s.destination, errors.Unwrap(err))
	}
	built, err := tree.Build(ctx, tree.Config{
		Root:        s.path,
		CacheDir:    filepath.Join(a.server.stateDir, "cache", "trees"),
		GitExcludes: a.gitExcludes(),
	})
	if err != nil {
		return nil, err
	}
	for _, w := range built.Warnings {
		a.notice("Warning: %s: %s", s.path, w)
	}
	if built.Bytes >= largeTree {
		a.notice("Warning: %s has %d MB in %d files; name what is not needed in .skyignore.", s.path, built.Bytes>>20, built.Files)
	}
	return built, nil
}

func kindOfSource(s source) string {
	if s.workdir {
		return "workdir " + s.path
	}
	return "file_mounts source " + s.path
}

// gitExcludes is git's default place for the user's own ignore rules.
func (a *app) gitExcludes() string {
	dir := a.sys.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(a.sys.Home, ".config")
	}
	path := filepath.Join(dir, "git", "ignore")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

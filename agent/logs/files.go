package logs

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

// Files is the Source of logs that lie in files. While Run runs, it hears from the
// kernel when a log grows.
type Files struct {
	path   func(uid string) (string, error)
	logger hclog.Logger

	mu      sync.Mutex
	watcher *fsnotify.Watcher // nil while Run does not run
	open    map[string]map[*fileLog]bool
	dirs    map[string]int
}

// NewFiles returns a source; path tells where the log of an assignment is.
func NewFiles(path func(uid string) (string, error), logger hclog.Logger) *Files {
	return &Files{path: path, logger: logger, open: map[string]map[*fileLog]bool{}, dirs: map[string]int{}}
}

// Run passes on what the kernel tells until ctx ends. Without it, and where the
// kernel does not tell, as on some network file systems, readers look by
// themselves from time to time.
func (f *Files) Run(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		f.logger.Warn("logs are not watched", "error", err)
		<-ctx.Done()
		return nil
	}
	defer w.Close()
	f.attach(w)
	defer f.attach(nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Events:
			if !ok {
				return fmt.Errorf("watch logs: watcher ended")
			}
			f.notify(e.Name)
		case err := <-w.Errors:
			f.logger.Debug("watch logs", "error", err)
		}
	}
}

func (f *Files) attach(w *fsnotify.Watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watcher = w
	if w == nil {
		return
	}
	for dir := range f.dirs {
		f.watch(dir)
	}
}

func (f *Files) watch(dir string) {
	if err := f.watcher.Add(dir); err != nil {
		f.logger.Debug("watch logs", "dir", dir, "error", err)
	}
}

func (f *Files) notify(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.open[path] {
		select {
		case l.changed <- struct{}{}:
		default:
		}
	}
}

// OpenLog returns a reader of an assignment's log, which need not exist yet.
func (f *Files) OpenLog(uid string) (Log, error) {
	path, err := f.path(uid)
	if err != nil {
		return nil, err
	}
	l := &fileLog{Reader: NewReader(path), files: f, changed: make(chan struct{}, 1)}
	dir := filepath.Dir(path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[path] == nil {
		f.open[path] = map[*fileLog]bool{}
	}
	f.open[path][l] = true
	if f.dirs[dir]++; f.dirs[dir] == 1 && f.watcher != nil {
		f.watch(dir)
	}
	return l, nil
}

func (f *Files) forget(l *fileLog) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open[l.path][l] {
		return
	}
	delete(f.open[l.path], l)
	if len(f.open[l.path]) == 0 {
		delete(f.open, l.path)
	}
	dir := filepath.Dir(l.path)
	if f.dirs[dir]--; f.dirs[dir] > 0 {
		return
	}
	delete(f.dirs, dir)
	if f.watcher != nil {
		_ = f.watcher.Remove(dir) // it may be gone already
	}
}

// fileLog is a Log of Files.
type fileLog struct {
	*Reader
	files   *Files
	changed chan struct{}
}

// Changed implements Log.
func (l *fileLog) Changed() <-chan struct{} { return l.changed }

// Close implements Log.
func (l *fileLog) Close() error {
	l.files.forget(l)
	return l.Reader.Close()
}

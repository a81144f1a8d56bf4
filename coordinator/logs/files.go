package logs

import (
	"container/list"
	"os"
	"sync"
)

// files keeps a bounded number of files open, those used last. More than that are
// open only while as many are in use at the same moment.
type files struct {
	max int

	mu sync.Mutex
	// open files by path.
	open map[string]*openFile
	// recent has the open files, the one used last in front.
	recent *list.List
}

type openFile struct {
	*os.File
	path string
	// users at this moment; closed only without.
	users int
	// gone: not to be found any more, to be closed by its last user.
	gone bool
	at   *list.Element
}

func newFiles(limit int) *files {
	return &files{max: limit, open: map[string]*openFile{}, recent: list.New()}
}

// write calls fn with the file, which is made if it is not there.
func (c *files) write(path string, fn func(*os.File) error) error {
	return c.with(path, os.O_RDWR|os.O_CREATE, fn)
}

// read calls fn with the file, which must be there.
func (c *files) read(path string, fn func(*os.File) error) error {
	return c.with(path, os.O_RDWR, fn)
}

func (c *files) with(path string, flags int, fn func(*os.File) error) error {
	f := c.find(path)
	if f == nil {
		opened, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			return err
		}
		f = c.enter(path, opened)
	}
	defer c.leave(f)
	return fn(f.File)
}

func (c *files) find(path string) *openFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.open[path]
	if !ok {
		return nil
	}
	f.users++
	c.recent.MoveToFront(f.at)
	return f
}

// enter adds a file that was just opened, unless another was faster.
func (c *files) enter(path string, opened *os.File) *openFile {
	c.mu.Lock()
	f, ok := c.open[path]
	var idle []*openFile
	if !ok {
		f = &openFile{File: opened, path: path}
		f.at = c.recent.PushFront(f)
		c.open[path] = f
		idle = c.evict()
	}
	f.users++
	c.mu.Unlock()
	if ok {
		opened.Close()
	}
	closeAll(idle)
	return f
}

// evict takes files that are over the bound and returns those to be closed now.
func (c *files) evict() (idle []*openFile) {
	for e := c.recent.Back(); e != nil && len(c.open) > c.max; {
		f, before := e.Value.(*openFile), e.Prev()
		if f.users == 0 && e != c.recent.Front() {
			c.drop(f)
			idle = append(idle, f)
		}
		e = before
	}
	return idle
}

func (c *files) drop(f *openFile) {
	delete(c.open, f.path)
	c.recent.Remove(f.at)
	f.gone = true
}

func (c *files) leave(f *openFile) {
	c.mu.Lock()
	f.users--
	var idle []*openFile
	switch {
	case f.gone && f.users == 0:
		idle = append(idle, f)
	case !f.gone:
		idle = c.evict()
	}
	c.mu.Unlock()
	closeAll(idle)
}

// forget closes a file that is about to be removed.
func (c *files) forget(path string) {
	c.mu.Lock()
	var idle []*openFile
	if f, ok := c.open[path]; ok {
		c.drop(f)
		if f.users == 0 {
			idle = append(idle, f)
		}
	}
	c.mu.Unlock()
	closeAll(idle)
}

// closeAll has no error to report: what counts was synced before.
func closeAll(fs []*openFile) {
	for _, f := range fs {
		f.Close()
	}
}

package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Collected is what a Collect removed.
type Collected struct {
	Logs  int64
	Bytes int64
}

// orphanAge is how old a log must be to be removed because its job is unknown.
const orphanAge = time.Hour

// Collect removes the logs of jobs that are not known any more, those older than
// MaxAge, and then the oldest complete ones until MaxBytes are kept. A log that is
// in use stays. Nil for known means that every job is known.
func (s *Store) Collect(ctx context.Context, known func(jobUID string) bool) (Collected, error) {
	var done Collected
	kept, err := s.list(ctx)
	if err != nil {
		return done, fmt.Errorf("collect logs: %w", err)
	}
	now := s.cfg.Now()
	var total int64
	kept = slices.DeleteFunc(kept, func(l stored) bool {
		age := now.Sub(l.changed)
		out := s.cfg.MaxAge > 0 && age > s.cfg.MaxAge ||
			age > orphanAge && known != nil && !known(l.key.JobUID)
		if out && s.remove(l, &done) {
			return true
		}
		total += l.bytes
		return false
	})
	slices.SortFunc(kept, func(a, b stored) int { return a.changed.Compare(b.changed) })
	for _, l := range kept {
		if s.cfg.MaxBytes == 0 || total <= s.cfg.MaxBytes {
			break
		}
		if m, ok, err := readMeta(s.metaPath(l.key)); err == nil && ok && m.end != growing && s.remove(l, &done) {
			total -= l.bytes
		}
	}
	if done.Logs > 0 {
		s.cfg.Logger.Info("old logs removed", "logs", done.Logs, "bytes", done.Bytes, "kept_bytes", total)
	}
	return done, nil
}

// stored is a log on disk.
type stored struct {
	key     Key
	bytes   int64
	changed time.Time
}

// list finds all logs on disk. A log may be there by its meta only.
func (s *Store) list(ctx context.Context) ([]stored, error) {
	jobs, err := filepath.Glob(filepath.Join(s.cfg.Dir, "[0-9a-f][0-9a-f]", "*"))
	if err != nil {
		return nil, err
	}
	var all []stored
	for _, dir := range jobs {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		all = appendStored(all, filepath.Base(dir), entries)
	}
	return all, nil
}

// appendStored joins the files of one job's directory into logs.
func appendStored(all []stored, job string, entries []fs.DirEntry) []stored {
	byUID := map[string]stored{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			// Removed meanwhile.
			continue
		}
		uid, isLog := strings.CutSuffix(e.Name(), logSuffix)
		uid, isMeta := strings.CutSuffix(uid, metaSuffix)
		l := byUID[uid]
		l.key = Key{JobUID: job, AssignmentUID: uid}
		if !isLog && !isMeta || l.key.check() != nil {
			continue
		}
		if isLog {
			l.bytes = info.Size()
		}
		if info.ModTime().After(l.changed) {
			l.changed = info.ModTime()
		}
		byUID[uid] = l
	}
	for _, l := range byUID {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b stored) int { return cmp.Compare(a.key.String(), b.key.String()) })
	return all
}

// remove takes a log from the disk unless it is in use.
func (s *Store) remove(l stored, done *Collected) bool {
	entry := s.seize(l.key)
	if entry == nil {
		return false
	}
	defer s.done(entry)
	// Nobody had the log, and whoever came since waits.
	entry.turn <- struct{}{}
	defer entry.unlock()
	if err := s.unlink(l.key); err != nil {
		s.cfg.Logger.Warn("log cannot be removed", "log", l.key.String(), "error", err)
		return false
	}
	entry.removed = true
	s.mu.Lock()
	delete(s.logs, l.key)
	s.mu.Unlock()
	done.Logs++
	done.Bytes += l.bytes
	return true
}

// seize uses a log that nobody uses, or returns nil.
func (s *Store) seize(key Key) *log {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logs[key]
	if !ok {
		l = newLog(key)
		s.logs[key] = l
	}
	if l.uses > 0 {
		return nil
	}
	l.uses++
	return l
}

// unlink removes the files of a log. The bytes go first: a meta without them tells
// a reader that the log was removed, and the next Collect removes it.
func (s *Store) unlink(key Key) error {
	path := s.logPath(key)
	s.files.forget(path)
	for _, p := range []string{path, s.metaPath(key)} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// Only the last log of a job takes the directory with it.
	if err := os.Remove(filepath.Dir(path)); err != nil {
		s.cfg.Logger.Trace("directory of logs stays", "job", key.JobUID, "error", err)
	}
	return nil
}

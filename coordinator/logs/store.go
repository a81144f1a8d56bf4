// Package logs keeps the coordinator's copy of each log of a job: it takes what
// agents push, and gives it to any number of readers, who follow without polling.
//
// A log is the raw bytes that one assignment wrote, at absolute offsets. The copy
// grows while somebody reads it (Wants tells the agent's side so) and is completed
// when the assignment is over. Until then the agent keeps the log, and the copy is
// only that: what is lost of it is pushed again from where it ends.
//
// On disk:
//
//	format                 magic and version
//	xx/JOB/ASSIGNMENT.log  the bytes
//	xx/JOB/ASSIGNMENT.meta whether it is complete, see meta
//
// Durability: bytes are written to the file before Append returns, and synced by
// Complete only. After a crash of the process nothing is lost. After a crash of
// the machine an incomplete copy may have lost bytes in the middle, which read as
// zeros: it is cut there when it is first used (see repair), and the agent pushes
// the rest again. A complete copy has lost nothing.
//
// When the disk is full up to the reserve, Append returns ErrNoSpace and keeps
// what it has. The agent's push ends with that error; the agent keeps its log and
// tries again later.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/internal/atomicfile"
)

// Kinds of errors, for errors.Is.
var (
	// ErrGap: the bytes begin after the end of the copy. See GapError.
	ErrGap = errors.New("bytes are missing before the offset")
	// ErrComplete: the log is complete, and the call would change it.
	ErrComplete = errors.New("log is complete already")
	// ErrNoSpace: the disk is full up to the reserve.
	ErrNoSpace = errors.New("no space left for logs")
	// ErrUnknown: nobody knows the assignment.
	ErrUnknown = errors.New("unknown assignment")
	// ErrInvalid: the call makes no sense.
	ErrInvalid = errors.New("invalid request")
	// ErrRemoved: the log is not kept any more.
	ErrRemoved = errors.New("log was removed to make room")
	// ErrFormat: the file was written by a newer program.
	ErrFormat = errors.New("unknown format of logs")
)

// GapError is an ErrGap that tells where the copy ends: push from there.
type GapError struct{ Size, Offset int64 }

func (e *GapError) Error() string {
	return fmt.Sprintf("%v: the copy ends at %d, the bytes begin at %d", ErrGap, e.Size, e.Offset)
}

// Is makes a GapError an ErrGap.
func (e *GapError) Is(target error) bool { return target == ErrGap }

// Key names a log.
type Key struct{ JobUID, AssignmentUID string }

func (k Key) String() string { return k.JobUID + "/" + k.AssignmentUID }

func (k Key) check() error {
	for _, uid := range []string{k.JobUID, k.AssignmentUID} {
		if uid == "" || len(uid) > 128 || strings.Trim(uid, uidBytes) != "" {
			return fmt.Errorf("log %.300q: %w: not a name for a file", k.String(), ErrInvalid)
		}
	}
	return nil
}

const uidBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// Wants is told which logs agents should push. It is called by Run alone, one call
// at a time, and must not block for long.
type Wants interface {
	// Follow asks for the log from this offset on, as it grows.
	Follow(assignmentUID string, from int64)
	// Unfollow says that nobody reads it any more.
	Unfollow(assignmentUID string)
}

// Config of a store.
type Config struct {
	// Dir is the store's own directory.
	Dir string
	// Wants is told what is read. Nil means nobody.
	Wants Wants
	// BootID of this machine's kernel: a copy that was written before a reboot is
	// checked for bytes that never reached the disk. Empty means no check.
	BootID string
	// Linger is how long a log is still followed after its last reader left. Zero
	// means 3 seconds.
	Linger time.Duration
	// MaxOpen bounds the open files. Zero means 256.
	MaxOpen int
	// MaxAge is how long a log is kept after its last change. Zero means for ever.
	MaxAge time.Duration
	// MaxBytes bounds all logs; the oldest are removed first. Zero means no bound.
	MaxBytes int64
	// Reserve is how many bytes of the disk are left free. Zero means the smaller
	// of 1 GiB and 5 % of the disk; negative means none.
	Reserve int64
	// Now tells the time. Nil means time.Now.
	Now func() time.Time
	// Space tells the free and the total bytes of the disk that dir is on. Nil asks
	// the operating system.
	Space func(dir string) (free, total int64, err error)
	// Logger is told what was cut or removed. Nil means none.
	Logger hclog.Logger
}

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case !filepath.IsAbs(c.Dir):
		return fmt.Errorf("log directory %q is not an absolute path", c.Dir)
	case c.Linger < 0, c.MaxOpen < 0, c.MaxAge < 0, c.MaxBytes < 0:
		return errors.New("a limit of logs is negative")
	case strings.ContainsAny(c.BootID, " \n"):
		return fmt.Errorf("boot id %q has spaces", c.BootID)
	}
	return nil
}

func (c *Config) setDefaults() {
	if c.Linger == 0 {
		c.Linger = 3 * time.Second
	}
	if c.MaxOpen == 0 {
		c.MaxOpen = 256
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
}

// maxIdle bounds the logs whose state is kept in memory though nobody uses them.
const maxIdle = 4096

// Store is the logs of one coordinator. All methods may be called at any time by
// any number of goroutines.
type Store struct {
	cfg   Config
	files *files
	// wake tells Run that demands changed.
	wake chan struct{}

	mu sync.Mutex
	// logs that are in use, or were lately.
	logs map[Key]*log
	// demands by assignment, see demand.go.
	demands map[string]*demand
	// changed are the assignments whose demand Run has to look at.
	changed []string
}

const (
	formatName    = "format"
	formatMagic   = "stix-logs "
	formatVersion = "1"
)

// New opens the store in cfg.Dir and makes it if it is not there. One process at
// a time may have it open.
func New(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open log directory: %w", err)
	}
	if err := checkFormat(filepath.Join(cfg.Dir, formatName)); err != nil {
		return nil, fmt.Errorf("open log directory %s: %w", cfg.Dir, err)
	}
	return &Store{
		cfg: cfg, files: newFiles(cfg.MaxOpen), wake: make(chan struct{}, 1),
		logs: map[Key]*log{}, demands: map[string]*demand{},
	}, nil
}

func checkFormat(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return atomicfile.Write(path, []byte(formatMagic+formatVersion+"\n"), 0o600)
	}
	if err != nil {
		return err
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(string(data)), formatMagic)
	if !ok || version != formatVersion {
		return fmt.Errorf("%w: %q, this program knows version %s", ErrFormat, data, formatVersion)
	}
	return nil
}

// Append adds bytes of a log. Those that the copy has already are ignored, so that
// a push may be repeated; bytes after its end are a GapError. It returns the size
// of the copy, also with an error where it is known.
func (s *Store) Append(ctx context.Context, key Key, offset int64, data []byte) (int64, error) {
	l, err := s.use(key)
	if err != nil {
		return 0, err
	}
	defer s.done(l)
	return s.append(ctx, l, offset, data)
}

// Complete says that the log has this size and will not grow any more. When it
// returns nil the copy is durable. It is a GapError if bytes are missing.
func (s *Store) Complete(ctx context.Context, key Key, size int64) error {
	l, err := s.use(key)
	if err != nil {
		return err
	}
	defer s.done(l)
	return s.complete(ctx, l, size)
}

// Abandon ends a log whose node is lost: readers see the end of it where the copy
// ends. If the node comes back, Append opens it again.
func (s *Store) Abandon(ctx context.Context, key Key) error {
	l, err := s.use(key)
	if err != nil {
		return err
	}
	defer s.done(l)
	return s.abandon(ctx, l)
}

// Size returns the size of the copy and whether the log ends there. A log that was
// never pushed has size 0.
func (s *Store) Size(key Key) (size int64, complete bool, err error) {
	l, err := s.use(key)
	if err != nil {
		return 0, false, err
	}
	defer s.done(l)
	st := l.state()
	return st.size, st.end != growing, nil
}

// use returns the log in the state that it has on disk or in memory, until done.
func (s *Store) use(key Key) (*log, error) {
	if err := key.check(); err != nil {
		return nil, err
	}
	l := s.entry(key)
	l.once.Do(func() { l.failed = s.load(l) })
	if l.failed != nil {
		s.done(l)
		return nil, fmt.Errorf("open log %v: %w", key, l.failed)
	}
	return l, nil
}

func (s *Store) entry(key Key) *log {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logs[key]
	if !ok {
		l = newLog(key)
		s.logs[key] = l
	}
	l.uses++
	return l
}

func (s *Store) done(l *log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.uses--
	if l.uses == 0 && s.logs[l.key] == l && (l.failed != nil || len(s.logs) > maxIdle) {
		delete(s.logs, l.key)
	}
}

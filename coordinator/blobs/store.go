// Package blobs keeps the uploaded files of tasks: a content-addressed store in
// one directory, where a blob is named by the SHA-256 of its bytes.
//
// What the store promises:
//
//   - A blob that was accepted survives a crash of the machine.
//   - A tree object that is there means that everything below it is there. It is
//     accepted only when its children are present, and removed before they are.
//   - What a client was told to be present stays for the time of the lease, and so
//     does what it uploaded: long enough for a record to refer to it.
//
// On disk:
//
//	format        magic and version
//	tmp/          uploads in progress, emptied by Open
//	tree/xx/HASH  tree objects whose children are present
//	file/xx/HASH  parts of files
//	copy/xx/HASH  parts of files that look like tree objects: they promise nothing
//	              about children, so that Missing does not count them as present
//
// Crash steps: an upload is written to tmp, synced, and renamed, parts before the
// tree objects that name them; a crash between leaves either garbage in tmp or
// blobs that nothing refers to, which Collect removes. Collect unlinks parents
// before children, so that a crash in the middle leaves no tree without them. The
// order on disk is ensured by a barrier between the steps (syncBarrier).
package blobs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/internal/atomicfile"
	"github.com/stix-run/stix/internal/diskspace"
	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Limits of blobs.
const (
	// MaxFileBytes bounds a part of a file.
	MaxFileBytes = tree.PartSize
	// MaxTreeBytes bounds a tree object.
	MaxTreeBytes = tree.MaxTreeBytes
	// MaxHashes bounds the hashes in one call of Missing or Fetch.
	MaxHashes = 1 << 20
)

// Kinds of errors, for errors.Is.
var (
	// ErrNotFound: the blob is not in the store.
	ErrNotFound = errors.New("blob is not in the store")
	// ErrMismatch: the bytes do not have the hash that they were sent under.
	ErrMismatch = errors.New("content does not match its hash")
	// ErrChildMissing: a tree object came before something that it names.
	ErrChildMissing = errors.New("tree object names a blob that is not in the store")
	// ErrTooLarge: a blob, or the number of hashes in a call, is over the limit.
	ErrTooLarge = errors.New("over the limit")
	// ErrNoSpace: the disk is full up to the reserve.
	ErrNoSpace = errors.New("no space left for uploads")
	// ErrInvalid: the call makes no sense (bad hash, bad order of pieces, a tree
	// object that is none).
	ErrInvalid = errors.New("invalid request")
	// ErrFormat: the directory was written by a newer program.
	ErrFormat = errors.New("unknown format of the blob directory")
)

const (
	formatName    = "format"
	formatMagic   = "stix-blobs "
	formatVersion = "1"

	dirTemp = "tmp"
	dirTree = "tree"
	dirFile = "file"
	dirCopy = "copy"
)

// spaces are where a blob may be, the best promise first.
func spaces() []string { return []string{dirTree, dirFile, dirCopy} }

// Config of a store.
type Config struct {
	// Dir is the store's own directory.
	Dir string
	// Lease is how long a blob is kept that no record refers to. Zero means an hour.
	Lease time.Duration
	// Reserve is how many bytes of the disk are left free. Zero means the smaller
	// of 1 GiB and 5 % of the disk; negative means none.
	Reserve int64
	// Now tells the time. Nil means time.Now.
	Now func() time.Time
	// Space tells the free and the total bytes of the disk that dir is on. Nil asks
	// the operating system.
	Space func(dir string) (free, total int64, err error)
	// Logger is told what was collected. Nil means none.
	Logger hclog.Logger
}

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case !filepath.IsAbs(c.Dir):
		return fmt.Errorf("blob directory %q is not an absolute path", c.Dir)
	case c.Lease < 0:
		return fmt.Errorf("lease %v is negative", c.Lease)
	}
	return nil
}

func (c *Config) setDefaults() {
	if c.Lease == 0 {
		c.Lease = time.Hour
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
}

// Store is the blobs of one coordinator. All methods may be called at any time by
// any number of goroutines.
type Store struct {
	cfg Config
	// opened is when leases of the time before were lost with the memory.
	opened time.Time
	// collecting lets one Collect run at a time.
	collecting chan struct{}
	// temps numbers the files in tmp.
	temps atomic.Int64

	mu sync.Mutex
	// leases by hash.
	leases map[string]*lease
	// leased counts the leases given to blobs that had none. Collect looks whether
	// there were any since it marked.
	leased uint64
	// calls numbers the calls of lease.
	calls uint64
	// dying are blobs that Collect is about to unlink. They count as absent; the
	// channel is closed when the file is gone.
	dying map[string]chan struct{}
}

// New opens the store in cfg.Dir and makes it if it is not there. It removes what
// uploads left that a crash interrupted. One process at a time may have it open.
func New(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	if err := prepare(cfg.Dir); err != nil {
		return nil, fmt.Errorf("open blob directory %s: %w", cfg.Dir, err)
	}
	return &Store{
		cfg: cfg, opened: cfg.Now(), collecting: make(chan struct{}, 1),
		leases: map[string]*lease{}, dying: map[string]chan struct{}{},
	}, nil
}

func prepare(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := checkFormat(filepath.Join(dir, formatName)); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, dirTemp)); err != nil {
		return err
	}
	for _, space := range append(spaces(), dirTemp) {
		if err := os.MkdirAll(filepath.Join(dir, space), 0o700); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(dir)
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

func (s *Store) path(space, hash string) string {
	return filepath.Join(s.cfg.Dir, space, hash[:2], hash)
}

// Missing returns those of the hashes that are not in the store, in the same
// order, and puts a lease on those that are, with everything below them.
func (s *Store) Missing(hashes []string) ([]string, error) {
	if len(hashes) > MaxHashes {
		return nil, fmt.Errorf("%w: %d hashes in one call, at most %d", ErrTooLarge, len(hashes), MaxHashes)
	}
	var missing []string
	for _, hash := range hashes {
		if !tree.ValidHash(hash) {
			return nil, fmt.Errorf("%w: %.100q is no hash", ErrInvalid, hash)
		}
		present, err := s.hold(hash, dirTree, dirFile)
		if err != nil {
			return nil, err
		}
		if !present {
			missing = append(missing, hash)
		}
	}
	return missing, nil
}

// hold reports whether the blob is in one of the spaces, and leases it if so. The
// lease comes first: a blob that is seen after it cannot be collected any more.
func (s *Store) hold(hash string, in ...string) (bool, error) {
	call, dying := s.lease(hash, 0)
	if dying != nil {
		return false, nil
	}
	present, err := s.present(hash, in)
	if !present {
		s.release(hash, call)
	}
	return present, err
}

func (s *Store) present(hash string, in []string) (bool, error) {
	for _, space := range in {
		_, err := os.Lstat(s.path(space, hash))
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("look for blob %s: %w", hash, err)
		}
	}
	return false, nil
}

// lease is a promise to keep a blob.
type lease struct {
	until time.Time
	// pins count the uploads under way that rely on the blob: until they end, so
	// does the lease not.
	pins int
	// call is the last call that extended it.
	call uint64
}

// lease keeps the blob for the time of the lease from now on, and as long as it
// has pins. While the blob is being removed it returns the channel that is closed
// when that is done, instead.
func (s *Store) lease(hash string, pins int) (call uint64, dying <-chan struct{}) {
	until := s.cfg.Now().Add(s.cfg.Lease)
	s.mu.Lock()
	defer s.mu.Unlock()
	if dying, ok := s.dying[hash]; ok {
		return 0, dying
	}
	l, known := s.leases[hash]
	if !known {
		s.leased++
		l = &lease{}
		s.leases[hash] = l
	}
	s.calls++
	l.until, l.call = until, s.calls
	l.pins += pins
	return s.calls, nil
}

// release drops the lease on a blob that is not there, unless another call has
// extended it since.
func (s *Store) release(hash string, call uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[hash]; l != nil && l.call == call && l.pins == 0 {
		delete(s.leases, hash)
	}
}

// unpin ends what an upload relied on. From now on the time of the lease runs.
func (s *Store) unpin(hashes []string) {
	until := s.cfg.Now().Add(s.cfg.Lease)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hash := range hashes {
		l := s.leases[hash]
		l.pins--
		l.until = until
	}
}

// Blob is an open blob.
type Blob struct {
	io.ReadCloser
	Size int64
}

// Open returns the bytes of a blob, or ErrNotFound. What is open can be read to
// its end also when it is collected meanwhile.
func (s *Store) Open(hash string) (*Blob, error) {
	if !tree.ValidHash(hash) {
		return nil, fmt.Errorf("%w: %.100q is no hash", ErrInvalid, hash)
	}
	for _, space := range spaces() {
		f, err := os.Open(s.path(space, hash))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open blob %s: %w", hash, err)
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("open blob %s: %w", hash, err)
		}
		return &Blob{ReadCloser: f, Size: info.Size()}, nil
	}
	return nil, fmt.Errorf("open blob %s: %w", hash, ErrNotFound)
}

// Copy writes the bytes of a blob to w and verifies them: on ErrMismatch the file
// in the store is damaged, and what was written is not the blob.
func (s *Store) Copy(w io.Writer, hash string) (int64, error) {
	b, err := s.Open(hash)
	if err != nil {
		return 0, err
	}
	defer b.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), b)
	if err != nil {
		return n, fmt.Errorf("copy blob %s: %w", hash, err)
	}
	if hex.EncodeToString(h.Sum(nil)) != hash {
		return n, fmt.Errorf("copy blob %s: %w", hash, ErrMismatch)
	}
	return n, nil
}

// readTree returns the tree object, or false when the blob is none.
func (s *Store) readTree(hash string) (*stixv1.Tree, bool, error) {
	data, err := os.ReadFile(s.path(dirTree, hash))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read tree object %s: %w", hash, err)
	}
	t, err := tree.Decode(data)
	if err != nil {
		return nil, false, fmt.Errorf("read tree object %s: %w", hash, err)
	}
	return t, true, nil
}

// room errors when less than the reserve would be free after need more bytes.
func (s *Store) room(need int64) error {
	err := diskspace.Reserve{Path: s.cfg.Dir, Bytes: s.cfg.Reserve, Space: s.cfg.Space}.Room(need)
	if errors.Is(err, diskspace.ErrReserve) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

package blobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// An upload is made durable in batches: one for all its blobs, unless they are
// more or larger than this.
const (
	batchBlobs = 4096
	batchBytes = 256 << 20
)

// Put stores one blob; what is there already is read and dropped. When it returns
// nil the blob is durable and has a lease.
func (s *Store) Put(ctx context.Context, hash string, kind stixv1.BlobKind, r io.Reader) error {
	b := s.newBatch()
	p := piece{hash: hash, kind: kind}
	if err := p.check(); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(r, p.limit()+1))
	if err != nil {
		return fmt.Errorf("read blob %s: %w", hash, err)
	}
	if err := p.append(data); err != nil {
		return err
	}
	if err := b.add(&p); err != nil {
		return errors.Join(err, b.commit(ctx))
	}
	return b.commit(ctx)
}

// Upload takes the messages of BlobService.Upload from next until io.EOF. It
// answers when all blobs are durable. On an error those that arrived whole are
// kept, so that a client that tries again has less to send.
func (s *Store) Upload(ctx context.Context, next func() (*stixv1.UploadRequest, error)) (*stixv1.UploadResponse, error) {
	u := &upload{store: s, batch: s.newBatch(), answer: &stixv1.UploadResponse{}}
	if err := u.receive(ctx, next); err != nil {
		return nil, errors.Join(err, u.batch.commit(context.WithoutCancel(ctx)))
	}
	if err := u.batch.commit(ctx); err != nil {
		return nil, err
	}
	return u.answer, nil
}

// upload is one call of Upload.
type upload struct {
	store  *Store
	batch  *batch
	answer *stixv1.UploadResponse
	// now is the blob that is arriving.
	now     piece
	arrives bool
}

func (u *upload) receive(ctx context.Context, next func() (*stixv1.UploadRequest, error)) error {
	for {
		m, err := next()
		if errors.Is(err, io.EOF) {
			if u.arrives {
				return fmt.Errorf("upload blob %s: %w: the stream ended in the middle", u.now.hash, ErrInvalid)
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := u.take(ctx, m); err != nil {
			return err
		}
	}
}

func (u *upload) take(ctx context.Context, m *stixv1.UploadRequest) error {
	if !u.arrives {
		u.now = piece{hash: m.GetHash(), kind: m.GetKind(), data: u.now.data[:0]}
		if err := u.now.check(); err != nil {
			return err
		}
		u.arrives = true
	} else if h := m.GetHash(); h != "" && h != u.now.hash {
		return fmt.Errorf("upload blob %s: %w: %.100q came before its end", u.now.hash, ErrInvalid, h)
	}
	if err := u.now.append(m.GetData()); err != nil {
		return err
	}
	if !m.GetLast() {
		return nil
	}
	u.arrives = false
	if err := u.batch.add(&u.now); err != nil {
		return err
	}
	u.answer.Blobs++
	u.answer.Bytes += int64(len(u.now.data))
	if len(u.batch.pending) < batchBlobs && u.batch.bytes < batchBytes {
		return nil
	}
	err := u.batch.commit(ctx)
	u.batch = u.store.newBatch()
	return err
}

// piece is a blob in memory, whole or still arriving.
type piece struct {
	hash string
	kind stixv1.BlobKind
	data []byte
}

func (p *piece) check() error {
	switch {
	case !tree.ValidHash(p.hash):
		return fmt.Errorf("upload blob: %w: %.100q is no hash", ErrInvalid, p.hash)
	case p.kind != stixv1.BlobKind_BLOB_KIND_FILE && p.kind != stixv1.BlobKind_BLOB_KIND_TREE:
		return fmt.Errorf("upload blob %s: %w: unknown kind %v", p.hash, ErrInvalid, p.kind)
	}
	return nil
}

func (p *piece) limit() int64 {
	if p.kind == stixv1.BlobKind_BLOB_KIND_TREE {
		return MaxTreeBytes
	}
	return MaxFileBytes
}

func (p *piece) append(data []byte) error {
	if int64(len(p.data)+len(data)) > p.limit() {
		return fmt.Errorf("upload blob %s: %w: a blob of this kind has at most %d bytes", p.hash, ErrTooLarge, p.limit())
	}
	p.data = append(p.data, data...)
	return nil
}

// space is where the blob belongs.
func (p *piece) space() string {
	switch {
	case p.kind == stixv1.BlobKind_BLOB_KIND_TREE:
		return dirTree
	case tree.HasMagic(p.data):
		return dirCopy
	}
	return dirFile
}

// key is one place for one blob: the same bytes may be there as tree and as part.
type key struct{ space, hash string }

// waiting is a blob in tmp.
type waiting struct {
	temp string
	// level orders the renames: 0 for parts, and for a tree object one more than
	// the highest of its children in the batch.
	level int
}

// batch is what becomes durable together.
type batch struct {
	store   *Store
	pending map[key]waiting
	bytes   int64
	// pinned are the blobs that must stay until the batch is done, however long an
	// upload takes.
	pinned []string
}

func (s *Store) newBatch() *batch {
	return &batch{store: s, pending: map[key]waiting{}}
}

// add checks a blob that arrived whole and writes it to tmp.
func (b *batch) add(p *piece) error {
	if sum := sha256.Sum256(p.data); hex.EncodeToString(sum[:]) != p.hash {
		return fmt.Errorf("upload blob %s: %w", p.hash, ErrMismatch)
	}
	k := key{space: p.space(), hash: p.hash}
	level := 0
	if p.kind == stixv1.BlobKind_BLOB_KIND_TREE {
		var err error
		if level, err = b.checkTree(p); err != nil {
			return fmt.Errorf("upload tree object %s: %w", p.hash, err)
		}
	}
	if _, ok := b.pending[k]; ok {
		return nil
	}
	if held, err := b.hold(p.hash, k.space); held || err != nil {
		return err
	}
	temp, err := b.store.writeTemp(p.data)
	if err != nil {
		return fmt.Errorf("upload blob %s: %w", p.hash, err)
	}
	b.pending[k] = waiting{temp: temp, level: level}
	b.bytes += int64(len(p.data))
	return nil
}

// checkTree makes sure of the promise that a tree object makes, and returns its
// level in the batch. Children in the store get a lease with it.
func (b *batch) checkTree(p *piece) (int, error) {
	t, err := tree.Decode(p.data)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	level := 1
	for hash, kind := range tree.Children(t) {
		in := spaces()
		if kind == stixv1.BlobKind_BLOB_KIND_TREE {
			in = in[:1]
		}
		below, found := b.find(hash, in)
		if found {
			level = max(level, below+1)
			continue
		}
		held, err := b.hold(hash, in...)
		if err != nil {
			return 0, err
		}
		if !held {
			return 0, fmt.Errorf("%w: %s", ErrChildMissing, hash)
		}
	}
	return level, nil
}

// hold is Store.hold until the end of the batch.
func (b *batch) hold(hash string, in ...string) (bool, error) {
	if _, dying := b.store.lease(hash, 1); dying != nil {
		return false, nil
	}
	b.pinned = append(b.pinned, hash)
	return b.store.present(hash, in)
}

// find looks for a child among the blobs of the batch.
func (b *batch) find(hash string, in []string) (level int, found bool) {
	for _, space := range in {
		if w, ok := b.pending[key{space: space, hash: hash}]; ok {
			return w.level, true
		}
	}
	return 0, false
}

func (s *Store) writeTemp(data []byte) (string, error) {
	if err := s.room(int64(len(data))); err != nil {
		return "", err
	}
	path := filepath.Join(s.cfg.Dir, dirTemp, strconv.FormatInt(s.temps.Add(1), 10))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		os.Remove(path)
		return "", noSpace(err)
	}
	return path, nil
}

// noSpace gives the errors of a full disk their kind.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// commit makes all blobs of the batch durable, children before the tree objects
// that name them. After an error some may be in the store, never a tree object
// without its children.
func (b *batch) commit(ctx context.Context) error {
	defer func() {
		b.store.unpin(b.pinned)
		b.pinned = nil
	}()
	if err := b.place(ctx); err != nil {
		for _, w := range b.pending {
			// What has been renamed is not in tmp any more.
			if err := os.Remove(w.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
				b.store.cfg.Logger.Debug("temporary file stays until the next start", "file", w.temp, "error", err)
			}
		}
		return fmt.Errorf("store %d blobs: %w", len(b.pending), noSpace(err))
	}
	return nil
}

func (b *batch) place(ctx context.Context) error {
	levels := map[int][]key{}
	temps := make([]string, 0, len(b.pending))
	for k, w := range b.pending {
		levels[w.level] = append(levels[w.level], k)
		temps = append(temps, w.temp)
	}
	if err := syncBarrier(b.store.cfg.Dir, temps); err != nil {
		return err
	}
	for _, level := range slices.Sorted(maps.Keys(levels)) {
		if err := b.rename(ctx, levels[level]); err != nil {
			return err
		}
	}
	return nil
}

// rename moves blobs to their places and makes that durable.
func (b *batch) rename(ctx context.Context, keys []key) error {
	dirs := map[string]bool{}
	for _, k := range keys {
		if err := b.claim(ctx, k.hash); err != nil {
			return err
		}
		to := b.store.path(k.space, k.hash)
		dir := filepath.Dir(to)
		if !dirs[dir] {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			// The directory may be new, so that its own name counts too.
			dirs[dir], dirs[filepath.Dir(dir)] = true, true
		}
		if err := os.Rename(b.pending[k].temp, to); err != nil {
			return err
		}
	}
	return syncBarrier(b.store.cfg.Dir, slices.Collect(maps.Keys(dirs)))
}

// claim pins a blob that is about to be put in its place. If an old one is being
// removed, it waits until that is gone.
func (b *batch) claim(ctx context.Context, hash string) error {
	for {
		_, dying := b.store.lease(hash, 1)
		if dying == nil {
			b.pinned = append(b.pinned, hash)
			return nil
		}
		select {
		case <-dying:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pieceBytes is how much of a blob one message of Fetch carries.
const pieceBytes = 256 << 10

// Fetch sends the blobs in order, in the pieces of AgentDataService.FetchBlobs. A
// blob that is not there is ErrNotFound, after those before it were sent. The
// message is used again when send has returned.
func (s *Store) Fetch(ctx context.Context, hashes []string, send func(*stixv1.FetchBlobsResponse) error) error {
	if len(hashes) > MaxHashes {
		return fmt.Errorf("%w: %d hashes in one call, at most %d", ErrTooLarge, len(hashes), MaxHashes)
	}
	buf := make([]byte, pieceBytes)
	for _, hash := range hashes {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := s.fetch(hash, buf, send); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) fetch(hash string, buf []byte, send func(*stixv1.FetchBlobsResponse) error) error {
	b, err := s.Open(hash)
	if err != nil {
		return err
	}
	defer b.Close()
	m := &stixv1.FetchBlobsResponse{Hash: hash}
	for left := b.Size; !m.Last; {
		m.Data = buf[:min(left, int64(len(buf)))]
		if _, err := io.ReadFull(b, m.Data); err != nil {
			return fmt.Errorf("read blob %s: %w", hash, err)
		}
		left -= int64(len(m.Data))
		m.Last = left == 0
		if err := send(m); err != nil {
			return err
		}
	}
	return nil
}

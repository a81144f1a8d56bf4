package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const (
	// uploadPiece bounds one message of an upload.
	uploadPiece = 256 << 10
	// missingBatch bounds the hashes of one Missing call: 64 bytes each.
	missingBatch = 8192
)

// Upload sends what of the trees the server does not hold, children before the
// tree objects that name them. When it holds the roots it holds everything: that
// costs one small call. Sent counts what went over the wire.
//
// A file that changed since its tree was built ends it with tree.ErrChanged in
// the error's chain: build the tree again.
func (c *Client) Upload(ctx context.Context, trees ...*tree.Result) (sent Sent, err error) {
	var roots []string
	var objects []tree.Object
	for _, t := range trees {
		roots = append(roots, t.Root)
		for _, hash := range t.Order {
			objects = append(objects, t.Objects[hash])
		}
	}
	if len(roots) == 0 {
		return sent, nil
	}
	r := retry{c: c, patience: c.cfg.Patience}
	fewest := len(objects) + 1
	for {
		left, err := c.uploadOnce(ctx, roots, objects, &sent)
		if left > 0 && left < fewest {
			fewest = left
			r.moved()
		}
		if err == nil {
			return sent, nil
		}
		if !r.again(ctx, err) {
			return sent, c.explain(ctx, err)
		}
	}
}

// Sent is what an upload sent.
type Sent struct {
	Blobs int64
	Bytes int64
}

// uploadOnce asks anew what is missing: what an earlier attempt brought over is
// not sent again. Left is how many were missing when it asked.
func (c *Client) uploadOnce(ctx context.Context, roots []string, objects []tree.Object, sent *Sent) (left int, err error) {
	missing, err := c.missing(ctx, roots)
	if err != nil || len(missing) == 0 {
		return 0, err
	}
	hashes := make([]string, len(objects))
	for i, o := range objects {
		hashes[i] = o.Hash
	}
	if missing, err = c.missing(ctx, hashes); err != nil || len(missing) == 0 {
		return 0, err
	}
	return len(missing), c.send(ctx, objects, missing, sent)
}

func (c *Client) missing(ctx context.Context, hashes []string) (map[string]bool, error) {
	missing := map[string]bool{}
	for len(hashes) > 0 {
		n := min(len(hashes), missingBatch)
		res, err := c.blobs.Missing(ctx, &stixv1.MissingRequest{Hashes: hashes[:n]})
		if err != nil {
			return nil, err
		}
		for _, h := range res.GetHashes() {
			missing[h] = true
		}
		hashes = hashes[n:]
	}
	return missing, nil
}

func (c *Client) send(ctx context.Context, objects []tree.Object, missing map[string]bool, sent *Sent) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.blobs.Upload(ctx)
	if err != nil {
		return err
	}
	put := func(m *stixv1.UploadRequest) error {
		if err := stream.Send(m); err != nil {
			return err
		}
		sent.Bytes += int64(len(m.GetData()))
		return nil
	}
	for _, o := range objects {
		if !missing[o.Hash] {
			continue
		}
		delete(missing, o.Hash) // the same content may occur twice
		if err := sendObject(o, put); err != nil {
			return uploadError(stream, err)
		}
		sent.Blobs++
	}
	_, err = stream.CloseAndReceive()
	return err
}

// uploadError returns the server's reason where it closed the stream: Send
// itself only says that it is closed.
func uploadError(stream interface {
	CloseAndReceive() (*stixv1.UploadResponse, error)
}, err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	if _, reason := stream.CloseAndReceive(); reason != nil {
		return reason
	}
	return err
}

func sendObject(o tree.Object, put func(*stixv1.UploadRequest) error) error {
	content, err := o.Open()
	if err != nil {
		return &Error{Kind: Invalid, Message: fmt.Sprintf("read file for upload: %v", err), cause: err}
	}
	defer content.Close()
	hash, kind := o.Hash, o.Kind
	buf := make([]byte, uploadPiece)
	for {
		n, err := io.ReadFull(content, buf)
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			return &Error{Kind: Invalid, Message: fmt.Sprintf("read file for upload: %v", err), cause: err}
		}
		msg := &stixv1.UploadRequest{Hash: hash, Kind: kind, Data: buf[:n], Last: last}
		if err := put(msg); err != nil || last {
			return err
		}
		hash, kind = "", stixv1.BlobKind_BLOB_KIND_UNSPECIFIED
	}
}

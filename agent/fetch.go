package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/agent/files"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
)

// fetchBlobs gets blobs through the bulk connection.
func fetchBlobs(data stixv1connect.AgentDataServiceClient) files.Fetch {
	return func(ctx context.Context, hashes []string, recv func(string, io.Reader) error) (err error) {
		ctx, cancel := context.WithCancel(ctx)
		stream, err := data.FetchBlobs(ctx, &stixv1.FetchBlobsRequest{Hashes: hashes})
		if err != nil {
			cancel()
			return err
		}
		defer func() {
			cancel() // first: closing reads the rest of an open stream
			_ = stream.Close()
		}()
		for _, hash := range hashes {
			b := &blob{stream: stream, hash: hash}
			if err := recv(hash, b); err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, b); err != nil {
				return err
			}
		}
		return nil
	}
}

// blob reads one blob from a stream of many.
type blob struct {
	stream *connect.ServerStreamForClient[stixv1.FetchBlobsResponse]
	hash   string
	rest   []byte
	last   bool
}

// Read implements io.Reader.
func (b *blob) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.last {
			return 0, io.EOF
		}
		if !b.stream.Receive() {
			return 0, errors.Join(fmt.Errorf("blob %s: %w", b.hash, io.ErrUnexpectedEOF), b.stream.Err())
		}
		m := b.stream.Msg()
		if m.GetHash() != b.hash {
			return 0, fmt.Errorf("blob %s: coordinator sent %s", b.hash, m.GetHash())
		}
		b.rest, b.last = m.GetData(), m.GetLast()
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

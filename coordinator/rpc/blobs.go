package rpc

import (
	"context"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/coordinator/auth"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// maxHashes bounds one question.
const maxHashes = 100_000

// Missing is part of BlobService.
func (s *server) Missing(ctx context.Context, req *stixv1.MissingRequest) (*stixv1.MissingResponse, error) {
	if err := auth.Allow(subjectOf(ctx), auth.Upload, auth.Object{Kind: "blob"}); err != nil {
		return nil, err
	}
	if len(req.Hashes) > maxHashes {
		return nil, refuse(KindInvalid, "", "%d hashes in one question; at most %d", len(req.Hashes), maxHashes)
	}
	missing, err := s.Blobs.Missing(req.Hashes)
	if err != nil {
		return nil, err
	}
	return &stixv1.MissingResponse{Hashes: missing}, nil
}

// Upload is part of BlobService.
func (s *server) Upload(ctx context.Context, stream *connect.ClientStream[stixv1.UploadRequest]) (*stixv1.UploadResponse, error) {
	if err := auth.Allow(subjectOf(ctx), auth.Upload, auth.Object{Kind: "blob"}); err != nil {
		return nil, err
	}
	return s.Blobs.Upload(ctx, receiver(stream))
}

// receiver makes a function of a stream: io.EOF at its end.
func receiver[T any](stream *connect.ClientStream[T]) func() (*T, error) {
	return func() (*T, error) {
		if stream.Receive() {
			return stream.Msg(), nil
		}
		return nil, endOf(stream.Err())
	}
}

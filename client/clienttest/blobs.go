package clienttest

import (
	"context"
	"io"

	"connectrpc.com/connect"

	"github.com/stix-run/stix/internal/tree"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Blobs returns how many blobs are held.
func (s *Server) Blobs() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.blobs)
}

// Missing tells which blobs are not held.
func (s *Server) Missing(ctx context.Context, req *stixv1.MissingRequest) (*stixv1.MissingResponse, error) {
	return unary(s, ctx, "Missing", req, func() (*stixv1.MissingResponse, error) {
		res := &stixv1.MissingResponse{}
		for _, h := range req.GetHashes() {
			if _, held := s.blobs[h]; !held {
				res.Hashes = append(res.Hashes, h)
			}
		}
		return res, nil
	})
}

// Upload takes blobs and refuses those whose bytes are not what they are named.
func (s *Server) Upload(ctx context.Context, stream *connect.ClientStream[stixv1.UploadRequest]) (*stixv1.UploadResponse, error) {
	fault := s.enter(ctx, "Upload", nil)
	res := &stixv1.UploadResponse{}
	hash, data := "", []byte(nil)
	for count := 0; stream.Receive(); count++ {
		if fault != nil && count >= fault.Messages {
			return nil, fault.hit(ctx)
		}
		m := stream.Msg()
		if m.GetHash() != "" {
			hash, data = m.GetHash(), nil
		}
		data = append(data, m.GetData()...)
		if !m.GetLast() {
			continue
		}
		if tree.Hash(data) != hash {
			return nil, Errorf(connect.CodeInvalidArgument, "blob %s has other bytes", hash)
		}
		s.mu.Lock()
		s.blobs[hash] = data
		s.mu.Unlock()
		res.Blobs++
		res.Bytes += int64(len(data))
	}
	if err := stream.Err(); err != nil && err != io.EOF {
		return nil, err
	}
	return res, nil
}

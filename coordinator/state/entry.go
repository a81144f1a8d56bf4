package state

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	logv1 "github.com/stix-run/stix/proto/stix/log/v1"
)

// An entry in the log is a magic, one byte of format version, and a logv1.Entry.
const (
	entryMagic   = "stixE"
	entryVersion = 1
)

func encodeEntry(e *logv1.Entry) ([]byte, error) {
	head := append([]byte(entryMagic), entryVersion)
	size := marshal.Size(e)
	b, err := proto.MarshalOptions{Deterministic: true, UseCachedSize: true}.MarshalAppend(
		append(make([]byte, 0, len(head)+size), head...), e)
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	return b, nil
}

func decodeEntry(data []byte) (*logv1.Entry, error) {
	body, ok := bytes.CutPrefix(data, []byte(entryMagic))
	if !ok || len(body) == 0 {
		return nil, errors.New("not an entry of stix")
	}
	if v := body[0]; v != entryVersion {
		return nil, fmt.Errorf("entry has format %d, this build reads %d: it was written by a newer stix", v, entryVersion)
	}
	e := new(logv1.Entry)
	if err := unmarshal.Unmarshal(body[1:], e); err != nil {
		return nil, fmt.Errorf("decode entry: %w", err)
	}
	return e, nil
}

// Package bootstrap is the file that tells a new node where it belongs: it is
// rendered by whoever makes the machine and read by the agent there.
//
// It holds the join token, so it is as secret as the token until that is
// redeemed, and worthless afterwards.
package bootstrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

const (
	// Magic is the first thing that a bootstrap file says.
	Magic = "stix-bootstrap"
	// Version of the format that this program writes, and the newest it reads.
	Version = 1
	// FileName in the agent's directory.
	FileName = "bootstrap.json"
)

// ErrNewer tells that a file was written by a newer program than this one.
var ErrNewer = errors.New("bootstrap file has a newer version")

// Bootstrap is what an agent must know before its first connection.
type Bootstrap struct {
	// NodeUID is the node that the agent is to be.
	NodeUID string `json:"node_uid"`
	// ClusterID is the identity of the coordinators, as in their certificates.
	ClusterID string `json:"cluster_id"`
	// ClusterName is the name of the user's cluster, for messages.
	ClusterName string `json:"cluster_name,omitempty"`
	// Coordinators are addresses for agents: "unix:///path" or "host:port".
	Coordinators []string `json:"coordinators"`
	// CAPin is the pin of the coordinators' CA, see package tlsconf.
	CAPin string `json:"ca_hash"`
	// JoinToken is redeemed once for a certificate.
	JoinToken string `json:"join_token"`
	// Home is $HOME of the jobs. Empty means that of the agent.
	Home string `json:"home,omitempty"`
	// Env are variables that the jobs get in addition to the agent's own, as
	// NAME=value. Empty on most clouds.
	Env []string `json:"env,omitempty"`
}

// file is a Bootstrap as it lies on disk.
type file struct {
	Magic   string `json:"magic"`
	Version int    `json:"version"`
	Bootstrap
}

// Validate returns what is missing or malformed.
func (b Bootstrap) Validate() error {
	switch {
	case b.NodeUID == "":
		return errors.New("bootstrap: node_uid is missing")
	case b.ClusterID == "":
		return errors.New("bootstrap: cluster_id is missing")
	case b.CAPin == "":
		return errors.New("bootstrap: ca_hash is missing")
	case len(b.Coordinators) == 0:
		return errors.New("bootstrap: coordinators are missing")
	case b.Home != "" && !filepath.IsAbs(b.Home):
		return fmt.Errorf("bootstrap: home %q is not absolute", b.Home)
	}
	for _, addr := range b.Coordinators {
		if _, _, err := SplitAddress(addr); err != nil {
			return err
		}
	}
	return nil
}

// SplitAddress returns the network ("unix" or "tcp") and the address of a
// coordinator, as net.Dial wants them.
func SplitAddress(addr string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		if !filepath.IsAbs(path) {
			return "", "", fmt.Errorf("coordinator address %q: socket path is not absolute", addr)
		}
		return "unix", path, nil
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return "", "", fmt.Errorf("coordinator address %q: want unix:///path or host:port", addr)
	}
	return "tcp", addr, nil
}

// Encode returns the file's content. It errors for what Decode would refuse.
func Encode(b Bootstrap) ([]byte, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(file{Magic: Magic, Version: Version, Bootstrap: b}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	return append(data, '\n'), nil
}

// Decode reads a file's content. A newer version is ErrNewer.
func Decode(data []byte) (Bootstrap, error) {
	var f file
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&f); err != nil {
		return Bootstrap{}, fmt.Errorf("bootstrap: %w", err)
	}
	switch {
	case f.Magic != Magic:
		return Bootstrap{}, errors.New("bootstrap: not a stix bootstrap file")
	case f.Version > Version:
		return Bootstrap{}, fmt.Errorf("%w: %d, this program knows up to %d", ErrNewer, f.Version, Version)
	case f.Version < 1:
		return Bootstrap{}, fmt.Errorf("bootstrap: bad version %d", f.Version)
	}
	return f.Bootstrap, f.Validate()
}

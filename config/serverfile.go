package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ServerFile is what server.json says: the server that this user's commands
// talk to, and what is known of its process if it runs on this machine.
type ServerFile struct {
	// Endpoint is where it listens.
	Endpoint Endpoint
	// PID is its process on this machine, 0 for a server elsewhere.
	PID int
	// Build is the build of the program, to notice an old one.
	Build string
	// StartedAt is when it began to serve, zero for a server elsewhere.
	StartedAt time.Time
	// AutoStarted says that a command started it by itself, and may replace it.
	AutoStarted bool
}

// The head of the file: what it is, and the newest form that is known here.
const (
	serverFileMagic   = "stix-server"
	serverFileVersion = 1
)

// serverFileForm is the file as it is written.
type serverFileForm struct {
	Magic       string    `json:"magic"`
	Version     int       `json:"version"`
	Endpoint    string    `json:"endpoint"`
	PID         int       `json:"pid,omitempty"`
	Build       string    `json:"build,omitempty"`
	StartedAt   time.Time `json:"started_at,omitzero"`
	AutoStarted bool      `json:"auto_started"`
}

// EncodeServerFile is the content of server.json.
func EncodeServerFile(f ServerFile) ([]byte, error) {
	form := serverFileForm{
		Magic: serverFileMagic, Version: serverFileVersion, Endpoint: f.Endpoint.Socket,
		PID: f.PID, Build: f.Build, StartedAt: f.StartedAt, AutoStarted: f.AutoStarted,
	}
	if form.Endpoint == "" {
		form.Endpoint = f.Endpoint.URL
	}
	data, err := json.MarshalIndent(form, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", ServerFileName, err)
	}
	data = append(data, '\n')
	if _, err := ParseServerFile(data); err != nil {
		return nil, fmt.Errorf("encode %w", err)
	}
	return data, nil
}

// ErrNewer is the kind of error for a file that a newer build wrote.
var ErrNewer = errors.New("written by a newer stix")

// ParseServerFile reads the content of server.json. Fields that a later build
// adds to this version are passed over; a later version is refused.
func ParseServerFile(data []byte) (ServerFile, error) {
	var form serverFileForm
	if err := json.Unmarshal(data, &form); err != nil {
		return ServerFile{}, fmt.Errorf("%s is damaged: %w", ServerFileName, err)
	}
	switch {
	case form.Magic != serverFileMagic:
		return ServerFile{}, fmt.Errorf("%s is no file of stix", ServerFileName)
	case form.Version > serverFileVersion:
		return ServerFile{}, fmt.Errorf("%s has version %d, and this build knows %d: %w", ServerFileName, form.Version, serverFileVersion, ErrNewer)
	case form.Version < 1:
		return ServerFile{}, fmt.Errorf("%s has no version", ServerFileName)
	case form.PID < 0:
		return ServerFile{}, fmt.Errorf("%s has the process number %d", ServerFileName, form.PID)
	}
	e, err := ParseEndpoint(form.Endpoint)
	if err != nil {
		return ServerFile{}, fmt.Errorf("%s: %w", ServerFileName, err)
	}
	return ServerFile{e, form.PID, form.Build, form.StartedAt, form.AutoStarted}, nil
}

package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stix-run/stix/internal/atomicfile"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// Names in the directory of a job.
const (
	fileAlive  = "alive"
	fileStart  = "start"
	filePID    = "pid"
	fileKill   = "kill"
	fileExit   = "exit"
	fileErrors = "shim.err"
	fileIndex  = "log.index"
)

// fileVersion is that of the files between agent and shim. An agent reads what a
// shim of another release wrote, so a change means a new version.
const fileVersion = 1

// ErrNewer tells that a file was written by a newer program than this one.
var ErrNewer = errors.New("file has a newer version")

// header is the beginning of each file.
type header struct {
	Magic   string `json:"magic"`
	Version int    `json:"version"`
}

func headerOf(kind string) header { return header{Magic: "stix-job-" + kind, Version: fileVersion} }

func (h header) check(kind string) error {
	switch {
	case h.Magic != "stix-job-"+kind:
		return fmt.Errorf("not a file of kind %s", kind)
	case h.Version > fileVersion:
		return fmt.Errorf("%w: %d, this program knows up to %d", ErrNewer, h.Version, fileVersion)
	case h.Version < 1:
		return fmt.Errorf("bad version %d", h.Version)
	}
	return nil
}

// startFile says that the user's shell may have been started.
type startFile struct {
	header
	ShimPID int    `json:"shim_pid"`
	BootID  string `json:"boot_id"`
	At      int64  `json:"at"`
}

// pidFile says that the user's shell was started.
type pidFile struct {
	header
	PID int64 `json:"pid"`
	At  int64 `json:"at"`
}

// killFile says how to kill.
type killFile struct {
	header
	GraceMillis int64 `json:"grace_ms"`
}

// exitFile says how it ended.
type exitFile struct {
	header
	Outcome   string `json:"outcome"`
	Code      int32  `json:"code"`
	Signal    int    `json:"signal,omitempty"`
	Message   string `json:"message,omitempty"`
	PID       int64  `json:"pid,omitempty"`
	StartedAt int64  `json:"started_at,omitempty"`
	EndedAt   int64  `json:"ended_at"`
	LogBytes  int64  `json:"log_bytes"`
	LostBytes int64  `json:"lost_bytes,omitempty"`
}

// Words for outcomes in exit files.
const (
	wordExited     = "exited"
	wordKilled     = "killed"
	wordNotStarted = "not_started"
)

func (e exitFile) result() (Result, error) {
	r := Result{ExitCode: e.Code, Message: e.Message, At: e.EndedAt, LogBytes: e.LogBytes}
	switch e.Outcome {
	case wordExited:
		r.Outcome = stixv1.Outcome_OUTCOME_EXITED
	case wordKilled:
		r.Outcome = stixv1.Outcome_OUTCOME_KILLED
	case wordNotStarted:
		r.Outcome = stixv1.Outcome_OUTCOME_NOT_STARTED
	default:
		return Result{}, fmt.Errorf("unknown outcome %q", e.Outcome)
	}
	if e.LogBytes < 0 {
		return Result{}, fmt.Errorf("bad log size %d", e.LogBytes)
	}
	return r, nil
}

// decodeExit reads an exit file.
func decodeExit(data []byte) (exitFile, Result, error) {
	var e exitFile
	if err := json.Unmarshal(data, &e); err != nil {
		return e, Result{}, fmt.Errorf("exit file: %w", err)
	}
	if err := e.check(fileExit); err != nil {
		return e, Result{}, fmt.Errorf("exit file: %w", err)
	}
	r, err := e.result()
	if err != nil {
		return e, Result{}, fmt.Errorf("exit file: %w", err)
	}
	return e, r, nil
}

// readExit reads the exit file of a job; it is fs.ErrNotExist while it runs.
func readExit(dir string) (exitFile, Result, error) {
	data, err := os.ReadFile(filepath.Join(dir, fileExit))
	if err != nil {
		return exitFile{}, Result{}, err
	}
	return decodeExit(data)
}

func readStart(dir string) (startFile, error) {
	var s startFile
	return s, readFile(dir, fileStart, &s, &s.header)
}

func readPID(dir string) (pidFile, error) {
	var p pidFile
	return p, readFile(dir, filePID, &p, &p.header)
}

func readKill(dir string) (killFile, error) {
	var k killFile
	return k, readFile(dir, fileKill, &k, &k.header)
}

func readFile(dir, kind string, into any, h *header) error {
	data, err := os.ReadFile(filepath.Join(dir, kind))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("file %s: %w", kind, err)
	}
	if err := h.check(kind); err != nil {
		return fmt.Errorf("file %s: %w", kind, err)
	}
	return nil
}

// writeFile puts a file in place in one step, but leaves it to the kernel when it
// reaches the disk: after a crash of the machine the job is lost with or without
// it.
func writeFile(dir, kind string, content any) error {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, kind)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// writeExit puts the exit file in place, durably.
func writeExit(dir string, e exitFile) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, fileExit), data, 0o600)
}

// payload is what the agent tells the shim: this line in JSON, then the script.
type payload struct {
	header
	Home         string `json:"home"`
	Log          string `json:"log"`
	BootID       string `json:"boot_id"`
	UID          string `json:"uid"`
	KeepChildren bool   `json:"keep_children"`
	LogSegment   int64  `json:"log_segment,omitempty"`
	ScriptBytes  int    `json:"script_bytes"`
	script       []byte
}

const maxPayload = 64 << 20

func (p payload) encode() ([]byte, error) {
	p.header, p.ScriptBytes = headerOf("payload"), len(p.script)
	line, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return append(append(line, '\n'), p.script...), nil
}

// readPayload reads what encode made. The error is io.ErrUnexpectedEOF when the
// agent ended while it wrote, or before.
func readPayload(r io.Reader) (payload, error) {
	var p payload
	dec := json.NewDecoder(r)
	if err := dec.Decode(&p); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return p, err
	}
	if err := p.check("payload"); err != nil {
		return p, err
	}
	if p.ScriptBytes < 0 || p.ScriptBytes > maxPayload {
		return p, fmt.Errorf("payload of %d bytes", p.ScriptBytes)
	}
	rest := io.MultiReader(dec.Buffered(), r)
	p.script = make([]byte, 1+p.ScriptBytes) // with the newline after the line
	if _, err := io.ReadFull(rest, p.script); err != nil {
		return p, io.ErrUnexpectedEOF
	}
	p.script = p.script[1:]
	return p, nil
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func millis(d time.Duration) int64 { return int64(d / time.Millisecond) }

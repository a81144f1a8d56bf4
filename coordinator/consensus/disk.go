package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/stix-run/stix/internal/atomicfile"
)

const (
	logFile      = "raft.db"
	snapshotsDir = "snapshots"
	// retainSnapshots leaves an older snapshot to fall back to.
	retainSnapshots = 2
	// lockWait is how long to wait for a previous coordinator to let go of the log.
	lockWait = time.Second

	formatMagic   = "stix-raft"
	formatVersion = 1
)

// keyFormat holds magic, version and owner of the log's file.
var keyFormat = []byte("stix/format")

// openDisk opens or creates the stores in a directory for the node of that id.
func openDisk(dir, id string, logger hclog.Logger) (stores, error) {
	if err := prepareDirs(dir); err != nil {
		return stores{}, err
	}
	path := filepath.Join(dir, logFile)
	if err := createLog(path, id); err != nil {
		return stores{}, fmt.Errorf("create %s: %w", path, err)
	}
	bolt, err := openBolt(path)
	if err != nil {
		return stores{}, fmt.Errorf("open %s: %w", path, err)
	}
	if err := checkFormat(bolt, id); err != nil {
		return stores{}, errors.Join(fmt.Errorf("open %s: %w", path, err), bolt.Close())
	}
	if err := sweepSnapshots(dir); err != nil {
		return stores{}, errors.Join(err, bolt.Close())
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, retainSnapshots, logger)
	if err != nil {
		return stores{}, errors.Join(fmt.Errorf("open snapshots: %w", err), bolt.Close())
	}
	return stores{log: bolt, stable: bolt, snapshots: snapshots, closer: bolt}, nil
}

// prepareDirs creates the directories before the library would, whose modes let
// others look in.
func prepareDirs(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, snapshotsDir), 0o700); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(dir); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(dir))
}

// createLog makes a log that exists completely or not at all: bolt refuses a file
// that a crash left half initialised. What a crash leaves beside it is overwritten
// by the next attempt.
func createLog(path, id string) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	bolt, err := openBolt(temp)
	if err != nil {
		return err
	}
	if err := errors.Join(bolt.Set(keyFormat, []byte(formatOf(id))), bolt.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// openBolt never turns fsync off. The free list is kept in memory and rebuilt when
// the file is opened: written with every transaction, it slows each one down after
// a burst, for ever.
func openBolt(path string) (*raftboltdb.BoltStore, error) {
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:        lockWait,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
		MsgpackUseNewTimeFormat: true,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, errors.New("in use by another coordinator")
	}
	return bolt, err
}

func checkFormat(bolt *raftboltdb.BoltStore, id string) error {
	format, err := bolt.Get(keyFormat)
	if err != nil {
		return fmt.Errorf("not a stix log: %w", err)
	}
	owner, err := parseFormat(string(format))
	if err != nil {
		return err
	}
	if owner != id {
		return fmt.Errorf("log belongs to coordinator %s, this is %s", owner, id)
	}
	return nil
}

func formatOf(id string) string {
	return fmt.Sprintf("%s %d %s", formatMagic, formatVersion, id)
}

// parseFormat returns whose log it is: "stix-raft VERSION OWNER".
func parseFormat(format string) (owner string, err error) {
	fields := strings.Split(format, " ")
	if len(fields) < 2 || fields[0] != formatMagic {
		return "", fmt.Errorf("not a stix log: format %q", format)
	}
	if fields[1] != strconv.Itoa(formatVersion) {
		return "", fmt.Errorf("log has version %s, this build reads %d", fields[1], formatVersion)
	}
	if len(fields) != 3 || fields[2] == "" {
		return "", fmt.Errorf("log without an owner: format %q", format)
	}
	return fields[2], nil
}

// sweepSnapshots removes what a crash left of snapshots that were being written;
// the library ignores those but keeps them.
func sweepSnapshots(dir string) error {
	path := filepath.Join(dir, snapshotsDir)
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		if err := os.RemoveAll(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

package logs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/stix-run/stix/internal/atomicfile"
)

// meta is the file beside a log: one line of magic, version, ending, boot id and
// size. While the log grows only the boot counts: the size is that of the file.
type meta struct {
	end  ending
	boot string
	size int64
}

const (
	metaMagic   = "stix-log"
	metaVersion = 1
	noBoot      = "-"
)

func endingNames() []string {
	return []string{growing: "growing", complete: "complete", abandoned: "abandoned"}
}

func (m meta) format() []byte {
	boot := m.boot
	if boot == "" {
		boot = noBoot
	}
	return fmt.Appendf(nil, "%s %d %s %s %d\n", metaMagic, metaVersion, endingNames()[m.end], boot, m.size)
}

// readMeta returns false for a meta that is not there or torn; a newer one is an
// error.
func readMeta(path string) (meta, bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return meta{}, false, nil
	}
	if err != nil {
		return meta{}, false, err
	}
	return parseMeta(string(data))
}

func parseMeta(data string) (meta, bool, error) {
	f := strings.Split(data, " ")
	if len(f) < 2 || f[0] != metaMagic {
		return meta{}, false, nil
	}
	if v, err := strconv.Atoi(strings.TrimSuffix(f[1], "\n")); err == nil && v > metaVersion {
		return meta{}, false, fmt.Errorf("%w: version %d is newer than this program's %d", ErrFormat, v, metaVersion)
	}
	if len(f) != 5 || f[1] != strconv.Itoa(metaVersion) || f[3] == "" {
		return meta{}, false, nil
	}
	number, whole := strings.CutSuffix(f[4], "\n")
	size, err := strconv.ParseInt(number, 10, 64)
	if err != nil || size < 0 || !whole {
		return meta{}, false, nil
	}
	for end, name := range endingNames() {
		if f[2] == name {
			return meta{end: ending(end), boot: strings.TrimPrefix(f[3], noBoot), size: size}, true, nil
		}
	}
	return meta{}, false, nil
}

const (
	logSuffix  = ".log"
	metaSuffix = ".meta"
)

// jobDir is two directories deep, so that none has too many entries.
func (s *Store) jobDir(jobUID string) string {
	sum := sha256.Sum256([]byte(jobUID))
	return filepath.Join(s.cfg.Dir, hex.EncodeToString(sum[:1]), jobUID)
}

func (s *Store) logPath(k Key) string {
	return filepath.Join(s.jobDir(k.JobUID), k.AssignmentUID+logSuffix)
}

func (s *Store) metaPath(k Key) string {
	return filepath.Join(s.jobDir(k.JobUID), k.AssignmentUID+metaSuffix)
}

// makeDir makes the directory of a job, durably.
func (s *Store) makeDir(k Key) error {
	dir := s.jobDir(k.JobUID)
	shard := filepath.Dir(dir)
	for _, d := range []string{shard, dir} {
		err := os.Mkdir(d, 0o700)
		if err == nil {
			err = atomicfile.SyncDir(filepath.Dir(d))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// noSpace gives the errors of a full disk their kind.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

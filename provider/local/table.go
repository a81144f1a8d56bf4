package local

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/stix-run/stix/internal/atomicfile"
	"github.com/stix-run/stix/internal/ids"
	"github.com/stix-run/stix/internal/machine"
)

// Format and version of table.json.
const (
	tableFormat  = "stix local machines"
	tableVersion = 1
)

// header is the content of table.json.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	// ID makes the ids of machines differ between tables: processes are told apart by them.
	ID string `json:"id"`
}

// table is the directory of all machines.
type table struct {
	root string
	id   string
}

// openTable opens the table, and makes it if there is none. Of two that make it at once, both get the same.
func openTable(root string) (*table, error) {
	t := &table{root: root}
	for _, dir := range []string{root, t.machines(), t.addresses(), t.gone(), t.building(), t.trash()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(root, "table.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createHeader(path); err != nil {
			return nil, err
		}
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	h, err := decodeHeader(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.id = h.ID
	return t, nil
}

func createHeader(path string) error {
	data, err := json.Marshal(header{Format: tableFormat, Version: tableVersion, ID: ids.Random(16)})
	if err != nil {
		return err
	}
	if err := atomicfile.Create(path, append(data, '\n'), 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func decodeHeader(data []byte) (header, error) {
	var h header
	if err := json.Unmarshal(data, &h); err != nil {
		return header{}, err
	}
	switch {
	case h.Format != tableFormat:
		return header{}, fmt.Errorf("format is %q, not %q", h.Format, tableFormat)
	case h.Version > tableVersion:
		return header{}, fmt.Errorf("written by a newer stix (version %d, this one knows %d)", h.Version, tableVersion)
	case h.Version < 1, h.ID == "":
		return header{}, errors.New("incomplete")
	}
	return h, nil
}

func (t *table) machines() string  { return filepath.Join(t.root, "machines") }
func (t *table) addresses() string { return filepath.Join(t.root, "addresses") }
func (t *table) gone() string      { return filepath.Join(t.root, "gone") }
func (t *table) building() string  { return filepath.Join(t.root, "building") }
func (t *table) trash() string     { return filepath.Join(t.root, "trash") }

// dir is where the machine lives. The id has been checked.
func (t *table) dir(id string) machine.Dir { return machine.Dir(filepath.Join(t.machines(), id)) }

var idPattern = regexp.MustCompile(`^m-[a-z2-7]{13}$`)

// machineID is the id of the machine that a token stands for.
func (t *table) machineID(token string) string {
	sum := sha256.Sum256([]byte(t.id + "\x00" + token))
	return "m-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:8]))
}

// load reads the record of a machine.
func (t *table) load(id string) (machine.Record, error) {
	if !idPattern.MatchString(id) {
		return machine.Record{}, notFound(id)
	}
	r, err := t.dir(id).Load()
	if errors.Is(err, fs.ErrNotExist) {
		return machine.Record{}, notFound(id)
	}
	return r, err
}

// change runs do with the lock and the record of a machine.
func (t *table) change(ctx context.Context, id string, do func(machine.Dir, machine.Record) error) error {
	if !idPattern.MatchString(id) {
		return notFound(id)
	}
	dir := t.dir(id)
	lock, err := dir.Lock(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return notFound(id)
	}
	if err != nil {
		return err
	}
	defer lock.Unlock()
	r, err := dir.Load()
	if err != nil {
		return err
	}
	return do(dir, r)
}

// ids returns the ids of all machines.
func (t *table) ids() ([]string, error) {
	names, err := readNames(t.machines())
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range names {
		if idPattern.MatchString(name) {
			found = append(found, name)
		}
	}
	return found, nil
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// place moves a finished machine from where it was built to where it is seen; false if it is there already.
func (t *table) place(built machine.Dir, id string) (bool, error) {
	err := os.Rename(string(built), string(t.dir(id)))
	if errors.Is(err, fs.ErrExist) { // also ENOTEMPTY
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, atomicfile.SyncDir(t.machines())
}

// used tells whether the machine was terminated.
func (t *table) used(id string) bool { return exists(filepath.Join(t.gone(), id)) }

// markGone notes for good that the machine was terminated.
func (t *table) markGone(id string) error {
	f, err := os.OpenFile(filepath.Join(t.gone(), id), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), atomicfile.SyncDir(t.gone()))
}

// temp is a new name in one of the table's directories.
func temp(dir, id string) string { return filepath.Join(dir, id+"."+ids.Random(8)) }

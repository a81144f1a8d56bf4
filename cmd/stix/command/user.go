package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/stix-run/stix/internal/atomicfile"
	"github.com/stix-run/stix/internal/ids"
)

// userHashFile keeps the user's id from one run to the next.
const userHashFile = "user_hash"

var userHash = regexp.MustCompile(`^[0-9a-f]{8}$`)

// user is who calls, as the user says.
type user struct{ name, id string }

// identify returns the user's name and id: the variables win, the id is
// otherwise made once and kept.
func (a *app) identify(stateDir string) (user, error) {
	u := user{name: a.sys.getenv("SKYPILOT_USER"), id: a.sys.getenv("SKYPILOT_USER_ID")}
	if u.name == "" {
		u.name = a.sys.UserName
	}
	if u.id != "" {
		return u, nil
	}
	var err error
	u.id, err = keptUserHash(filepath.Join(stateDir, userHashFile))
	return u, err
}

// keptUserHash reads the id, or makes and keeps one. Of two programs that do it
// at once, one creates the file and the other reads it.
func keptUserHash(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", fmt.Errorf("create the state directory: %w", err)
		}
		err = atomicfile.Create(path, []byte(ids.Random(4)+"\n"), 0o600)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("keep the user's id: %w", err)
		}
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fmt.Errorf("read the user's id: %w", err)
	}
	id := strings.TrimSpace(string(data))
	if !userHash.MatchString(id) {
		return "", fmt.Errorf("%s holds no user id (8 hex digits): remove it to get a new one", path)
	}
	return id, nil
}

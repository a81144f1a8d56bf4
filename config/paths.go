package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// HomeEnv is the variable that moves the state directory.
const HomeEnv = "STIX_HOME"

// The sockets of a server on this machine.
const (
	serverSocket = "stixd.sock"
	agentSocket  = "agents.sock"
)

// StateDir is where stix keeps what it keeps: STIX_HOME, else ~/.stix.
func StateDir(env func(string) string, home string) (string, error) {
	dir := env(HomeEnv)
	switch {
	case dir == "" && home == "":
		return "", fmt.Errorf("there is no home directory: set %s", HomeEnv)
	case dir == "":
		dir = filepath.Join(home, ".stix")
	case dir == "~" || strings.HasPrefix(dir, "~/"):
		dir = filepath.Join(home, dir[1:])
	}
	if !filepath.IsAbs(dir) {
		return "", fmt.Errorf("%s has to be an absolute path, not %q", HomeEnv, dir)
	}
	return filepath.Clean(dir), nil
}

// RuntimeDir is where sockets go that do not fit the state directory:
// XDG_RUNTIME_DIR, else a directory of the user in /tmp. The caller creates it
// (0700) and has to see that it belongs to the user alone.
func RuntimeDir(env func(string) string, uid int) string {
	if dir := env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Clean(dir)
	}
	return "/tmp/stix-" + strconv.Itoa(uid)
}

// SocketPath is where the server of a state directory listens for users: in
// the state directory, or in the runtime directory, under a name that only
// depends on the state directory, when the path would be longer than the
// system allows for a Unix socket.
func SocketPath(stateDir, runtimeDir string) (string, error) {
	return socketPath(stateDir, runtimeDir, serverSocket, maxSocketPath(runtime.GOOS))
}

// AgentSocketPath is the same for the socket that agents dial.
func AgentSocketPath(stateDir, runtimeDir string) (string, error) {
	return socketPath(stateDir, runtimeDir, agentSocket, maxSocketPath(runtime.GOOS))
}

func socketPath(stateDir, runtimeDir, name string, most int) (string, error) {
	path := filepath.Join(stateDir, name)
	if len(path) <= most {
		return path, nil
	}
	if runtimeDir == "" {
		return "", errors.New("the path of the state directory is too long for a socket, and there is no runtime directory: set XDG_RUNTIME_DIR or a shorter " + HomeEnv)
	}
	sum := sha256.Sum256([]byte(filepath.Clean(stateDir)))
	path = filepath.Join(runtimeDir, "stix-"+hex.EncodeToString(sum[:8])+"-"+name)
	if len(path) > most {
		return "", fmt.Errorf("the socket path %s has %d bytes, and the system allows %d: set a shorter %s", path, len(path), most, HomeEnv)
	}
	return path, nil
}

// maxSocketPath is the size of sun_path less the NUL at its end.
func maxSocketPath(goos string) int {
	if goos == "linux" {
		return 108 - 1
	}
	return 104 - 1
}

package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/config"
	"github.com/stix-run/stix/internal/buildinfo"
	"github.com/stix-run/stix/internal/unixsock"
)

// Files of a server in its state directory, beside server.json.
const (
	lockFile = "stixd.lock"
	logFile  = "stixd.log"
)

// answerLimit is how long a server may take to say that it is there.
const answerLimit = 3 * time.Second

// server is the server that this run talks to.
type server struct {
	endpoint config.Endpoint
	source   config.Source
	stateDir string
	// own is set for the server of the state directory, which this program may start.
	own bool
	// file is what server.json says; nil when there is none.
	file *config.ServerFile
}

// connect finds the server, sees to it that one's own runs, and makes the client.
func (a *app) connect(ctx context.Context) error {
	if a.client != nil {
		return nil
	}
	if err := a.findServer(); err != nil {
		return err
	}
	if a.server.own {
		if err := a.ensureServer(ctx); err != nil {
			return err
		}
	}
	return a.dial(ctx)
}

// dial makes the client for the server that was found.
func (a *app) dial(ctx context.Context) (err error) {
	if a.user, err = a.identify(a.server.stateDir); err != nil {
		return err
	}
	lost := &lostServer{a: a}
	a.client, err = client.New(client.Config{
		Endpoint:  endpointURL(a.server.endpoint),
		UserAgent: "stix/" + buildinfo.Version(),
		UserName:  a.user.name,
		UserID:    a.user.id,
		OnRetry:   func(error) { lost.retry(ctx) },
	})
	return err
}

func endpointURL(e config.Endpoint) string {
	if e.Socket != "" {
		return "unix://" + e.Socket
	}
	return e.URL
}

// lostServer is what is done while the server does not answer: one's own that
// crashed is started again, and when it takes longer than that, it is told once.
type lostServer struct {
	a *app

	// mu lets one of several calls at a time do it, and guards the fields below.
	mu    sync.Mutex
	since time.Time
	told  bool
}

func (l *lostServer) retry(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.a.server.own && l.a.crashed() {
		if err := l.a.ensureServer(ctx); err != nil && !l.told {
			l.a.notice("The stix server could not be started again: %v", err)
		}
	}
	now := l.a.sys.Now()
	if l.since.IsZero() {
		l.since = now
	}
	if !l.told && now.Sub(l.since) >= quiet {
		l.told = true
		l.a.notice("The stix server does not answer; waiting for it to return.")
	}
}

// findServer reads the configuration and server.json.
func (a *app) findServer() error {
	if a.server != nil {
		return nil
	}
	stateDir, err := config.StateDir(a.sys.getenv, a.sys.Home)
	if err != nil {
		return err
	}
	socket, err := config.SocketPath(stateDir, config.RuntimeDir(a.sys.getenv, os.Getuid()))
	if err != nil {
		return err
	}
	layered, err := a.configuration(stateDir)
	if err != nil {
		return err
	}
	data, file, err := readServerFile(stateDir)
	if err != nil {
		return err
	}
	endpoint, source, err := config.Server(config.Inputs{Env: a.sys.getenv, Config: layered, ServerFile: data, Socket: socket})
	if err != nil {
		return err
	}
	a.server = &server{endpoint: endpoint, source: source, stateDir: stateDir, file: file}
	a.server.own = source == config.AutoStart || (source == config.FromServerFile && endpoint.Socket == socket)
	return nil
}

// readServerFile reads server.json; a missing one is nil. A damaged file is an
// error: it may name a server elsewhere.
func readServerFile(stateDir string) ([]byte, *config.ServerFile, error) {
	path := filepath.Join(stateDir, config.ServerFileName)
	data, err := os.ReadFile(path)
	if absent(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	file, err := config.ParseServerFile(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, &file, nil
}

// configuration reads the user's and the project's file, where they are.
func (a *app) configuration(stateDir string) (config.Config, error) {
	var files []config.File
	for _, layer := range []struct {
		variable string
		defaults []string
	}{
		{"SKYPILOT_GLOBAL_CONFIG", []string{filepath.Join(stateDir, "config.yaml"), filepath.Join(a.sys.Home, ".sky", "config.yaml")}},
		{"SKYPILOT_PROJECT_CONFIG", []string{filepath.Join(a.sys.Dir, ".sky.yaml")}},
	} {
		file, err := a.configFile(layer.variable, layer.defaults)
		if err != nil {
			return config.Config{}, err
		}
		if file != nil {
			files = append(files, *file)
		}
	}
	if len(files) == 0 {
		return config.Config{}, nil
	}
	return config.Load(files...)
}

// configFile reads the file that the variable names, which must be there, or
// the first of the defaults that is.
func (a *app) configFile(variable string, defaults []string) (*config.File, error) {
	if path := a.sys.getenv(variable); path != "" {
		data, err := os.ReadFile(a.abs(path))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variable, err)
		}
		return &config.File{Name: path, Data: data}, nil
	}
	for _, path := range defaults {
		data, err := os.ReadFile(path)
		if err == nil {
			return &config.File{Name: path, Data: data}, nil
		}
		if !absent(err) {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
	}
	return nil, nil
}

// absent reports whether err says that there is no such file. What is wrong
// with the directory itself is told of when something has to be written.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// crashed tells whether one's own server went without being asked to: one that was
// stopped takes server.json along, and is not started again behind its user's back.
func (a *app) crashed() bool {
	_, file, err := readServerFile(a.server.stateDir)
	return err == nil && file != nil
}

// answers reports whether a server answers at a socket. That a connection is
// accepted does not say it: the kernel accepts them for a process that is ending.
func answers(ctx context.Context, socket string) bool {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://stixd/healthz", nil)
	if err != nil {
		return false
	}
	t := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return unixsock.Dial(ctx, socket) },
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return true
}

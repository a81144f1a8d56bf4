package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/config"
	"github.com/stix-run/stix/coordinator"
	"github.com/stix-run/stix/internal/atomicfile"
	"github.com/stix-run/stix/internal/buildinfo"
	"github.com/stix-run/stix/internal/filelock"
	"github.com/stix-run/stix/internal/ids"
	"github.com/stix-run/stix/internal/logcap"
	"github.com/stix-run/stix/internal/machine"
	"github.com/stix-run/stix/internal/seal"
	"github.com/stix-run/stix/internal/unixsock"
	"github.com/stix-run/stix/provider"
	"github.com/stix-run/stix/provider/all"
	"github.com/stix-run/stix/provider/local"
)

// options of one server.
type options struct {
	stateDir    string
	logLevel    string
	stderr      io.Writer
	autoStarted bool
}

// heldError says that another server has the state directory.
type heldError struct{ cause *filelock.HeldError }

func (e *heldError) Error() string {
	return fmt.Sprintf("a server runs already (pid %d)", e.cause.PID)
}

// serve serves one state directory until ctx ends. What it leaves in the directory is valid at every instant: the lock
// goes with the process, the sockets and server.json are replaced by the next server.
func serve(ctx context.Context, o options) error {
	level := hclog.LevelFromString(o.logLevel)
	if level == hclog.NoLevel {
		return fmt.Errorf("log level %q is none of trace, debug, info, warn, error", o.logLevel)
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "stixd", Level: level, Output: o.stderr})
	dir, err := prepare(o.stateDir)
	if err != nil {
		return err
	}
	lock, err := filelock.TryLock(filepath.Join(dir, "stixd.lock"))
	if held := (*filelock.HeldError)(nil); errors.As(err, &held) {
		return &heldError{held}
	} else if err != nil {
		return fmt.Errorf("lock the state directory: %w", err)
	}
	defer lock.Unlock()
	cfg, err := configure(dir, log)
	if err != nil {
		return err
	}
	if err := listen(dir, o, &cfg); err != nil {
		return err
	}
	c, err := coordinator.New(cfg)
	if err != nil {
		return errors.Join(err, cfg.Users.Close(), cfg.Agents.Close())
	}
	log.Info("serving", "state", dir, "pid", os.Getpid(), "version", cfg.Version)
	if o.autoStarted {
		stop := keepLogSmall(filepath.Join(dir, "stixd.log"))
		defer stop()
	}
	err = c.Run(ctx)
	if ctx.Err() != nil {
		log.Info("stopped")
	}
	return errors.Join(err, tidy(dir))
}

// keepLogSmall looks after the log that the command which started this server made for it.
func keepLogSmall(path string) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			logcap.Cap(path)
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// prepare makes the state directory the user's alone.
func prepare(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("the state directory cannot be used: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return "", fmt.Errorf("the state directory cannot be made private: %w", err)
	}
	return dir, nil
}

// configure gathers what the coordinator of a laptop is made of.
func configure(dir string, log hclog.Logger) (coordinator.Config, error) {
	id, err := identity(filepath.Join(dir, "coordinator.id"))
	if err != nil {
		return coordinator.Config{}, err
	}
	key, err := seal.LoadOrCreate(filepath.Join(dir, "sealing.key"))
	if err != nil {
		return coordinator.Config{}, err
	}
	build, err := buildinfo.Build()
	if err != nil {
		log.Warn("this build cannot be told from others", "error", err)
	}
	boot, err := machine.BootID()
	if err != nil {
		log.Warn("a reboot of this computer will not be noticed", "error", err)
	}
	drivers, err := openDrivers(dir, log)
	if err != nil {
		return coordinator.Config{}, err
	}
	return coordinator.Config{
		ID: id, DataDir: filepath.Join(dir, "server"), StateDir: dir, Drivers: drivers, Box: seal.NewBox(key),
		Version: buildinfo.Version(), Build: build, PID: os.Getpid(), BootID: boot,
		NewID: ids.New, NewToken: ids.Token, Logger: log,
	}, nil
}

// identity is this coordinator's id, made once.
func identity(path string) (string, error) {
	for {
		data, err := os.ReadFile(path)
		if err == nil {
			return strings.TrimSpace(string(data)), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read the coordinator's id: %w", err)
		}
		err = atomicfile.Create(path, []byte(ids.New()+"\n"), 0o600)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("write the coordinator's id: %w", err)
		}
	}
}

// openDrivers are the clouds of a laptop: local, with the agent's program that lies beside this one.
func openDrivers(dir string, log hclog.Logger) (map[string]provider.Driver, error) {
	agent, err := agentPath()
	if err != nil {
		return nil, err
	}
	return all.Drivers(all.Config{Local: &local.Config{
		Dir: filepath.Join(dir, "local"), AgentPath: agent, Environ: os.Environ(), Logger: log.Named("local"),
	}})
}

func agentPath() (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", fmt.Errorf("find this program's folder: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), "stix-agent")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("stix-agent has to lie beside stixd: %w", err)
	}
	return path, nil
}

// listen opens both sockets. server.json is there before the users' socket answers, because clients read it then.
func listen(dir string, o options, cfg *coordinator.Config) error {
	runtimeDir := config.RuntimeDir(os.Getenv, os.Getuid())
	users, err := socket(dir, runtimeDir, config.SocketPath)
	if err != nil {
		return err
	}
	agents, err := socket(dir, runtimeDir, config.AgentSocketPath)
	if err != nil {
		return err
	}
	cfg.AgentAddresses = []string{"unix://" + agents}
	if cfg.Agents, err = unixsock.Listen(agents); err != nil {
		return err
	}
	data, err := config.EncodeServerFile(config.ServerFile{
		Endpoint: config.Endpoint{Socket: users}, PID: os.Getpid(), Build: cfg.Build,
		StartedAt: time.Now(), AutoStarted: o.autoStarted,
	})
	if err == nil {
		err = atomicfile.Write(filepath.Join(dir, config.ServerFileName), data, 0o600)
	}
	if err == nil {
		var l net.Listener
		l, err = unixsock.Listen(users)
		cfg.Users = l
	}
	if err != nil {
		return errors.Join(err, cfg.Agents.Close())
	}
	return nil
}

// socket is where one listens; its directory may be the runtime directory, which is then made.
func socket(dir, runtimeDir string, path func(stateDir, runtimeDir string) (string, error)) (string, error) {
	p, err := path(dir, runtimeDir)
	if err != nil {
		return "", err
	}
	if err := unixsock.PrivateDir(filepath.Dir(p)); err != nil {
		return "", fmt.Errorf("make the directory of the socket: %w", err)
	}
	return p, nil
}

// tidy removes what would make a client look for a server that is gone.
func tidy(dir string) error {
	err := os.Remove(filepath.Join(dir, config.ServerFileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

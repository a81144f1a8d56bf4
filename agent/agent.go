// Package agent is the program on every machine: it dials a coordinator, carries
// out the orders that it gets, and tells what became of them. This package says
// what runs and who knows whom; the behaviour is in the packages below it.
//
// An agent may be killed and started again at any moment. What it must not forget
// is in its directory:
//
//	bootstrap.json  where the node belongs, see internal/bootstrap
//	agent.lock      held while an agent runs
//	node.key, node.crt, ca.crt  who the node is
//	journal.db, journal.key     orders and results, secrets sealed
//	files/          what the files of jobs on this node are known to be
//	jobs/UID/       what agent and shim tell each other of a job
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stix-run/stix/agent/exec"
	"github.com/stix-run/stix/agent/files"
	"github.com/stix-run/stix/agent/host"
	"github.com/stix-run/stix/agent/journal"
	"github.com/stix-run/stix/agent/logs"
	"github.com/stix-run/stix/agent/session"
	"github.com/stix-run/stix/internal/atomicfile"
	"github.com/stix-run/stix/internal/diskspace"
	"github.com/stix-run/stix/internal/filelock"
	"github.com/stix-run/stix/internal/seal"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/proto/stix/v1/stixv1connect"
)

// Agent is one agent.
type Agent struct {
	config Config
}

// New checks the configuration and reads the bootstrap file. It starts nothing.
func New(c Config) (*Agent, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	return &Agent{config: c}, nil
}

// Run is the agent until ctx ends; its jobs run on. It returns an error when it
// cannot begin, because another agent uses the directory say, and when it cannot
// put anything on record any more. It is called once.
func (a *Agent) Run(ctx context.Context) (err error) {
	c := a.config
	for _, dir := range []string{c.Dir, filepath.Join(c.Dir, "jobs"), c.Home} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
	}
	lock, err := filelock.TryLock(filepath.Join(c.Dir, "agent.lock"))
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := atomicfile.Sweep(c.Dir); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	j, err := openJournal(c.Dir)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	p, err := assemble(c, j)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return p.run(ctx)
}

func openJournal(dir string) (*journal.Journal, error) {
	key, err := seal.LoadOrCreate(filepath.Join(dir, "journal.key"))
	if err != nil {
		return nil, err
	}
	return journal.Open(filepath.Join(dir, "journal.db"), seal.NewBox(key))
}

// parts are the running parts of an agent.
type parts struct {
	config  Config
	journal *journal.Journal
	session *session.Session
	pusher  *logs.Pusher
	worker  *exec.Worker
	files   *logs.Files // nil where the logs are not files
}

func assemble(c Config, j *journal.Journal) (*parts, error) {
	p := &parts{config: c, journal: j}
	var err error
	if p.session, err = newSession(c, j); err != nil {
		return nil, err
	}
	data := p.session.Data()
	executor, source := c.Executor, c.Logs
	if executor == nil {
		if executor, err = newProcesses(c); err != nil {
			return nil, err
		}
		p.files = logs.NewFiles(p.logPath, c.Logger.Named("logs"))
		source = p.files
	}
	syncer := c.Syncer
	if syncer == nil {
		if syncer, err = newSyncer(c, data); err != nil {
			return nil, err
		}
	}
	p.pusher = logs.NewPusher(logs.PusherConfig{Client: data, Source: source, Logger: c.Logger.Named("logs")})
	boot := j.BootID()
	p.worker, err = exec.New(exec.Config{
		Executor: executor, Journal: j, Syncer: syncer, Observer: p.pusher, Home: c.Home,
		Rebooted: boot != "" && boot != c.BootID,
		Adopted:  func() error { return j.SetBootID(c.BootID) },
		Reserve:  c.reserve, Now: c.Now, Logger: c.Logger.Named("exec"),
		// An agent is idle nearly always, and what a burst of work took is not needed then.
		Idle: debug.FreeOSMemory,
	})
	return p, err
}

func (c Config) reserve() error {
	if c.ReserveBytes < 0 {
		return nil
	}
	return diskspace.Reserve{Path: c.Dir, Bytes: c.ReserveBytes}.Room(0)
}

func newSession(c Config, j *journal.Journal) (*session.Session, error) {
	return session.New(session.Config{
		Dir: c.Dir, NodeUID: c.Bootstrap.NodeUID, ClusterID: c.Bootstrap.ClusterID,
		Coordinators: c.Bootstrap.Coordinators, CAPin: c.Bootstrap.CAPin, JoinToken: c.Bootstrap.JoinToken,
		Hello: func() *stixv1.Hello {
			return &stixv1.Hello{Version: c.Version, BootId: c.BootID, Facts: host.Facts(c.Home)}
		},
		Dial: c.Dial, Outbox: j, Now: c.Now, Logger: c.Logger.Named("session"),
	})
}

func newProcesses(c Config) (*exec.Processes, error) {
	return exec.NewProcesses(exec.ProcessConfig{
		Dir: filepath.Join(c.Dir, "jobs"), Shim: []string{c.Program, "shim"},
		Env: append(append([]string{}, c.Env...), c.Bootstrap.Env...), BootID: c.BootID,
		LogSize: logs.Size, Now: c.Now, Logger: c.Logger.Named("exec"),
	})
}

func newSyncer(c Config, data stixv1connect.AgentDataServiceClient) (*files.Syncer, error) {
	return files.New(files.Config{
		Fetch: fetchBlobs(data), CacheDir: filepath.Join(c.Dir, "files"), BootID: c.BootID, Logger: c.Logger.Named("files"),
	})
}

// logPath tells the files of the logs where that of an assignment is.
func (p *parts) logPath(uid string) (string, error) {
	o, ok := p.worker.Order(uid)
	if !ok {
		return "", fmt.Errorf("assignment %s is unknown here", uid)
	}
	return exec.LogPath(p.config.Home, o)
}

// run is the list of what runs.
func (p *parts) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.worker.Run(ctx) })
	g.Go(func() error { return p.pusher.Run(ctx) })
	g.Go(func() error { return p.session.Run(ctx, handler{p}) })
	if p.files != nil {
		g.Go(func() error { return p.files.Run(ctx) })
	}
	return g.Wait()
}

// handler passes on what the coordinator says.
type handler struct{ *parts }

// Connected implements session.Handler.
func (h handler) Connected() { h.pusher.Connected() }

// Orders implements session.Handler.
func (h handler) Orders(o *stixv1.Orders) { h.worker.Orders(o) }

// FollowLog implements session.Handler.
func (h handler) FollowLog(f *stixv1.FollowLog) {
	h.pusher.Follow(f.GetAssignmentUid(), f.GetOffset(), f.GetStop())
}

// Forget implements session.Handler.
func (h handler) Forget(uids []string) { h.worker.Forget(uids) }

// Shim is the body of the process that runs the job in dir. It must do nothing
// else.
func Shim(dir string, env []string) error {
	return exec.Shim(exec.ShimConfig{
		Dir: dir, Stdin: os.Stdin, Alive: exec.AliveFile(), Env: env, OpenLog: openLog,
	})
}

func openLog(path, index string, segment int64) (exec.LogWriter, error) {
	return logs.NewWriter(logs.WriterConfig{Path: path, Index: index, SegmentBytes: segment,
		Now: func() int64 { return time.Now().UnixNano() },
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stix-run/stix/client"
	"github.com/stix-run/stix/internal/backoff"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/task"
)

const (
	startLimit = 20 * time.Second
	stopLimit  = 20 * time.Second
)

// site is a server with a home of its own.
type site struct {
	b      *bench
	home   string
	server *exec.Cmd
	client *client.Client
	// clusters that were launched by name.
	clusters map[string]bool
	// ended has the end of the server.
	ended chan error
}

// environment is that of a program whose user has this home: nothing of who measures gets in.
func environment(environ []string, home string) []string {
	var env []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if name == "HOME" || strings.HasPrefix(name, "STIX_") || strings.HasPrefix(name, "SKYPILOT_") || strings.HasPrefix(name, "XDG_") {
			continue
		}
		env = append(env, kv)
	}
	return append(env, "HOME="+home, "STIX_HOME="+stateDir(home))
}

func stateDir(home string) string { return filepath.Join(home, "state") }

func endpoint(home string) string { return "unix://" + filepath.Join(stateDir(home), "stixd.sock") }

// newHome makes a directory that nothing has used before.
func (b *bench) newHome(name string) (string, error) {
	return os.MkdirTemp(b.scratch, name)
}

// site returns the server of a name, started when it is asked for first. Measures that must not see each other's records
// have different ones.
func (b *bench) site(ctx context.Context, name string) (*site, error) {
	if s, ok := b.sites[name]; ok {
		return s, nil
	}
	home, err := b.newHome(name)
	if err != nil {
		return nil, err
	}
	c, err := dial(home)
	if err != nil {
		return nil, err
	}
	s := &site{b: b, home: home, client: c, clusters: map[string]bool{}, ended: make(chan error, 1)}
	// The server is not to die with the measure that was the first to need it.
	s.server = b.command(context.WithoutCancel(ctx), home, "stixd", "serve", "--state-dir", stateDir(home))
	if err := s.start(); err != nil {
		return nil, err
	}
	b.sites[name] = s
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if _, err := s.client.Info(ctx); err != nil {
		return nil, fmt.Errorf("the server does not answer: %w", err)
	}
	return s, nil
}

// start starts the server. It writes to a file: what it starts may hold a pipe for longer than it lives.
func (s *site) start() error {
	log, err := os.Create(s.logPath())
	if err != nil {
		return err
	}
	defer log.Close()
	s.server.Stdout, s.server.Stderr = log, log
	if err := s.server.Start(); err != nil {
		return err
	}
	go func() { s.ended <- s.server.Wait() }()
	return nil
}

func (s *site) logPath() string { return filepath.Join(s.home, "stixd.log") }

// lastWords is the end of what the server wrote.
func (s *site) lastWords() string {
	data, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

func dial(home string) (*client.Client, error) {
	return client.New(client.Config{Endpoint: endpoint(home), UserAgent: "stix-load", UserName: "load", UserID: "00000000", Patience: startLimit})
}

// pid of the server.
func (s *site) pid() int { return s.server.Process.Pid }

// cluster sees to it that a cluster of one local machine is up and has run a job.
func (s *site) cluster(ctx context.Context, name string) error {
	if s.clusters[name] {
		return nil
	}
	t, err := command("true")
	if err != nil {
		return err
	}
	s.clusters[name] = true
	res, err := s.client.Launch(ctx, &stixv1.LaunchRequest{ClusterName: name, Task: t})
	if err != nil {
		return fmt.Errorf("launch %s: %w", name, err)
	}
	if err := s.done(ctx, res.GetRequestId()); err != nil {
		return fmt.Errorf("launch %s: %w", name, err)
	}
	_, err = s.readLog(ctx, res.GetJobUid(), nil)
	return err
}

// command is the task of a command on a local machine.
func command(text string) (*stixv1.Task, error) {
	return task.FromCommand([]string{text}, task.Options{Resources: task.ResourceOptions{Infra: "local"}})
}

// done waits for the end of a request.
func (s *site) done(ctx context.Context, id string) error {
	for req, err := range s.client.FollowRequest(ctx, id) {
		if err != nil {
			return err
		}
		if req.GetState() == stixv1.RequestState_REQUEST_STATE_FAILED {
			return errors.New(req.GetError())
		}
	}
	return nil
}

// submit puts a job, or an array of that many, into the queue of a cluster.
func (s *site) submit(ctx context.Context, cluster, text string, array int64) (*stixv1.SubmitResponse, error) {
	t, err := command(text)
	if err != nil {
		return nil, err
	}
	return s.client.Submit(ctx, &stixv1.SubmitRequest{ClusterName: cluster, Task: t, NumJobs: array})
}

// readLog reads a job's log until the job is over, and returns its size. Each piece is shown to see, if there is one.
func (s *site) readLog(ctx context.Context, jobUID string, see func(data []byte) error) (int64, error) {
	var size int64
	var state stixv1.JobState
	for msg, err := range s.client.Logs(ctx, &stixv1.LogsRequest{JobUid: jobUID, Follow: true}) {
		if err != nil {
			return size, fmt.Errorf("read the log: %w", err)
		}
		if st := msg.GetState(); st != nil {
			state = st.GetState()
		}
		data := msg.GetChunk().GetData()
		size += int64(len(data))
		if see == nil || len(data) == 0 {
			continue
		}
		if err := see(data); err != nil {
			return size, err
		}
	}
	if state != stixv1.JobState_JOB_STATE_SUCCEEDED {
		return size, fmt.Errorf("the job ended as %v", state)
	}
	return size, nil
}

// run runs a command of stix and returns what it wrote if it failed.
func (s *site) run(ctx context.Context, args ...string) error {
	return s.b.stix(ctx, s.home, args...)
}

func (b *bench) stix(ctx context.Context, home string, args ...string) error {
	out, err := b.command(ctx, home, append([]string{"stix"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("stix %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// close takes the clusters down, then stops the server.
func (s *site) close(ctx context.Context) error {
	defer s.client.Close()
	down, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	var all []error
	for name := range s.clusters {
		all = append(all, s.down(down, name))
	}
	all = append(all, s.stop(ctx))
	if err := errors.Join(all...); err != nil {
		return fmt.Errorf("%w; the server wrote:\n%s", err, s.lastWords())
	}
	return nil
}

func (s *site) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	_ = s.server.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case err := <-s.ended:
		return err
	case <-ctx.Done():
		err := s.server.Process.Kill()
		<-s.ended
		return errors.Join(errors.New("the server does not stop"), err)
	}
}

func (s *site) down(ctx context.Context, name string) error {
	delete(s.clusters, name)
	res, err := s.client.Down(ctx, &stixv1.DownRequest{ClusterName: name})
	if err == nil {
		err = s.done(ctx, res.GetRequestId())
	}
	if err != nil {
		return fmt.Errorf("take %s down: %w", name, err)
	}
	return nil
}

// machineHome is the home directory on the only machine of a site.
func (s *site) machineHome() (string, error) {
	found, err := filepath.Glob(filepath.Join(stateDir(s.home), "local", "machines", "*", "home"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("there are %d machines, not one", len(found))
	}
	return found[0], nil
}

// until looks again and again whether something is so.
func until(ctx context.Context, every time.Duration, ok func() (bool, error)) error {
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		if err := backoff.Sleep(ctx, every); err != nil {
			return err
		}
	}
}

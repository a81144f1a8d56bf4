package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stix-run/stix/client/logview"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// logsDir is where logs are downloaded to, below the home directory.
const logsDir = "sky_logs"

// syncDown downloads the logs of jobs: the latest when no id is given.
func (a *app) syncDown(ctx context.Context, cluster string, ids []string) error {
	numbers, err := a.jobNumbers(ctx, cluster, ids)
	if err != nil {
		return a.noSuchJob(ctx, err, cluster, 0)
	}
	for _, number := range numbers {
		if err := a.syncDownJob(ctx, cluster, number); err != nil {
			return a.noSuchJob(ctx, err, cluster, number)
		}
	}
	return nil
}

// jobNumbers resolves ids and patterns of ids. 0 stands for the latest job.
func (a *app) jobNumbers(ctx context.Context, cluster string, ids []string) ([]int64, error) {
	if len(ids) == 0 {
		return []int64{0}, nil
	}
	var numbers []int64
	for _, id := range ids {
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			numbers = append(numbers, n)
			continue
		}
		res, err := a.client.ListJobs(ctx, &stixv1.ListJobsRequest{ClusterName: cluster, History: true})
		if err != nil {
			return nil, err
		}
		for _, v := range res.GetJobs() {
			n := v.GetJob().GetNumber()
			if ok, err := path.Match(id, fmt.Sprint(n)); ok && err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	if len(numbers) == 0 {
		a.notice("No job matches %s.", joined(ids))
	}
	return numbers, nil
}

// syncDownJob writes one job's logs. What an earlier, interrupted download left
// is overwritten.
func (a *app) syncDownJob(ctx context.Context, cluster string, number int64) (err error) {
	d := download{base: filepath.Join(a.sys.Home, logsDir, cluster), files: map[string]*os.File{}}
	defer func() { err = errors.Join(err, d.close()) }()
	for msg, err := range a.client.Logs(ctx, &stixv1.LogsRequest{ClusterName: cluster, Number: number}) {
		if err != nil {
			return err
		}
		if err := d.take(msg); err != nil {
			return fmt.Errorf("write logs: %w", err)
		}
	}
	if d.head == nil {
		return nil
	}
	return a.printf("Job %d logs: %s\n", d.head.GetNumber(), a.tilde(d.dir))
}

// tilde writes a path below the home directory as users do.
func (a *app) tilde(path string) string {
	if rest, ok := strings.CutPrefix(path, a.sys.Home+"/"); ok {
		return "~/" + rest
	}
	return path
}

// download writes the files of one job.
type download struct {
	base  string
	dir   string
	head  *stixv1.LogHead
	view  *logview.View
	files map[string]*os.File // by name below dir
}

func (d *download) take(msg *stixv1.LogsResponse) error {
	if h := msg.GetHead(); h != nil {
		if err := d.open(h); err != nil {
			return err
		}
	}
	if d.view == nil {
		return errors.New("the stream did not begin with its head")
	}
	if c := msg.GetChunk(); c != nil {
		if err := d.raw(c); err != nil {
			return err
		}
	}
	return d.view.Show(msg)
}

func (d *download) open(h *stixv1.LogHead) error {
	name := h.GetJobName()
	if name == "" {
		name = "-"
	}
	d.head = h
	d.dir = filepath.Join(d.base, fmt.Sprintf("%d-%s", h.GetNumber(), strings.ReplaceAll(name, "/", "_")))
	if err := os.MkdirAll(filepath.Join(d.dir, "tasks"), 0o700); err != nil {
		return err
	}
	merged, err := d.file("run.log")
	if err != nil {
		return err
	}
	d.view = logview.New(logview.Config{Out: merged})
	return nil
}

// raw writes a chunk to its node's own file, at its offset.
func (d *download) raw(c *stixv1.LogChunk) error {
	f, err := d.file(filepath.Join("tasks", rankFile(d.head, c)))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(c.GetData(), c.GetOffset())
	return err
}

// rankFile is SkyPilot's name of a node's log file (spec core 2.6). Setup logs
// of several nodes, one file on each node there, lie side by side here.
func rankFile(h *stixv1.LogHead, c *stixv1.LogChunk) string {
	node := "head"
	if c.GetNodeIndex() > 0 {
		node = fmt.Sprintf("worker%d", c.GetNodeIndex())
	}
	switch {
	case c.GetPhase() == stixv1.Phase_PHASE_SETUP && c.GetNodeIndex() == 0:
		return "setup.log"
	case c.GetPhase() == stixv1.Phase_PHASE_SETUP:
		return fmt.Sprintf("setup-%s.log", node)
	case h.GetClusterNodes() <= 1:
		return "run.log"
	}
	return fmt.Sprintf("%d-%s.log", c.GetRank(), node)
}

func (d *download) file(name string) (*os.File, error) {
	if f := d.files[name]; f != nil {
		return f, nil
	}
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		d.files[name] = f
	}
	return f, err
}

func (d *download) close() error {
	var err error
	if d.view != nil {
		err = d.view.Close()
	}
	for _, f := range d.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

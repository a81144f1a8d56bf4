package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/stix-run/stix/internal/backoff"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// serverLogPace is how often the server's log is looked at for more.
const serverLogPace = 200 * time.Millisecond

type apiLogsFlags struct {
	server, follow, noFollow bool
	tail                     int
}

func newAPILogs(a *app) *cobra.Command {
	var f apiLogsFlags
	cmd := newCommand("logs [OPTIONS] [REQUEST_ID]", "Stream the progress of a request, or the log of the server.",
		func(cmd *cobra.Command, args []string) error { return a.apiLogs(cmd, args, &f) })
	flags := cmd.Flags()
	flags.BoolVar(&f.server, "server-logs", false, "Stream the log of the stix server of this machine.")
	flags.IntVar(&f.tail, "tail", 0, "Lines of the server's log to show from the end; 0 is all.")
	flags.BoolVar(&f.follow, "follow", true, "Wait for more.")
	flags.BoolVar(&f.noFollow, "no-follow", false, "Print what there is and exit.")
	flags.StringP("log-path", "l", "", "Log file.")
	flags.StringArray("config", nil, "Configuration.")
	refuse(flags, "log-path", "config")
	return cmd
}

func (a *app) apiLogs(cmd *cobra.Command, args []string, f *apiLogsFlags) error {
	switch {
	case f.server == (len(args) > 0):
		return usage(cmd, "Give either a REQUEST_ID (see `stix api status -a`) or --server-logs.")
	case len(args) > 1:
		return usage(cmd, "Give one REQUEST_ID.")
	case f.tail < 0:
		return usage(cmd, "Invalid value for '--tail': %d is negative.", f.tail)
	}
	f.follow = f.follow && !f.noFollow
	if f.server {
		if err := a.findOwnServer(); err != nil {
			return err
		}
		return a.serverLog(cmd.Context(), f)
	}
	if err := a.connect(cmd.Context()); err != nil {
		return err
	}
	return a.requestLog(cmd.Context(), args[0], f.follow)
}

// requestLog prints the steps of a request as they come.
func (a *app) requestLog(ctx context.Context, id string, follow bool) error {
	var last *stixv1.Request
	shown := int64(0) // when the last step that was printed began
	for req, err := range a.client.FollowRequest(ctx, id) {
		if err != nil {
			return a.left(ctx, id, err)
		}
		last = req
		for _, step := range req.GetProgress() {
			if step.GetAt() <= shown {
				continue
			}
			shown = step.GetAt()
			at := time.Unix(0, step.GetAt()).Format("15:04:05")
			if err := a.printf("%s %s\n", a.out().dim(at), step.GetText()); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
	}
	if err := failedRequest(last); err != nil {
		return err
	}
	return a.printf("%s\n", resultText(last))
}

// serverLog prints the log file of one's own server.
func (a *app) serverLog(ctx context.Context, f *apiLogsFlags) error {
	path := filepath.Join(a.server.stateDir, logFile)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fail("there is no server log yet: %s", path)
	}
	if err != nil {
		return fmt.Errorf("read the server's log: %w", err)
	}
	defer file.Close()
	if f.tail > 0 {
		if err := seekLines(file, f.tail); err != nil {
			return fmt.Errorf("read the server's log: %w", err)
		}
	}
	for {
		if _, err := io.Copy(a.sys.Stdout, file); err != nil || !f.follow {
			return err
		}
		if backoff.Sleep(ctx, serverLogPace) != nil {
			return silently(exitError)
		}
	}
}

// seekLines moves to the beginning of the last n lines.
func seekLines(f io.ReadSeeker, n int) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	const block = 32 << 10
	buf := make([]byte, block)
	for pos := end; pos > 0; {
		size := min(pos, block)
		pos -= size
		if _, err := f.Seek(pos, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.ReadFull(f, buf[:size]); err != nil {
			return err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' || pos+i == end-1 {
				continue
			}
			if n--; n == 0 {
				_, err := f.Seek(pos+i+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

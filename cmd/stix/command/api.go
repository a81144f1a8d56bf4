package command

import (
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stix-run/stix/config"
	"github.com/stix-run/stix/internal/filelock"
)

func newAPI(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "api [OPTIONS] COMMAND [ARGS]...",
		Short:                 "Commands for the stix server and its requests.",
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newAPIStart(a), newAPIStop(a), newAPIStatus(a), newAPIInfo(a), newAPILogs(a), newAPIGet(a), newAPICancel(a),
		unsupportedCommand(a, "login"), unsupportedCommand(a, "logout"))
	return cmd
}

func newAPIStart(a *app) *cobra.Command {
	var foreground bool
	cmd := newCommand("start [OPTIONS]", "Start the stix server on this machine.", func(cmd *cobra.Command, args []string) error {
		return a.apiStart(cmd, foreground)
	})
	flags := cmd.Flags()
	flags.BoolVar(&foreground, "foreground", false, "Run the server in the foreground and write its log to the terminal.")
	flags.Bool("deploy", false, "Deploy.")
	flags.String("host", "", "Host.")
	flags.Int("port", 0, "Port.")
	flags.Bool("enable-basic-auth", false, "Basic authentication.")
	refuse(flags, "deploy", "host", "port", "enable-basic-auth")
	return cmd
}

func (a *app) apiStart(cmd *cobra.Command, foreground bool) error {
	if err := a.findOwnServer(); err != nil {
		return err
	}
	ctx := cmd.Context()
	running := answers(ctx, a.server.endpoint.Socket)
	switch {
	case running && foreground:
		return fail("The stix server runs already%s. Stop it first: stix api stop", a.pidText())
	case foreground:
		path, err := a.stixdPath()
		if err != nil {
			return err
		}
		return a.sys.Exec(path, []string{path, "serve", "--state-dir", a.server.stateDir})
	case running:
		if err := a.ensureServer(ctx); err != nil {
			return err
		}
		return a.printf("✓ The stix server runs%s.\n", a.pidText())
	}
	if err := a.startServer(ctx); err != nil {
		return err
	}
	return a.printf("✓ The stix server runs%s.\n", a.pidText())
}

// findOwnServer is findServer for commands about the server of this machine.
func (a *app) findOwnServer() error {
	if err := a.findServer(); err != nil {
		return err
	}
	if !a.server.own {
		return &exitWith{
			code: exitError,
			message: fmt.Sprintf("%s names the server %s, which is not one that this command manages.", a.server.source,
				a.server.endpoint),
		}
	}
	return nil
}

func (a *app) pidText() string {
	if a.server.file == nil || a.server.file.PID == 0 {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", a.server.file.PID)
}

func newAPIStop(a *app) *cobra.Command {
	return newCommand("stop [OPTIONS]", "Stop the stix server on this machine; machines and jobs run on.", func(cmd *cobra.Command, args []string) error {
		return a.apiStop(cmd)
	})
}

func (a *app) apiStop(cmd *cobra.Command) error {
	if err := a.findOwnServer(); err != nil {
		return err
	}
	pid, held, err := filelock.Holder(filepath.Join(a.server.stateDir, lockFile))
	if err != nil {
		return err
	}
	if !held {
		return a.printf("The stix server is not running.\n")
	}
	p := a.startProgress()
	defer p.stop()
	p.stage("Stopping the stix server")
	stopped, err := a.stopProcess(cmd.Context(), pid)
	p.stop()
	if err != nil {
		return err
	}
	if !stopped && syscall.Kill(pid, 0) == nil {
		return fail("The process %d that holds the server's lock could not be stopped.", pid)
	}
	if err := a.printf("✓ Stopped the stix server (pid %d).\n", pid); err != nil {
		return err
	}
	a.notice("Machines that are up run on, with their jobs. The next command starts the server again.")
	return nil
}

// describeSource says why this server is talked to.
func describeSource(s config.Source) string {
	if s == config.AutoStart || s == config.FromServerFile {
		return "the stix server of this machine"
	}
	return "set by " + s.String()
}

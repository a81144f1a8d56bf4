// Command stix-agent is the program on every machine of a cluster.
//
//	stix-agent run --dir DIR    the agent; DIR holds bootstrap.json
//	stix-agent supervise DIR    keeps the machine in DIR, a directory on this computer, alive
//	stix-agent version          tells the version
//
// Started again by itself as "stix-agent shim DIR", it is the parent of one job.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/agent"
	"github.com/stix-run/stix/agent/host"
	"github.com/stix-run/stix/internal/buildinfo"
	"github.com/stix-run/stix/internal/machine"
)

// Exit codes: 2 for a wrong command line, 1 for what went wrong later.
const (
	exitFailed = 1
	exitUsage  = 2
)

const usage = "usage: stix-agent run --dir DIR [--log-level LEVEL] | supervise DIR | version"

func main() {
	// A job's parent must be there soon and stay small: nothing comes before it.
	if len(os.Args) == 3 && os.Args[1] == "shim" {
		debug.SetGCPercent(20)
		exit(agent.Shim(os.Args[2], os.Environ()))
	}
	if len(os.Args) < 2 {
		exit(errUsage)
	}
	exit(command(os.Args[1], os.Args[2:]))
}

var errUsage = errors.New(usage)

func exit(err error) {
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUsage)
	case err != nil:
		fmt.Fprintln(os.Stderr, "stix-agent:", err)
		os.Exit(exitFailed)
	}
	os.Exit(0)
}

func command(name string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	switch name {
	case "run":
		return run(ctx, args)
	case "supervise":
		if len(args) != 1 {
			return errUsage
		}
		return machine.Supervise(ctx, args[0])
	case "version":
		fmt.Println(buildinfo.Version())
		return nil
	}
	return errUsage
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("stix-agent run", flag.ContinueOnError)
	dir := flags.String("dir", "", "state directory, with bootstrap.json in it")
	level := flags.String("log-level", "info", "error, warn, info or debug")
	if err := flags.Parse(args); err != nil {
		return errors.Join(errUsage, err)
	}
	if *dir == "" || flags.NArg() > 0 {
		return errUsage
	}
	// An agent is idle nearly always: it is to be small rather than fast.
	debug.SetGCPercent(25)
	debug.SetMemoryLimit(256 << 20)
	c, err := configuration(*dir)
	if err != nil {
		return err
	}
	c.Logger = hclog.New(&hclog.LoggerOptions{Name: "stix-agent", Level: hclog.LevelFromString(*level), Output: os.Stderr})
	a, err := agent.New(c)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// configuration is what the environment says.
func configuration(dir string) (agent.Config, error) {
	program, err := os.Executable()
	if err != nil {
		return agent.Config{}, err
	}
	boot := os.Getenv(machine.EnvBoot) // a machine within this computer has boots of its own
	if boot == "" {
		if boot, err = host.BootID(); err != nil {
			return agent.Config{}, err
		}
	}
	return agent.Config{
		Dir: dir, Program: program, Home: os.Getenv("HOME"), Env: jobEnv(os.Environ()),
		BootID: boot, Version: buildinfo.Version(),
	}, nil
}

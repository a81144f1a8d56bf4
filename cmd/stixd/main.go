// Command stixd is the coordinator.
//
//	stixd serve [--state-dir DIR] [--log-level LEVEL]
//	stixd version
//
// On a laptop it is started by stix when it is needed, is the only coordinator, and serves only this user, over sockets
// in the state directory. It exits with 0 when another one serves the same directory already.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/stix-run/stix/config"
	"github.com/stix-run/stix/internal/buildinfo"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

func run(args []string, stderr io.Writer) int {
	if len(args) == 0 {
		return usage(stderr, "stixd needs a command")
	}
	switch args[0] {
	case "serve":
		return serveCommand(args[1:], stderr)
	case "version", "-v", "--version":
		fmt.Println("stixd, version", buildinfo.Version())
		return exitOK
	case "help", "-h", "--help":
		fmt.Print(help)
		return exitOK
	}
	return usage(stderr, fmt.Sprintf("no such command %q", args[0]))
}

const help = `Usage: stixd COMMAND

The coordinator of stix. Users start it by way of stix; see stix api --help.

Commands:
  serve    serve a state directory until SIGINT or SIGTERM
             --state-dir DIR    default $STIX_HOME, else ~/.stix
             --log-level LEVEL  trace, debug, info (default), warn, error
  version  print the version

Example:
  stixd serve --state-dir ~/.stix
`

func usage(stderr io.Writer, problem string) int {
	fmt.Fprintf(stderr, "stixd: %s; see stixd --help\n", problem)
	return exitUsage
}

func serveCommand(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("state-dir", "", "state directory")
	level := flags.String("log-level", "info", "log level")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if flags.NArg() > 0 {
		return usage(stderr, fmt.Sprintf("serve takes no argument %q", flags.Arg(0)))
	}
	if *dir == "" {
		home, _ := os.UserHomeDir() // StateDir says what is missing
		found, err := config.StateDir(os.Getenv, home)
		if err != nil {
			fmt.Fprintln(stderr, "stixd:", err)
			return exitError
		}
		*dir = found
	}
	// Records live long and calls are short: half the collections cost little memory and save an eighth of the time.
	debug.SetGCPercent(200)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	err := serve(ctx, options{stateDir: *dir, logLevel: *level, stderr: stderr, autoStarted: os.Getenv("STIX_AUTO_STARTED") != ""})
	if held := (*heldError)(nil); errors.As(err, &held) {
		fmt.Fprintln(stderr, "stixd:", held)
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, "stixd:", err)
		return exitError
	}
	return exitOK
}

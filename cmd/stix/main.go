// Command stix is the user's program: it runs tasks on machines that stix
// brings up, follows their logs and lists what there is.
package main

import (
	"context"
	"os"
	"os/signal"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/stix-run/stix/cmd/stix/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default is back: a second one ends the program
	// at once.
	context.AfterFunc(ctx, stop)
	os.Exit(command.Run(ctx, system(), os.Args[1:]))
}

// system is the real machine as the commands see it.
func system() command.System {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	home, _ := os.UserHomeDir() // "" is told of where it matters
	return command.System{
		Stdin:          os.Stdin,
		Stdout:         os.Stdout,
		Stderr:         os.Stderr,
		StdinTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		StdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		StderrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Width:          width,
		LookupEnv:      os.LookupEnv,
		Dir:            dir,
		Home:           home,
		UserName:       userName(),
		Executable:     os.Executable,
		Exec:           func(path string, argv []string) error { return syscall.Exec(path, argv, os.Environ()) },
		Now:            time.Now,
	}
}

func width() int {
	columns, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

func userName() string {
	for _, name := range []string{"USER", "LOGNAME"} {
		if value := os.Getenv(name); value != "" {
			return value
		}
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "user" + strconv.Itoa(os.Getuid())
}

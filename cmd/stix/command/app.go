package command

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stix-run/stix/client"
)

// app is one run of the program.
type app struct {
	sys    System
	args   []string // as typed, without the program
	client *client.Client
	server *server
	user   user
	stdin  *bufio.Reader
}

// Run executes the command line and returns the exit code. It starts a server
// when a command needs one and none is configured.
func Run(ctx context.Context, sys System, args []string) int {
	a := &app{sys: sys, args: args}
	root := newRoot(a)
	root.SetArgs(rewrite(args))
	root.SetIn(sys.Stdin)
	root.SetOut(sys.Stdout)
	root.SetErr(sys.Stderr)
	err := root.ExecuteContext(ctx)
	if a.client != nil {
		a.client.Close()
	}
	return a.exitCode(err)
}

// rewrite turns the one option that click knows and pflag does not, "-no-d",
// into its long form.
func rewrite(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		if arg == "--" {
			copy(out[i:], args[i:])
			break
		}
		if arg == "-no-d" {
			arg = "--detach-run=false"
		}
		out[i] = arg
	}
	return out
}

// newRoot makes the tree of commands.
func newRoot(a *app) *cobra.Command {
	var version, commit bool
	root := &cobra.Command{
		Use:           "stix [OPTIONS] COMMAND [ARGS]...",
		Short:         "Run tasks on machines that stix brings up by itself.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case version:
				return a.printf("stix, version %s\n", versionText())
			case commit:
				return a.printf("%s\n", commitText())
			case len(args) > 0:
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
		DisableFlagsInUseLine: true,
	}
	root.Flags().BoolVarP(&version, "version", "v", false, "Show the version and exit.")
	root.Flags().BoolVarP(&commit, "commit", "c", false, "Show the commit and exit.")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd, "%s", flagText(err))
	})
	root.AddCommand(
		newLaunch(a), newExec(a), newStatus(a), newQueue(a), newLogs(a), newCancel(a), newDown(a),
		newAPI(a), newValidate(a), newEvents(a),
	)
	root.AddCommand(unsupportedCommands(a)...)
	root.SuggestionsMinimumDistance = 2
	useHelp(root)
	return root
}

// newCommand makes a command whose usage errors end with code 2. Use is
// SkyPilot's usage line without the program.
func newCommand(use, short string, run func(*cobra.Command, []string) error) *cobra.Command {
	return &cobra.Command{
		Use:                   use,
		Short:                 short,
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseUnsupported(cmd); err != nil {
				return err
			}
			return run(cmd, args)
		},
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("No such command '%s'.", name)
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += fmt.Sprintf(" Did you mean '%s'?", near[0])
	}
	return usage(cmd, "%s", text)
}

// flagText is a flag error as a sentence.
func flagText(err error) string {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "unknown flag: "); ok {
		return "No such option: " + name
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

func (a *app) style(terminal bool) style { return style{a.sys.color(terminal)} }

// out is the style of the standard output.
func (a *app) out() style { return a.style(a.sys.StdoutTerminal) }

func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.sys.Stdout, format, args...)
	return err
}

// complain writes a line to the standard error.
func (a *app) complain(text string) { io.WriteString(a.sys.Stderr, text+"\n") }

// notice writes a line about what goes on to the standard error.
func (a *app) notice(format string, args ...any) { a.complain(fmt.Sprintf(format, args...)) }

// writeTable writes a table to the standard output.
func (a *app) writeTable(t *table) error {
	return t.write(a.sys.Stdout, a.sys.width(), a.out())
}

package command

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// notYet marks an option that is SkyPilot's and not carried yet: it is
// recognised, and refused by name rather than ignored.
const notYet = "stix_not_yet"

// refuse marks options of a command as not carried yet, and hides them.
func refuse(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		f := flags.Lookup(name)
		f.Hidden = true
		f.Annotations = map[string][]string{notYet: nil}
	}
}

// refuseUnsupported errors when an option was given that is not carried yet.
func refuseUnsupported(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if _, marked := f.Annotations[notYet]; marked && err == nil {
			err = usage(cmd, "--%s is not supported yet", f.Name)
		}
	})
	return err
}

// unsupportedCommands are SkyPilot's commands that are not carried yet. They
// are recognised, so that nobody takes them for misspelt.
func unsupportedCommands(a *app) []*cobra.Command {
	names := []string{
		"stop", "start", "autostop", "cost-report", "check", "jobs", "serve", "storage", "volumes", "volume", "gpus",
		"show-gpus", "ssh", "local", "dashboard", "ui", "workspace", "debug-dump", "status-kubernetes",
	}
	commands := make([]*cobra.Command, len(names))
	for i, name := range names {
		commands[i] = unsupportedCommand(a, name)
	}
	return commands
}

func unsupportedCommand(a *app, name string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Short:              "Not supported yet.",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return &exitWith{
				code:    exitError,
				message: fmt.Sprintf("`%s` is not supported yet.", cmd.CommandPath()),
				hint:    "`stix -h` lists what there is.",
			}
		},
	}
}

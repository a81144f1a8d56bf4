package command

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/stix-run/stix/task"
)

func newValidate(a *app) *cobra.Command {
	return newCommand("validate [OPTIONS] FILE...", "Check task files without running them.", func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage(cmd, "Missing argument 'FILE...'.")
		}
		bad := false
		for _, path := range args {
			data, err := os.ReadFile(a.abs(path))
			if err == nil {
				_, err = task.Parse(path, data, task.Options{})
			}
			if err != nil {
				bad = true
				a.complain(err.Error())
				continue
			}
			if err := a.printf("%s: ok\n", path); err != nil {
				return err
			}
		}
		if bad {
			return silently(exitError)
		}
		return nil
	})
}

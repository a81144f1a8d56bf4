package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
	"github.com/stix-run/stix/task"
)

// readTask makes the task of an ENTRYPOINT: a task file, or words that are a
// command (spec core 8.2). It says on the standard output which it took.
func (a *app) readTask(ctx context.Context, cmd *cobra.Command, words []string, flags *taskFlags) (*stixv1.Task, error) {
	opts, err := flags.options(a, cmd)
	if err != nil {
		return nil, err
	}
	entry := strings.Join(words, " ")
	data, readErr := a.readEntry(entry)
	switch class := task.Classify(entry, data, readErr); class.Kind {
	case task.Nothing:
		return taskOf(task.FromCommand(nil, opts))
	case task.YAML:
		a.printf("YAML to run: %s\n", entry)
		return taskOf(task.Parse(entry, data, opts))
	case task.Recipe:
		return nil, fail("recipes are not supported yet: %s", entry)
	case task.AskCommand:
		// Also with -y: a misspelt file name would be run as a command.
		question := fmt.Sprintf("'%s' looks like a task file, but %s. Run it as a command?", entry, class.Reason)
		if err := a.confirm(ctx, question, false); err != nil {
			return nil, err
		}
	}
	a.printf("Command to run: %s\n", entry)
	return taskOf(task.FromCommand(words, opts))
}

func taskOf(t *stixv1.Task, err error) (*stixv1.Task, error) {
	if err != nil {
		return nil, fail("%v", err)
	}
	return t, nil
}

// maxTaskFile bounds what is read of a file that may be a task.
const maxTaskFile = 16 << 20

// readEntry reads the file of that name, if it is one.
func (a *app) readEntry(entry string) ([]byte, error) {
	path := a.abs(entry)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > maxTaskFile:
		return nil, fmt.Errorf("it is larger than %d MiB", maxTaskFile>>20)
	}
	return os.ReadFile(path)
}

package command

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/stix-run/stix/task"
)

// taskFlags are the options of a task: SkyPilot's groups TASK_WITH_NAME and
// EXTRA (spec core 8.2).
type taskFlags struct {
	name, workdir, infra         string
	cloud, region, zone          string
	cpus, memory, gpus, instance string
	diskSize                     string
	numNodes                     int
	useSpot, noUseSpot           bool
	env, secret                  []string
	envFile, secretFile          string
}

// add registers the options.
func (t *taskFlags) add(f *pflag.FlagSet) {
	f.StringVarP(&t.name, "name", "n", "", "Task name. Overrides the \"name\" of the YAML.")
	f.StringVar(&t.workdir, "workdir", "", "Sync this directory to the remote working directory, where the task runs. Overrides the YAML.")
	f.StringVar(&t.infra, "infra", "", "Infrastructure to use: cloud, cloud/region or cloud/region/zone. Example: local")
	f.IntVar(&t.numNodes, "num-nodes", 0, "Number of nodes to execute the task on. Overrides the YAML.")
	f.StringVar(&t.cpus, "cpus", "", "Number of vCPUs each node must have: 4 or 4+ (at least 4). \"none\" resets.")
	f.StringVar(&t.memory, "memory", "", "GiB of memory each node must have: 16 or 16+ (at least 16). \"none\" resets.")
	f.StringArrayVar(&t.env, "env", nil, "Environment variable of the task: NAME=VALUE, or NAME to take its value from here. Repeatable.")
	f.StringVar(&t.envFile, "env-file", "", "Dotenv file with environment variables of the task (and secrets, as SkyPilot does).")
	f.StringArrayVar(&t.secret, "secret", nil, "Secret variable of the task: NAME=VALUE or NAME. Shown only redacted. Repeatable.")
	f.StringVar(&t.secretFile, "secret-file", "", "Dotenv file with secret variables of the task.")
	t.addDeprecated(f)
	t.addNotYet(f)
}

func (t *taskFlags) addDeprecated(f *pflag.FlagSet) {
	f.StringVar(&t.cloud, "cloud", "", "Use --infra.")
	f.StringVar(&t.region, "region", "", "Use --infra.")
	f.StringVar(&t.zone, "zone", "", "Use --infra.")
	for _, name := range []string{"cloud", "region", "zone"} {
		f.Lookup(name).Hidden = true
	}
}

// addNotYet registers what local machines cannot satisfy yet.
func (t *taskFlags) addNotYet(f *pflag.FlagSet) {
	f.StringVar(&t.gpus, "gpus", "", "Accelerators per node.")
	f.StringVarP(&t.instance, "instance-type", "t", "", "Instance type.")
	f.StringVar(&t.diskSize, "disk-size", "", "Disk size in GiB.")
	f.BoolVar(&t.useSpot, "use-spot", false, "Use spot machines.")
	f.BoolVar(&t.noUseSpot, "no-use-spot", false, "Use on-demand machines.")
	f.String("disk-tier", "", "Disk tier.")
	f.String("network-tier", "", "Network tier.")
	f.String("image-id", "", "Image.")
	f.String("local-disk", "", "Local disk.")
	f.StringArray("ports", nil, "Ports to open.")
	f.String("git-url", "", "Git repository.")
	f.String("git-ref", "", "Git reference.")
	f.StringArray("config", nil, "Configuration.")
	refuse(f, "gpus", "instance-type", "disk-size", "use-spot", "disk-tier", "network-tier", "image-id", "local-disk",
		"ports", "git-url", "git-ref", "config")
	f.Lookup("no-use-spot").Hidden = true // what a local machine is anyway
}

// options reads the flags into what package task takes.
func (t *taskFlags) options(a *app, cmd *cobra.Command) (task.Options, error) {
	o := task.Options{
		Name:    t.name,
		Workdir: t.workdir,
		Resources: task.ResourceOptions{
			Infra: t.infra, Cloud: t.cloud, Region: t.region, Zone: t.zone, CPUs: t.cpus, Memory: t.memory,
		},
	}
	if cmd.Flags().Changed("num-nodes") {
		o.NumNodes = &t.numNodes
	}
	if t.noUseSpot {
		o.Resources.UseSpot = new(bool)
	}
	if t.workdir != "" && !isDir(a.abs(t.workdir)) {
		return o, usage(cmd, "Invalid value for '--workdir': Directory '%s' does not exist.", t.workdir)
	}
	for _, name := range []string{"cloud", "region", "zone"} {
		if cmd.Flags().Changed(name) {
			a.notice("--%s is deprecated, use --infra.", name)
		}
	}
	return o, t.variables(a, cmd, &o)
}

func (t *taskFlags) variables(a *app, cmd *cobra.Command, o *task.Options) (err error) {
	if o.Env, err = task.ParseVars("--env", t.env, a.sys.LookupEnv); err != nil {
		return usage(cmd, "%v", err)
	}
	if o.Secrets, err = task.ParseVars("--secret", t.secret, a.sys.LookupEnv); err != nil {
		return usage(cmd, "%v", err)
	}
	if o.EnvFile, err = a.dotenv(cmd, "--env-file", t.envFile); err != nil {
		return err
	}
	o.SecretFile, err = a.dotenv(cmd, "--secret-file", t.secretFile)
	return err
}

// dotenv reads a file of variables.
func (a *app) dotenv(cmd *cobra.Command, option, path string) ([]task.Var, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(a.abs(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage(cmd, "Dotenv file does not exist: %s. Provide a path to an existing file, or remove the flag.", path)
	}
	if err != nil {
		return nil, usage(cmd, "%s: %v", option, err)
	}
	vars, err := task.ParseDotenv(path, data, a.sys.LookupEnv)
	if err != nil {
		return nil, usage(cmd, "%v", err)
	}
	return vars, nil
}

// abs resolves a path against the current directory and "~".
func (a *app) abs(path string) string {
	switch {
	case path == "~":
		return a.sys.Home
	case len(path) > 1 && path[:2] == "~/":
		return filepath.Join(a.sys.Home, path[2:])
	case filepath.IsAbs(path):
		return filepath.Clean(path)
	}
	return filepath.Join(a.sys.Dir, path)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// output is the -o of listings.
type output struct{ format string }

func (o *output) add(f *pflag.FlagSet) {
	f.StringVarP(&o.format, "output", "o", "table", "Output format: table or json.")
}

// json reports whether JSON is wanted; it errors for an unknown format.
func (o *output) json(cmd *cobra.Command) (bool, error) {
	switch o.format {
	case "table":
		return false, nil
	case "json":
		return true, nil
	}
	return false, usage(cmd, "Invalid value for '-o' / '--output': '%s' is not one of 'table', 'json'.", o.format)
}

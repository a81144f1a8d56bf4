package task

import (
	"fmt"
	"strings"
)

// Options are what the command line says about a task. They win over the file.
// The zero value changes nothing. A string option that says "none" (any case)
// takes the wish of the file back.
type Options struct {
	// Env are the values of --env, in order; the last of a name wins.
	Env []Var
	// EnvFile are the variables of --env-file. They are envs and secrets both.
	EnvFile []Var
	// Secrets are the values of --secret.
	Secrets []Var
	// SecretFile are the variables of --secret-file.
	SecretFile []Var

	// Name is --name.
	Name string
	// NumNodes is --num-nodes.
	NumNodes *int
	// Workdir is --workdir.
	Workdir string
	// Resources change every candidate of the task.
	Resources ResourceOptions
}

// ResourceOptions are the options about one node. Strings are in the grammar of
// the task file; empty ones say nothing.
type ResourceOptions struct {
	// Infra is --infra. What it leaves open is reset.
	Infra string
	// Cloud, Region and Zone are the deprecated spellings; not with Infra.
	Cloud, Region, Zone string
	// InstanceType is --instance-type.
	InstanceType string
	// CPUs is --cpus ("4", "4+").
	CPUs string
	// Memory is --memory ("16", "32GB+", "4x").
	Memory string
	// Accelerators is --gpus ("A100:8").
	Accelerators string
	// DiskSize is --disk-size ("100", "1TB").
	DiskSize string
	// UseSpot is --use-spot or --no-use-spot.
	UseSpot *bool
}

// Var is a variable with its value.
type Var struct{ Name, Value string }

// ParseVars reads the words of --env or --secret: "NAME=value", or "NAME" whose
// value lookup knows. The error names the option and is for the user.
func ParseVars(option string, words []string, lookup func(string) (string, bool)) ([]Var, error) {
	vars := make([]Var, 0, len(words))
	for _, word := range words {
		name, value, given := strings.Cut(word, "=")
		if !validVarName(name) {
			return nil, fmt.Errorf("%s %s: %q is no name of a variable: use letters, digits and _, and no digit first", option, name, name)
		}
		if !given {
			var known bool
			if value, known = lookup(name); !known {
				return nil, fmt.Errorf("%s %s: it is not set here: set it, or write %s=VALUE", option, name, name)
			}
		}
		vars = append(vars, Var{Name: name, Value: value})
	}
	return vars, nil
}

// validVarName reports whether a shell can export it.
func validVarName(s string) bool { return s != "" && varNameLength(s) == len(s) }

// varNameLength is how many bytes at the start of s are the name of a variable.
func varNameLength(s string) int {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(s)
}

package task

import (
	"slices"
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// applyVars settles envs and secrets:
//
//	envs      --env > --env-file > file
//	secrets   --secret > --secret-file > --env-file > file
//
// A variable of --env-file is both (its copy among the envs is not redacted),
// unless --env gives it too: a secret wins over the env of its name on the
// node, and there --env has to win over --env-file.
func (d *decoder) applyVars(r *reading, o Options) {
	envs := overlay(r.envs, o.EnvFile, o.Env)
	secrets := overlay(r.secrets, without(o.EnvFile, o.Env), o.SecretFile, o.Secrets)
	r.task.Envs = d.settle(envs, "env", func(b binding) {
		d.fail(b.at, "env %s has no value: give one with --env %s=VALUE, or write %s: \"\" for an empty one", b.name, b.name, b.name)
	})
	r.task.Secrets = d.settle(secrets, "secret", func(b binding) {
		d.unsupported(b.at, "secret %s has no value: give one with --secret %s=VALUE; secrets managed by the server are", b.name, b.name)
	})
	d.checkDockerLogin(r)
}

// overlay puts later layers over earlier ones, keeping the first order.
func overlay(base []binding, layers ...[]Var) []binding {
	out, index := []binding{}, map[string]int{}
	put := func(b binding) {
		if i, ok := index[b.name]; ok {
			out[i] = b
			return
		}
		index[b.name] = len(out)
		out = append(out, b)
	}
	for _, b := range base {
		put(b)
	}
	for _, layer := range layers {
		for _, v := range layer {
			put(binding{name: v.Name, value: v.Value})
		}
	}
	return out
}

func without(vars, others []Var) []Var {
	named := map[string]bool{}
	for _, v := range others {
		named[v.Name] = true
	}
	var out []Var
	for _, v := range vars {
		if !named[v.Name] {
			out = append(out, v)
		}
	}
	return out
}

func (d *decoder) settle(bindings []binding, what string, missing func(binding)) map[string]string {
	vars := map[string]string{}
	for _, b := range bindings {
		switch {
		case b.null:
			missing(b)
		case b.at == nil && !validVarName(b.name):
			d.option("--"+what, quoted(b.name)+" is no name of a variable: use letters, digits and _, and no digit first")
		default:
			vars[b.name] = b.value
		}
	}
	if len(vars) == 0 {
		return nil
	}
	return vars
}

// checkDockerLogin: the variables of a registry login come all together, and
// all as envs or all as secrets.
func (d *decoder) checkDockerLogin(r *reading) {
	for _, group := range []struct {
		name     string
		vars     map[string]string
		bindings []binding
	}{{"envs", r.task.GetEnvs(), r.envs}, {"secrets", r.task.GetSecrets(), r.secrets}} {
		names := []string{"SKYPILOT_DOCKER_USERNAME", "SKYPILOT_DOCKER_PASSWORD", "SKYPILOT_DOCKER_SERVER"}
		missing := slices.DeleteFunc(slices.Clone(names), func(n string) bool { _, ok := group.vars[n]; return ok })
		if len(missing) == 0 || len(missing) == len(names) {
			continue
		}
		e := d.option(group.name, "the variables of a docker login belong together in "+group.name+"; missing: "+strings.Join(missing, ", "))
		if i := slices.IndexFunc(group.bindings, func(b binding) bool { return slices.Contains(names, b.name) }); i >= 0 {
			at := group.bindings[i].at
			e.File, e.Line, e.Column = d.file, at.line, at.col
		}
	}
}

// substitution replaces $NAME and ${NAME} in paths. Secrets win over envs.
type substitution map[string]string

func newSubstitution(t *stixv1.Task) substitution {
	s := substitution{}
	for k, v := range t.GetEnvs() {
		s[k] = v
	}
	for k, v := range t.GetSecrets() {
		s[k] = v
	}
	return s
}

// apply makes one pass: what a value brings in is not looked at again. Unknown
// names and forms such as ${NAME or ${NAME:-x} are left as they are.
func (s substitution) apply(text string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, rest := cutName(after)
		if value, known := s[name]; known {
			b.WriteString(value)
			text = rest
			continue
		}
		b.WriteByte('$')
		text = after
	}
}

// cutName takes NAME or {NAME} off; the name is empty when there is neither.
func cutName(s string) (name, rest string) {
	inner, braced := strings.CutPrefix(s, "{")
	n := varNameLength(inner)
	name, rest = inner[:n], inner[n:]
	if !braced {
		return name, rest
	}
	rest, closed := strings.CutPrefix(rest, "}")
	if !closed {
		return "", s
	}
	return name, rest
}

package exec

import (
	"strings"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// scriptFD is where the shell finds its script.
const scriptFD = 3

// prelude is what the shell does before the user's text.
//
// Standard error is nowhere until the first line, which joins it to standard
// output: an interactive shell without a terminal complains before it reads its
// script, and those lines are not the user's. History is off because the shell
// would write the script, secrets and all, into ~/.bash_history, and history
// expansion because it makes "!" in a script mean something that nobody means.
// Conda's hook, a default environment and the rest are what tasks written for
// SkyPilot find there.
const prelude = `exec 2>&1 3<&-; set +o history +H; unset HISTFILE
if [ -f ~/.bashrc ]; then . ~/.bashrc; set +o history +H; unset HISTFILE; fi
if type conda >/dev/null 2>&1; then set -a; . "$(conda info --base 2>/dev/null)/etc/profile.d/conda.sh" >/dev/null 2>&1; set +a; fi
if [ -z "${CONDA_DEFAULT_ENV-}${VIRTUAL_ENV-}" ] && [ -f ~/sky-user-env/bin/activate ]; then . ~/sky-user-env/bin/activate; fi
export PYTHONUNBUFFERED=1
cd ~/sky_workdir 2>/dev/null || { mkdir -p ~/sky_workdir && cd ~/sky_workdir; }
`

// script renders the whole text that the shell of an order reads.
func script(o *stixv1.Order) []byte {
	var b strings.Builder
	b.WriteString(prelude)
	for _, e := range o.GetEnvs() {
		b.WriteString("export ")
		b.WriteString(e.GetName())
		b.WriteByte('=')
		quote(&b, e.GetValue())
		b.WriteByte('\n')
	}
	for _, name := range o.GetUnset() {
		b.WriteString("unset ")
		b.WriteString(name)
		b.WriteByte('\n')
	}
	b.WriteString(o.GetScript())
	b.WriteByte('\n')
	return []byte(b.String())
}

// quote writes s as one word of the shell.
func quote(b *strings.Builder, s string) {
	b.WriteByte('\'')
	for {
		before, after, found := strings.Cut(s, "'")
		b.WriteString(before)
		if !found {
			break
		}
		b.WriteString(`'\''`)
		s = after
	}
	b.WriteByte('\'')
}

// validName tells whether the shell takes name for that of a variable.
func validName(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

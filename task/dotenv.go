package task

import (
	"regexp"
	"strings"
)

// ParseDotenv reads the text of --env-file or --secret-file: NAME=value lines,
// optionally after "export", with # comments; values bare, in single quotes, or
// in double quotes with escapes, quoted ones over several lines. ${NAME} and
// ${NAME:-default} stand for an earlier variable of the file, else for what
// lookup knows. The name of the file is for messages, the error is Errors: a
// line that cannot be read is refused rather than skipped.
func ParseDotenv(file string, data []byte, lookup func(string) (string, bool)) ([]Var, error) {
	p := &dotenv{decoder: decoder{file: file}, lookup: lookup, index: map[string]int{}}
	if !p.readable(data) {
		return nil, p.errs.result()
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for line := 1; text != ""; {
		taken := p.statement(text, line)
		line += strings.Count(text[:taken], "\n")
		text = text[taken:]
	}
	if err := p.errs.result(); err != nil {
		return nil, err
	}
	return p.vars, nil
}

// dotenv is a dotenv file being read.
type dotenv struct {
	decoder
	lookup func(string) (string, bool)
	vars   []Var
	index  map[string]int // of the variables by name
}

var (
	dotenvBlank = regexp.MustCompile(`^[ \t]*(?:#[^\n]*)?(?:\n|$)`)
	dotenvHead  = regexp.MustCompile(`^[ \t]*(?:export[ \t]+)?([^=#\s]+)[ \t]*(=?)`)
	dotenvQuote = regexp.MustCompile(`^[ \t]*(?:'((?:[^'\\]|\\.|\\\n)*)'|"((?:[^"\\]|\\.|\\\n)*)")[ \t]*(?:#[^\n]*)?(?:\n|$)`)
	dotenvBare  = regexp.MustCompile(`^[^\n]*(?:\n|$)`)
	comment     = regexp.MustCompile(`[ \t]+#.*`)
	variable    = regexp.MustCompile(`\$\{([^}:]*)(?::-([^}]*))?\}`)
)

// statement reads one statement from the start of text and returns its length.
func (p *dotenv) statement(text string, line int) int {
	if blank := dotenvBlank.FindString(text); blank != "" {
		return len(blank)
	}
	whole := len(dotenvBare.FindString(text))
	head := dotenvHead.FindStringSubmatch(text)
	switch {
	case head == nil:
		p.add(line, 1, "", "has no NAME=value")
		return whole
	case !validVarName(head[1]):
		p.add(line, 1, "", quoted(head[1])+" is no name of a variable: use letters, digits and _, and no digit first")
		return whole
	case head[2] == "":
		p.add(line, 1, head[1], head[1]+" has no value: write "+head[1]+"= for an empty one")
		return whole
	}
	rest := text[len(head[0]):]
	if start := strings.TrimLeft(rest, " \t"); start != "" && (start[0] == '\'' || start[0] == '"') {
		m := dotenvQuote.FindStringSubmatch(rest)
		if m == nil {
			p.add(line, 1, head[1], head[1]+": the quotes do not close, or something follows them")
			return whole
		}
		p.set(head[1], unquote(m, start[0]))
		return len(head[0]) + len(m[0])
	}
	raw := dotenvBare.FindString(rest)
	p.set(head[1], strings.TrimSpace(comment.ReplaceAllString(strings.TrimSuffix(raw, "\n"), "")))
	return len(head[0]) + len(raw)
}

// unquote undoes the escapes that the kind of quotes has.
func unquote(m []string, quote byte) string {
	if quote == '\'' {
		return strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(m[1])
	}
	return strings.NewReplacer(
		`\\`, `\`, `\"`, `"`, `\'`, `'`, `\n`, "\n", `\r`, "\r", `\t`, "\t",
		`\a`, "\a", `\b`, "\b", `\f`, "\f", `\v`, "\v",
	).Replace(m[2])
}

// set defines a variable; the last of a name wins and keeps the first's place.
func (p *dotenv) set(name, raw string) {
	value := variable.ReplaceAllStringFunc(raw, func(use string) string {
		m := variable.FindStringSubmatch(use)
		if i, ok := p.index[m[1]]; ok {
			return p.vars[i].Value
		}
		if v, ok := p.lookup(m[1]); ok {
			return v
		}
		return m[2]
	})
	if i, ok := p.index[name]; ok {
		p.vars[i].Value = value
		return
	}
	p.index[name] = len(p.vars)
	p.vars = append(p.vars, Var{Name: name, Value: value})
}

package tree

import (
	"os"
	"path/filepath"
	"strings"
)

// pattern is one line of an ignore file, in the way that git and rsync share.
type pattern struct {
	glob glob
	// text is the pattern without its marks. It is all there is to compare when
	// plain is set; with suffix set it is what a name must end with.
	text          string
	plain, suffix bool
	// negated takes back what an earlier pattern ignored.
	negated bool
	// dirOnly matches directories only.
	dirOnly bool
	// nameOnly matches the last element of a path, at any depth.
	nameOnly bool
}

// newPattern compiles text whose marks (negation, final slash) are already off.
func newPattern(text string, anywhere bool) pattern {
	p := pattern{text: text, nameOnly: !strings.Contains(text, "/") && !(anywhere && strings.Contains(text, "**"))}
	p.text = strings.TrimPrefix(text, "/")
	switch {
	case !strings.ContainsAny(p.text, specials):
		p.plain = true
	case p.nameOnly && len(p.text) > 1 && p.text[0] == '*' && !strings.ContainsAny(p.text[1:], specials):
		p.suffix, p.text = true, p.text[1:]
	default:
		p.glob = compileGlob(p.text, anywhere)
	}
	return p
}

// matches reports whether the pattern is about this path, relative to the
// directory that the pattern belongs to.
func (p *pattern) matches(path, name string, dir bool) bool {
	if p.dirOnly && !dir {
		return false
	}
	text := path
	if p.nameOnly {
		text = name
	}
	switch {
	case p.plain:
		return text == p.text
	case p.suffix:
		return strings.HasSuffix(text, p.text)
	}
	return p.glob.match(text)
}

// parseGitignore reads the lines of a .gitignore file.
func parseGitignore(data string) []pattern {
	var ps []pattern
	for line := range strings.SplitSeq(strings.TrimPrefix(data, "\ufeff"), "\n") {
		if p, ok := parseGitLine(strings.TrimSuffix(line, "\r")); ok {
			ps = append(ps, p)
		}
	}
	return ps
}

func parseGitLine(line string) (pattern, bool) {
	if line == "" || line[0] == '#' {
		return pattern{}, false
	}
	text, negated := strings.CutPrefix(trimSpaces(line), "!")
	text, dirOnly := strings.CutSuffix(text, "/")
	p := newPattern(text, false)
	p.negated, p.dirOnly = negated, dirOnly
	return p, text != ""
}

// trimSpaces drops spaces at the end that no backslash quotes.
func trimSpaces(line string) string {
	end := len(line)
	run := false
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			if !run {
				end, run = i, true
			}
			continue
		case '\\':
			if i++; i == len(line) {
				return line
			}
		}
		end, run = len(line), false
	}
	return line[:end]
}

// parseSkyignore reads a .skyignore: patterns as in a file for rsync's
// --exclude-from, all of which exclude. "**/" also stands for no directory.
func parseSkyignore(data string) (ps []pattern, warnings []string) {
	for line := range strings.SplitSeq(data, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '!' || strings.HasPrefix(line, "+ ") {
			warnings = append(warnings, "line "+line+" is not used: a .skyignore only excludes")
			continue
		}
		if p, ok := parseSkyLine(strings.TrimPrefix(line, "- ")); ok {
			ps = append(ps, p)
		}
	}
	return ps, warnings
}

func parseSkyLine(line string) (pattern, bool) {
	// "dir/***" is the directory and all in it, which goes with it anyway.
	text, dirOnly := strings.CutSuffix(line, "/***")
	if trimmed := strings.TrimRight(text, "/"); trimmed != text {
		text, dirOnly = trimmed, true
	}
	if !strings.ContainsAny(text, "*?[") {
		text = strings.ReplaceAll(text, `\`, `\\`)
	}
	// A path that is not anchored matches at the end of any longer path.
	if !strings.HasPrefix(text, "/") && strings.ContainsAny(text, "/") {
		text = "**/" + text
	}
	p := newPattern(text, true)
	p.dirOnly = dirOnly
	return p, text != ""
}

// ruleSet are the patterns of one file. The last that matches decides.
type ruleSet struct {
	// base is the directory that the patterns are relative to, "" for the root of
	// the walk, or with a leading "../" part cut off in prefix.
	base string
	// prefix is put before paths: the way from the base down to the root of the
	// walk, for files above it ("sub/dir/").
	prefix   string
	patterns []pattern
}

// decide reports whether the path is ignored, and whether any pattern said so.
func (r *ruleSet) decide(path, name string, dir bool) (ignored, decided bool) {
	path = r.prefix + strings.TrimPrefix(path, r.base)
	for i := len(r.patterns) - 1; i >= 0; i-- {
		if p := &r.patterns[i]; p.matches(path, name, dir) {
			return !p.negated, true
		}
	}
	return false, false
}

// rules are what is in force in one directory of the walk.
type rules struct {
	// sets from the weakest to the strongest.
	sets []ruleSet
	// repo is the git repository that the directory is in, nil for none and for
	// a .skyignore, whose patterns need no nested files.
	repo *repository
	// under is set in a directory that is itself ignored, and walked only for the
	// files in it that git tracks.
	under bool
}

// ignored decides about one entry. The path is relative to the root of the walk.
func (r *rules) ignored(path, name string, dir bool) bool {
	if r.repo != nil && name == ".git" {
		return false
	}
	return (r.under || r.matched(path, name, dir)) && !r.tracked(path, dir)
}

func (r *rules) matched(path, name string, dir bool) bool {
	for i := len(r.sets) - 1; i >= 0; i-- {
		if ignored, decided := r.sets[i].decide(path, name, dir); decided {
			return ignored
		}
	}
	return false
}

// tracked: git's ignore rules are about files that it does not track.
func (r *rules) tracked(path string, dir bool) bool {
	return r.repo != nil && r.repo.tracked(path, dir)
}

// rootRules finds the rules for a walk that starts in root.
func (w *walk) rootRules(root string) (rules, error) {
	data, err := os.ReadFile(filepath.Join(root, ".skyignore"))
	if err == nil {
		patterns, warnings := parseSkyignore(string(data))
		for _, text := range warnings {
			w.warn(".skyignore", text)
		}
		return rules{sets: []ruleSet{{patterns: patterns}}}, nil
	}
	if !os.IsNotExist(err) {
		return rules{}, err
	}
	top, found := findRepository(root)
	if !found {
		if _, err := os.Lstat(filepath.Join(root, ".gitignore")); err == nil {
			w.warn(".gitignore", "not used: the directory is in no git repository (a .skyignore works anywhere)")
		}
		return rules{}, nil
	}
	return w.repositoryRules(top, root, "")
}

// repositoryRules starts the rules of the repository at top for the directory
// dir, which is top or below it, and has the path rel in the walk.
func (w *walk) repositoryRules(top, dir, rel string) (rules, error) {
	repo, err := openRepository(top, dir, rel)
	if err != nil {
		return rules{}, err
	}
	repo.warn = w.warn
	r := rules{repo: repo}
	excludes := []string{filepath.Join(repo.common, "info", "exclude")}
	if w.gitExcludes != "" {
		excludes = []string{w.gitExcludes, excludes[0]}
	}
	for _, file := range excludes {
		data, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			return rules{}, err
		}
		r.add(rel, repo.prefix, string(data))
	}
	// The files above dir; dir's own is read with its entries.
	at := top
	prefix := repo.prefix
	for prefix != "" {
		data, err := readIgnoreFile(at)
		if err != nil {
			return rules{}, err
		}
		r.add(rel, prefix, data)
		step, rest, _ := strings.Cut(prefix, "/")
		at, prefix = filepath.Join(at, step), rest
	}
	return r, nil
}

func (r *rules) add(rel, prefix, data string) {
	if ps := parseGitignore(data); len(ps) > 0 {
		// A full slice expression: siblings must not write into each other's rules.
		r.sets = append(r.sets[:len(r.sets):len(r.sets)], ruleSet{base: slashed(rel), prefix: prefix, patterns: ps})
	}
}

// slashed makes a prefix of the paths below rel.
func slashed(rel string) string {
	if rel == "" {
		return ""
	}
	return rel + "/"
}

// readIgnoreFile reads the .gitignore of a directory. Like git it does not follow
// a symbolic link there.
func readIgnoreFile(dir string) (string, error) {
	path := filepath.Join(dir, ".gitignore")
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		if os.IsNotExist(err) {
			err = nil
		}
		return "", err
	}
	data, err := os.ReadFile(path)
	return string(data), err
}

// Package archtest holds the rules that the shape of this repository follows,
// as data, and checks every Go file against them: which package may import
// which, and what may not be written where. `go test` fails with the file, the
// line and the reason.
//
// A new arrow between packages is a new entry in table.go, in the commit that
// needs it, with a decision note in docs/decisions.
//
// Some lines are exceptions and say so, on the line or on the one above:
//
//	//stix:shutdown  context.Background in what must run after the context ended
//	//stix:assert    panic of the state machine at an entry it cannot decode
//	//stix:bubble    above a function: only called in a synctest bubble, may sleep
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Module is the path of this module.
const Module = "github.com/stix-run/stix"

// Tree is the parsed source of a module.
type Tree struct {
	fset  *token.FileSet
	files []*file
	// opening caches openers by folder.
	opening map[string]map[string]bool
}

// file is one Go file.
type file struct {
	name      string // from the root
	dir       string
	test      bool // _test.go, or below integration: never part of a program
	generated bool
	syntax    *ast.File
	marks     map[int]string // line of each //stix: comment
}

// Problem is one line that breaks a rule.
type Problem struct {
	Pos token.Position
	// Text says what is wrong and why that is a rule.
	Text string
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s", p.Pos.Filename, p.Pos.Line, p.Text)
}

// Load parses the Go files below the root of fsys, without hidden folders,
// testdata and nested modules. It errors for a file that does not parse.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{fset: token.NewFileSet(), opening: map[string]map[string]bool{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && skipped(fsys, name):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		return t.load(fsys, name)
	})
	return t, err
}

func skipped(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil
}

func (t *Tree) load(fsys fs.FS, name string) error {
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	f := &file{
		name:      name,
		dir:       path.Dir(name),
		test:      strings.HasSuffix(name, "_test.go") || under("integration/...", path.Dir(name)),
		generated: ast.IsGenerated(syntax),
		syntax:    syntax,
		marks:     map[int]string{},
	}
	for _, group := range syntax.Comments {
		for _, c := range group.List {
			if mark, ok := strings.CutPrefix(c.Text, "//stix:"); ok {
				mark, _, _ = strings.Cut(mark, " ")
				f.marks[t.fset.Position(c.Pos()).Line] = mark
			}
		}
	}
	t.files = append(t.files, f)
	return nil
}

// Check returns what breaks the rules, in order of files and lines.
func (t *Tree) Check() []Problem {
	problems := t.checkPackages()
	for _, f := range t.files {
		c := &checker{tree: t, file: f}
		c.imports()
		if !f.generated {
			c.source()
		}
		problems = append(problems, c.problems...)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if a.Pos.Filename != b.Pos.Filename {
			return strings.Compare(a.Pos.Filename, b.Pos.Filename)
		}
		return a.Pos.Line - b.Pos.Line
	})
	return problems
}

// checker collects the problems of one file.
type checker struct {
	tree     *Tree
	file     *file
	problems []Problem
}

func (c *checker) report(at token.Pos, format string, args ...any) {
	c.problems = append(c.problems, Problem{c.tree.fset.Position(at), fmt.Sprintf(format, args...)})
}

// marked reports whether the line of at, or the one above, has the mark.
func (c *checker) marked(at token.Pos, mark string) bool {
	line := c.tree.fset.Position(at).Line
	return c.file.marks[line] == mark || c.file.marks[line-1] == mark
}

// imported returns the name under which the file imports a package, or "".
func (f *file) imported(pkg string) string {
	for _, spec := range f.syntax.Imports {
		if importPath(spec) != pkg {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

func importPath(spec *ast.ImportSpec) string {
	p, _ := strconv.Unquote(spec.Path.Value)
	return p
}

// under reports whether pkg matches a pattern: a path, in which "*" stands for
// any part of one segment and an ending "/..." for itself and all below. The
// pattern "..." matches everything.
func under(pattern, pkg string) bool {
	if pattern == "..." {
		return true
	}
	_, ok := matched(pattern, pkg)
	return ok
}

// matched is under, and returns the part of pkg that the pattern's segments
// stand for: the family of packages that pkg belongs to.
func matched(pattern, pkg string) (family string, ok bool) {
	stem, deep := strings.CutSuffix(pattern, "/...")
	want, have := strings.Split(stem, "/"), strings.Split(pkg, "/")
	if len(have) < len(want) || (!deep && len(have) > len(want)) {
		return "", false
	}
	for i, w := range want {
		if ok, _ := path.Match(w, have[i]); !ok {
			return "", false
		}
	}
	return strings.Join(have[:len(want)], "/"), true
}

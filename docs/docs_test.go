package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

const root = ".."

// lifecycles are the enums whose values are states, with those that are final.
func lifecycles() map[protoreflect.EnumDescriptor][]protoreflect.EnumNumber {
	number := func(e protoreflect.Enum) protoreflect.EnumNumber { return e.Number() }
	return map[protoreflect.EnumDescriptor][]protoreflect.EnumNumber{
		stixv1.ClusterState(0).Descriptor(): {number(stixv1.ClusterState_CLUSTER_STATE_TERMINATED)},
		stixv1.NodeState(0).Descriptor():    {number(stixv1.NodeState_NODE_STATE_TERMINATED)},
		stixv1.AgentState(0).Descriptor():   nil,
		stixv1.JobState(0).Descriptor(): {
			number(stixv1.JobState_JOB_STATE_FAILED_DRIVER), number(stixv1.JobState_JOB_STATE_SUCCEEDED),
			number(stixv1.JobState_JOB_STATE_FAILED), number(stixv1.JobState_JOB_STATE_FAILED_SETUP),
			number(stixv1.JobState_JOB_STATE_CANCELLED),
		},
		stixv1.AssignmentState(0).Descriptor(): {number(stixv1.AssignmentState_ASSIGNMENT_STATE_EXITED)},
		stixv1.RequestState(0).Descriptor(): {
			number(stixv1.RequestState_REQUEST_STATE_SUCCEEDED), number(stixv1.RequestState_REQUEST_STATE_FAILED),
			number(stixv1.RequestState_REQUEST_STATE_CANCELLED),
		},
	}
}

// liveStates are the states that are not final, as the table names them ("JobState PENDING").
func liveStates() []string {
	var all []string
	for enum, final := range lifecycles() {
		values := enum.Values()
		prefix := strings.TrimSuffix(string(values.ByNumber(0).Name()), "UNSPECIFIED")
		for i := range values.Len() {
			v := values.Get(i)
			if v.Number() != 0 && !slices.Contains(final, v.Number()) {
				all = append(all, string(enum.Name())+" "+strings.TrimPrefix(string(v.Name()), prefix))
			}
		}
	}
	return all
}

func TestEveryLifecycleOfTheRecordsIsChecked(t *testing.T) {
	enums := stixv1.File_stix_v1_record_proto.Enums()
	known := lifecycles()
	for i := range enums.Len() {
		e := enums.Get(i)
		if _, ok := known[e]; !ok && strings.HasSuffix(string(e.Name()), "State") {
			t.Errorf("%s of record.proto is not among the lifecycles of this test", e.Name())
		}
	}
}

func TestEveryStateThatIsNotFinalHasADeadline(t *testing.T) {
	rows := stateRows(t)
	states := liveStates()
	for _, state := range states {
		if row, ok := rows[state]; !ok {
			t.Errorf("deadlines.md has no row for `%s`", state)
		} else if problem := complete(row); problem != "" {
			t.Errorf("deadlines.md, `%s`: %s", state, problem)
		}
	}
	for state := range rows {
		if !slices.Contains(states, state) {
			t.Errorf("deadlines.md has a row for `%s`, which is no state, or a final one", state)
		}
	}
}

// stateRows reads the first table of deadlines.md by its first column.
func stateRows(t *testing.T) map[string][]string {
	t.Helper()
	table, _, _ := strings.Cut(read(t, "docs/deadlines.md"), "\n## ")
	rows := map[string][]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		state := strings.TrimSpace(cells[0])
		if len(cells) < 2 || !strings.HasPrefix(state, "`") {
			continue
		}
		state = strings.Trim(state, "`")
		if rows[state] != nil {
			t.Errorf("deadlines.md has two rows for `%s`", state)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows[state] = cells
	}
	return rows
}

// complete says what a row lacks: a deadline needs a successor and the constant in the code, none needs a reason.
func complete(cells []string) string {
	if len(cells) != 5 {
		return "it has not five columns"
	}
	deadline, successor, constant := cells[1], cells[2], cells[3]
	if reason, none := strings.CutPrefix(deadline, "none"); none {
		if !strings.HasPrefix(reason, ": ") || len(reason) < len(": why") {
			return "it has no deadline and no reason for that"
		}
		return ""
	}
	switch {
	case deadline == "":
		return "it has no deadline"
	case successor == "":
		return "it has no successor"
	case constant == "":
		return "it names no constant"
	}
	return ""
}

// constantName is a constant as documents name it: "coordinator/clusters.LaunchLimit".
var constantName = regexp.MustCompile("`((?:[a-z0-9]+/)*[a-z0-9]+)\\.([A-Za-z][A-Za-z0-9]*)`")

func TestConstantsThatAreNamedExistAndHaveTheStatedValues(t *testing.T) {
	found := 0
	for line := range strings.Lines(read(t, "docs/deadlines.md")) {
		for _, m := range constantName.FindAllStringSubmatch(line, -1) {
			if fileType(m[2]) {
				continue
			}
			found++
			value, ok := constants(t, m[1])[m[2]]
			if !ok {
				t.Errorf("deadlines.md names %s.%s, which is not a constant there", m[1], m[2])
			} else if d, ok := duration(value); ok && !strings.Contains(line, words(d)) {
				t.Errorf("%s.%s is %s, which the line that names it does not say:\n%s", m[1], m[2], words(d), line)
			}
		}
	}
	if found < 10 {
		t.Fatalf("found only %d constants", found)
	}
}

// fileType tells "record.proto" from a constant.
func fileType(name string) bool {
	return slices.Contains([]string{"md", "go", "proto", "json", "sock", "lock", "log", "key"}, name)
}

// constants are those that a package declares outside of its tests, with their values as they are written.
func constants(t *testing.T, pkg string) map[string]ast.Expr {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]ast.Expr{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				addConstants(all, g)
			}
		}
	}
	return all
}

func addConstants(all map[string]ast.Expr, g *ast.GenDecl) {
	for _, s := range g.Specs {
		v := s.(*ast.ValueSpec)
		for i, id := range v.Names {
			all[id.Name] = nil
			if i < len(v.Values) {
				all[id.Name] = v.Values[i]
			}
		}
	}
}

// duration is the value of "10 * time.Second" or "time.Second"; false for anything else.
func duration(e ast.Expr) (time.Duration, bool) {
	switch x := e.(type) {
	case *ast.BinaryExpr:
		n, isNumber := x.X.(*ast.BasicLit)
		unit, ok := duration(x.Y)
		if !isNumber || !ok || x.Op != token.MUL {
			return 0, false
		}
		count, err := strconv.Atoi(n.Value)
		return time.Duration(count) * unit, err == nil
	case *ast.SelectorExpr:
		unit, ok := map[string]time.Duration{
			"Hour": time.Hour, "Minute": time.Minute, "Second": time.Second, "Millisecond": time.Millisecond,
		}[x.Sel.Name]
		return unit, ok
	}
	return 0, false
}

// words is a duration as the documents write it ("10 min", "60 s", "0.5 s").
func words(d time.Duration) string {
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return number(d.Hours()) + " h"
	case d > time.Minute && d%time.Minute == 0:
		return number(d.Minutes()) + " min"
	}
	return number(d.Seconds()) + " s"
}

// pages are the documents, from the root of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			name, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, filepath.ToSlash(name))
		}
	}
	if len(all) < 10 {
		t.Fatalf("found only %v", all)
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestRelativeLinksLeadSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(prose(read(t, page)), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := page
			if target != "" {
				to = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s links to %s, which has no such heading", page, m[1])
			}
		}
	}
}

// anchors are the headings of a page as links name them.
func anchors(text string) []string {
	var all []string
	for line := range strings.Lines(prose(text)) {
		level := len(line) - len(strings.TrimLeft(line, "#"))
		if level == 0 {
			continue
		}
		name := strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
				return r
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.ToLower(strings.TrimSpace(line[level:])))
		all = append(all, name)
	}
	return all
}

// prose is a page without its blocks of code.
func prose(text string) string {
	parts := strings.Split("\n"+text, "\n```")
	var b strings.Builder
	for i := 0; i < len(parts); i += 2 {
		b.WriteString(parts[i])
		b.WriteByte('\n')
	}
	return b.String()
}

// packagePath is a package of this module, or a family of them ("provider/..."), in backticks.
var packagePath = regexp.MustCompile("`((?:proto|task|config|catalog|sched|deploy|provider|storage|coordinator|agent|client|cmd|dashboard|internal|integration|docs|examples)(?:/[A-Za-z0-9_.-]+)*)`")

func TestPackagesThatAreNamedExist(t *testing.T) {
	found := 0
	for _, page := range []string{"docs/architecture.md", "docs/goroutines.md", "docs/glossary.md", "docs/development.md"} {
		for _, m := range packagePath.FindAllStringSubmatch(prose(read(t, page)), -1) {
			found++
			path := strings.TrimSuffix(m[1], "/...")
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s names %s: %v", page, m[1], err)
			}
		}
	}
	if found < 50 {
		t.Fatalf("found only %d packages", found)
	}
}

var (
	makeCall   = regexp.MustCompile("(?:^|[`\\s])make ([a-z][a-z-]*)")
	makeTarget = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
)

func TestMakeTargetsThatAreNamedExist(t *testing.T) {
	var targets []string
	for _, m := range makeTarget.FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets = append(targets, m[1])
	}
	found := 0
	for _, page := range pages(t) {
		for _, call := range code(read(t, page)) {
			for _, m := range makeCall.FindAllStringSubmatch(call, -1) {
				found++
				if !slices.Contains(targets, m[1]) {
					t.Errorf("%s says make %s, which the Makefile does not have", page, m[1])
				}
			}
		}
	}
	if found < 5 {
		t.Fatalf("found only %d calls of make", found)
	}
}

var quoted = regexp.MustCompile("`[^`\n]+`")

// code is what a page shows as code: its blocks, and what is in backticks.
func code(text string) []string {
	var all []string
	for i, part := range strings.Split("\n"+text, "\n```") {
		if i%2 == 1 {
			all = append(all, part)
		} else {
			all = append(all, quoted.FindAllString(part, -1)...)
		}
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

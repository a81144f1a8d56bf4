package archtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Links returns which packages the programs of the module at root contain that
// they may not, each with the chain of imports that brings it in. Programs that
// do not exist are skipped.
func Links(ctx context.Context, root string) ([]string, error) {
	var problems []string
	for _, l := range links() {
		if sources, _ := filepath.Glob(filepath.Join(root, l.program, "*.go")); len(sources) == 0 {
			continue
		}
		imports, err := dependencies(ctx, root, l.program)
		if err != nil {
			return nil, fmt.Errorf("list what %s links: %w", l.program, err)
		}
		problems = append(problems, l.check(imports)...)
	}
	return problems, nil
}

// dependencies returns what a program links, with what each package imports.
func dependencies(ctx context.Context, root, program string) (map[string][]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./"+program)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return nil, fmt.Errorf("%w: %s", err, failed.Stderr)
	}
	if err != nil {
		return nil, err
	}
	imports := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		imports[fields[0]] = fields[1:]
	}
	return imports, nil
}

// check walks the imports breadth first, so that the chain told is a shortest.
// What is below a refused package is not told as well.
func (l link) check(imports map[string][]string) []string {
	start := Module + "/" + l.program
	from := map[string]string{start: ""}
	var problems []string
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		for _, next := range imports[queue[0]] {
			if _, seen := from[next]; seen {
				continue
			}
			from[next] = queue[0]
			if anyUnder(l.never, next) {
				problems = append(problems, fmt.Sprintf("%s links %s: %s", l.program, chain(from, next), l.why))
				continue
			}
			queue = append(queue, next)
		}
	}
	return problems
}

// chain writes how the walk came to a package.
func chain(from map[string]string, pkg string) string {
	text := pkg
	for at := from[pkg]; from[at] != ""; at = from[at] {
		text = strings.TrimPrefix(at, Module+"/") + " > " + text
	}
	return strings.TrimPrefix(text, Module+"/")
}

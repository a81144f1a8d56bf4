package archtest

import (
	"go/ast"
	"slices"
	"strings"
)

// rowOf returns the row for a package and the family that it belongs to.
func rowOf(pkg string) (r row, family string, ok bool) {
	for _, candidate := range table() {
		f, match := matched(candidate.pkg, pkg)
		if match && (!ok || closer(candidate.pkg, r.pkg)) {
			r, family, ok = candidate, f, true
		}
	}
	return r, family, ok
}

// closer reports whether pattern a says more than b about what both match.
func closer(a, b string) bool {
	stemA, stemB := strings.TrimSuffix(a, "/..."), strings.TrimSuffix(b, "/...")
	if d := strings.Count(stemA, "/") - strings.Count(stemB, "/"); d != 0 {
		return d > 0
	}
	return strings.Count(stemA, "*") < strings.Count(stemB, "*")
}

// imports checks every import of the file against the table.
func (c *checker) imports() {
	r, family, ok := rowOf(c.file.dir)
	if !ok {
		c.report(c.file.syntax.Package, "package %s has no row in the import table (internal/archtest/table.go)", c.file.dir)
		return
	}
	for _, spec := range c.file.syntax.Imports {
		imported := importPath(spec)
		c.importName(spec, imported)
		why := ""
		if own, ok := strings.CutPrefix(imported, Module+"/"); ok {
			why = c.file.arrow(r, family, own)
		} else {
			why = c.file.outside(r, imported)
		}
		if why != "" {
			c.report(spec.Pos(), "%s may not import %s: %s", c.file.dir, strings.TrimPrefix(imported, Module+"/"), why)
		}
	}
}

// importName refuses imports that hide what is used or that register things.
func (c *checker) importName(spec *ast.ImportSpec, imported string) {
	switch {
	case spec.Name == nil || c.file.generated:
	case spec.Name.Name == ".":
		c.report(spec.Pos(), "dot import of %s: it hides where names come from", imported)
	case spec.Name.Name == "_" && imported != "embed" && !c.file.test:
		c.report(spec.Pos(), "blank import of %s: registries are values, built in .../all", imported)
	}
}

// arrow returns why an import of this module is refused, or "".
func (f *file) arrow(r row, family, imported string) string {
	allowed := r.may
	if f.test {
		allowed = slices.Concat(allowed, r.tests, harness())
	}
	// Packages of one family import each other.
	if _, other, ok := rowOf(imported); ok && other == family {
		return ""
	}
	if anyUnder(allowed, imported) {
		return ""
	}
	return r.why
}

// outside returns why an import from outside this module is refused, or "".
func (f *file) outside(r row, imported string) string {
	if !f.test && anyUnder(r.never, imported) {
		return r.why
	}
	for _, e := range exclusives() {
		testing := f.test && slices.Contains(e.pkg, "testing/...")
		if anyUnder(e.pkg, imported) && !testing && !anyUnder(e.only, f.dir) && !under("integration/...", f.dir) {
			return e.why
		}
	}
	return ""
}

func anyUnder(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return under(p, pkg) })
}

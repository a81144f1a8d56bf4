package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// checkPackages checks what holds for packages as a whole: their names, and
// that each has a package comment.
func (t *Tree) checkPackages() []Problem {
	var problems []Problem
	first, documented := map[string]*file{}, map[string]bool{}
	for _, f := range t.files {
		documented[f.dir] = documented[f.dir] || f.generated || f.syntax.Doc != nil
		if first[f.dir] == nil {
			first[f.dir] = f
		}
	}
	for dir, f := range first {
		c := &checker{tree: t, file: f}
		if !documented[dir] {
			c.report(f.syntax.Package, "package %s has no package comment: say what it promises", dir)
		}
		if name := f.syntax.Name.Name; vague(name) || vague(path.Base(dir)) {
			c.report(f.syntax.Name.Pos(), "package %s is named for nothing: name it for what it does", name)
		}
		problems = append(problems, c.problems...)
	}
	return problems
}

func vague(name string) bool {
	name = strings.TrimSuffix(strings.TrimSuffix(name, "_test"), "s")
	return slices.Contains([]string{"util", "common", "helper", "base", "manager"}, name)
}

// source checks what is written in the file.
func (c *checker) source() {
	f := c.file
	if under(protos, f.dir) && !f.test {
		c.report(f.syntax.Package, "hand-written code beside generated code: the model has no logic")
	}
	for _, decl := range f.syntax.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if ok && fn.Recv == nil && fn.Name.Name == "init" {
			c.report(fn.Pos(), "init function: registries are values, and nothing happens before main")
		}
	}
	if !f.test {
		c.contextFields()
		c.endings()
		c.calls()
	}
	if !f.test && !under("cmd/...", f.dir) {
		c.rootContexts()
	}
	c.sleeps()
}

// contextFields refuses contexts in structs.
func (c *checker) contextFields() {
	ctx := c.file.imported("context")
	ast.Inspect(c.file.syntax, func(n ast.Node) bool {
		s, ok := n.(*ast.StructType)
		if !ok {
			return true
		}
		for _, field := range s.Fields.List {
			ast.Inspect(field.Type, func(n ast.Node) bool {
				if _, ok := n.(*ast.FuncType); ok {
					return false
				}
				if _, ok := n.(*ast.StructType); ok {
					return false
				}
				if e, ok := n.(ast.Expr); ok && selects(e, ctx, "Context") {
					c.report(n.Pos(), "context in a struct: pass it as the first argument")
				}
				return true
			})
		}
		return true
	})
}

// rootContexts refuses contexts that nobody ends.
func (c *checker) rootContexts() {
	ctx := c.file.imported("context")
	c.eachSelector(func(s *ast.SelectorExpr) {
		if selects(s, ctx, "Background", "TODO") && !c.marked(s.Pos(), "shutdown") {
			c.report(s.Pos(), "context.Background outside cmd, tests and lines marked //stix:shutdown: every wait ends with its caller")
		}
	})
}

// endings refuses what ends the process.
func (c *checker) endings() {
	if under("cmd/...", c.file.dir) {
		return
	}
	const why = "libraries return errors: only cmd ends a program"
	log, os := c.file.imported("log"), c.file.imported("os")
	c.eachSelector(func(s *ast.SelectorExpr) {
		if selects(s, os, "Exit") || selects(s, log, "Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln") {
			c.report(s.Pos(), why)
		}
	})
	c.each(func(call *ast.CallExpr) {
		if id, ok := call.Fun.(*ast.Ident); !ok || id.Name != "panic" {
			return
		}
		if under(state, c.file.dir) && c.marked(call.Pos(), "assert") {
			return
		}
		c.report(call.Pos(), why)
	})
}

// calls refuses the functions that the package's row names.
func (c *checker) calls() {
	r, _, _ := rowOf(c.file.dir)
	c.eachSelector(func(s *ast.SelectorExpr) {
		for _, refused := range r.calls {
			pkg, name, _ := strings.Cut(refused, ".")
			if selects(s, c.file.imported(pkg), name) {
				c.report(s.Pos(), "%s may not use %s: %s", c.file.dir, refused, r.why)
			}
		}
	})
}

// sleeps refuses time.Sleep, except in a test's bubble.
func (c *checker) sleeps() {
	clock := c.file.imported("time")
	bubbles := c.bubbles()
	c.eachSelector(func(s *ast.SelectorExpr) {
		if !selects(s, clock, "Sleep") {
			return
		}
		inBubble := slices.ContainsFunc(bubbles, func(n ast.Node) bool { return n.Pos() <= s.Pos() && s.Pos() < n.End() })
		if !c.file.test || !inBubble {
			c.report(s.Pos(), "time.Sleep outside a synctest bubble: wait for what you wait for")
		}
	})
}

// bubbles returns the code of the file that runs in virtual time: functions given to synctest.Test, or to a function
// of the package's tests that itself opens a bubble, and functions marked //stix:bubble.
func (c *checker) bubbles() []ast.Node {
	var found []ast.Node
	named := map[string]bool{}
	c.each(func(call *ast.CallExpr) {
		if !c.opens(call) {
			return
		}
		for _, arg := range call.Args {
			switch f := arg.(type) {
			case *ast.FuncLit:
				found = append(found, f)
			case *ast.Ident:
				named[f.Name] = true
			}
		}
	})
	for _, decl := range c.file.syntax.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && (c.marked(fn.Pos(), "bubble") || named[fn.Name.Name]) {
			found = append(found, fn)
		}
	}
	return found
}

// opens reports whether a call runs the functions it is given in a bubble.
func (c *checker) opens(call *ast.CallExpr) bool {
	if selects(call.Fun, c.file.imported("testing/synctest"), "Test") {
		return true
	}
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return c.tree.openers(c.file.dir)[f.Name]
	case *ast.SelectorExpr:
		return c.tree.openers(c.file.dir)[f.Sel.Name]
	}
	return false
}

// openers are the functions of a folder's tests that open a bubble, directly or by way of another. They are found once.
func (t *Tree) openers(dir string) map[string]bool {
	if found, ok := t.opening[dir]; ok {
		return found
	}
	found := map[string]bool{}
	t.opening[dir] = found
	for again := true; again; {
		again = false
		for _, f := range t.files {
			if f.dir != dir || !f.test {
				continue
			}
			c := &checker{tree: t, file: f}
			for _, decl := range f.syntax.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if ok && !strings.HasPrefix(fn.Name.Name, "Test") && !found[fn.Name.Name] && c.callsOpener(fn) {
					found[fn.Name.Name], again = true, true
				}
			}
		}
	}
	return found
}

func (c *checker) callsOpener(fn *ast.FuncDecl) (yes bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && c.opens(call) {
			yes = true
		}
		return !yes
	})
	return yes
}

func (c *checker) each(do func(*ast.CallExpr)) {
	ast.Inspect(c.file.syntax, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			do(call)
		}
		return true
	})
}

func (c *checker) eachSelector(do func(*ast.SelectorExpr)) {
	ast.Inspect(c.file.syntax, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			do(s)
		}
		return true
	})
}

// selects reports whether e is one of the names of a package that the file
// imports as pkg.
func selects(e ast.Expr, pkg string, names ...string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || pkg == "" {
		return false
	}
	id, ok := s.X.(*ast.Ident)
	return ok && id.Name == pkg && slices.Contains(names, s.Sel.Name)
}

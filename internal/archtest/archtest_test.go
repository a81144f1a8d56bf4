package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const root = "../.."

func TestRepositoryFollowsItsRules(t *testing.T) {
	tree, err := Load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.files) < 10 {
		t.Fatalf("found only %d files below %s", len(tree.files), root)
	}
	for _, p := range tree.Check() {
		t.Error(p)
	}
}

func TestProgramsLinkOnlyWhatTheyMay(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	problems, err := Links(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// TestEachRuleCatchesItsViolation gives the checker one bad file per rule.
func TestEachRuleCatchesItsViolation(t *testing.T) {
	const doc = "// Package x is documented.\n"
	for name, c := range map[string]struct{ file, src, want string }{
		"arrow that is not in the table": {
			"coordinator/dispatch/x.go", doc + `package dispatch; import _ "embed"; import "github.com/stix-run/stix/coordinator/clusters"; var _ = clusters.X`,
			"dispatch/x.go:2: coordinator/dispatch may not import coordinator/clusters: behaviours meet"},
		"sibling of a starred row": {
			"provider/aws/x.go", doc + `package aws; import "github.com/stix-run/stix/provider/gcp"; var _ = gcp.X`,
			"provider/aws may not import provider/gcp"},
		"test may not import behaviours": {
			"coordinator/dispatch/x_test.go", doc + `package dispatch; import "github.com/stix-run/stix/coordinator/clusters"; var _ = clusters.X`,
			"may not import coordinator/clusters"},
		"parts of the agent": {
			"agent/exec/x.go", doc + `package exec; import "github.com/stix-run/stix/agent/journal"; var _ = journal.X`,
			"meet in its wiring"},
		"package without a row": {
			"newthing/x.go", doc + `package newthing`, "newthing has no row"},
		"new part of the coordinator": {
			"coordinator/newthing/x.go", doc + `package newthing`, "coordinator/newthing has no row"},
		"forbidden standard package": {
			"coordinator/state/x.go", doc + `package state; import "time"; var _ time.Duration`, "may not import time: the state machine is closed"},
		"below a forbidden standard package": {
			"sched/x.go", doc + `package sched; import "sync/atomic"; var _ atomic.Bool`, "sched may not import sync/atomic"},
		"forbidden function": {
			"sched/x.go", doc + `package sched; import "time"; var now = time.Now`, "sched may not use time.Now"},
		"environment": {
			"task/x.go", doc + `package task; import "os"; var _ = os.Getenv("X")`, "task may not use os.Getenv"},
		"exclusive library": {
			"coordinator/clusters/x.go", doc + `package clusters; import "github.com/hashicorp/raft-boltdb/v2"; var _ = raftboltdb.X`, "one package knows the Raft library"},
		"cloud SDK in a behaviour's test": {
			"coordinator/clusters/x_test.go", doc + `package clusters; import "github.com/aws/aws-sdk-go-v2/aws"; var _ = aws.X`, "cloud SDKs stay"},
		"testing in a program": {
			"internal/seal/x.go", doc + `package seal; import "testing"; var _ testing.TB`, "do not link the testing package"},
		"scenarios are not imported": {
			"client/x_test.go", doc + `package client; import "github.com/stix-run/stix/integration"; var _ = integration.X`, "may not import integration"},
		"init": {
			"client/x.go", doc + `package client; func init() {}`, "init function"},
		"package comment": {
			"client/x.go", `package client`, "no package comment"},
		"vague name": {
			"internal/utils/x.go", doc + `package utils`, "named for nothing"},
		"vague folder": {
			"internal/helper/x.go", doc + `package tidy`, "named for nothing"},
		"root context": {
			"client/x.go", doc + `package client; import "context"; var x = context.Background`, "context.Background outside cmd"},
		"root context under another name": {
			"client/x.go", doc + `package client; import ctx "context"; func f() { ctx.TODO() }`, "context.Background outside cmd"},
		"context in a struct": {
			"client/x.go", doc + `package client; import "context"; type T struct { m map[string][]context.Context }`, "context in a struct"},
		"embedded context": {
			"cmd/stix/x.go", doc + `package main; import "context"; type T struct { context.Context }`, "context in a struct"},
		"sleep in a program": {
			"cmd/stix/x.go", doc + `package main; import "time"; func f() { time.Sleep(1) }`, "time.Sleep outside"},
		"sleep in a test": {
			"client/x_test.go", doc + `package client; import "time"; func f() { time.Sleep(1) }`, "time.Sleep outside"},
		"sleep beside a bubble": {
			"client/x_test.go", doc + `package client; import ("testing"; "testing/synctest"; "time"); func f(t *testing.T) { synctest.Test(t, func(*testing.T) {}); time.Sleep(1) }`, "time.Sleep outside"},
		"bubble mark in a program": {
			"client/x.go", doc + "package client; import \"time\"\n//stix:bubble\nfunc f() { time.Sleep(1) }", "time.Sleep outside"},
		"panic": {
			"client/x.go", doc + `package client; func f() { panic("x") }`, "only cmd ends a program"},
		"assertion elsewhere": {
			"client/x.go", doc + "package client; func f() { panic(1) } //stix:assert", "only cmd ends a program"},
		"unmarked assertion": {
			"coordinator/state/x.go", doc + "package state; func f() { panic(1) }", "only cmd ends a program"},
		"exit": {
			"client/x.go", doc + `package client; import "os"; func f() { os.Exit(1) }`, "only cmd ends a program"},
		"fatal": {
			"client/x.go", doc + `package client; import "log"; func f() { log.Fatalf("x") }`, "only cmd ends a program"},
		"dot import": {
			"client/x.go", doc + `package client; import . "strings"; var _ = ToUpper`, "dot import of strings"},
		"blank import": {
			"client/x.go", doc + `package client; import _ "image/png"`, "blank import of image/png"},
		"hand-written model": {
			"proto/stix/v1/x.go", doc + `package stixv1; func (t *Task) Valid() bool { return true }`, "hand-written code"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := check(t, c.file, c.src)
			if len(problems) != 1 || !strings.Contains(problems[0].String(), c.want) {
				t.Fatalf("found %v, want one with %q", problems, c.want)
			}
		})
	}
}

func TestWhatIsAllowedIsNotRefused(t *testing.T) {
	const doc = "// Package x is documented.\n"
	for name, c := range map[string]struct{ file, src string }{
		"arrow in the table":     {"coordinator/clusters/x.go", doc + `package clusters; import ("github.com/stix-run/stix/provider"; "github.com/stix-run/stix/internal/ids"; "github.com/stix-run/stix/proto/stix/v1"); var _, _, _ = provider.X, ids.X, stixv1.X`},
		"own family":             {"client/logview/x.go", doc + `package logview; import "github.com/stix-run/stix/client"; var _ = client.X`},
		"harness in a test":      {"coordinator/dispatch/x_test.go", doc + `package dispatch; import ("github.com/stix-run/stix/provider/fake"; "math/rand"); var _, _ = fake.X, rand.X`},
		"clock in a test":        {"sched/x_test.go", doc + `package sched; import ("testing"; "time"); var _, _ = time.Now, testing.Short`},
		"durations in sched":     {"sched/x.go", doc + `package sched; import "time"; const d = time.Second`},
		"raft where it belongs":  {"coordinator/consensus/x.go", doc + `package consensus; import "github.com/hashicorp/raft"; var _ = raft.X`},
		"anything in scenarios":  {"integration/x.go", doc + `package integration; import ("context"; "testing"; "github.com/hashicorp/raft"; "github.com/stix-run/stix/agent/exec"); var _, _, _, _ = context.Background, raft.X, exec.X, testing.Short`},
		"testing in a suite":     {"provider/providertest/x.go", doc + `package providertest; import "testing"; var _ testing.TB`},
		"testing in a new suite": {"coordinator/state/statetest/x.go", doc + `package statetest; import "testing"; var _ testing.TB`},
		"exit in cmd":            {"cmd/stix/x.go", doc + `package main; import ("context"; "os"); func main() { _ = context.Background(); os.Exit(1) }`},
		"shutdown":               {"client/x.go", doc + "package client; import \"context\"; func f() {\n\t_ = context.Background() //stix:shutdown\n}"},
		"shutdown, line above":   {"client/x.go", doc + "package client; import \"context\"; func f() {\n\t//stix:shutdown the session is closed after its term\n\t_ = context.Background()\n}"},
		"assertion":              {"coordinator/state/x.go", doc + "package state; func f() {\n\tpanic(1) //stix:assert\n}"},
		"sleep in a bubble":      {"client/x_test.go", doc + `package client; import ("testing"; "testing/synctest"; "time"); func f(t *testing.T) { synctest.Test(t, func(*testing.T) { time.Sleep(1) }) }`},
		"sleep in a bubble opened by a function of the tests": {"client/x_test.go", doc + `package client; import ("testing"; "testing/synctest"; "time"); func in(t *testing.T, f func()) { synctest.Test(t, func(*testing.T) { f() }) }; func TestX(t *testing.T) { in(t, func() { time.Sleep(1) }) }`},
		"sleep in a named function given to a bubble":         {"client/x_test.go", doc + `package client; import ("testing"; "testing/synctest"; "time"); func TestX(t *testing.T) { synctest.Test(t, f) }; func f(*testing.T) { time.Sleep(1) }`},
		"sleep for bubbles":       {"client/x_test.go", doc + "package client; import \"time\"\n\n// f waits.\n//\n//stix:bubble\nfunc f() {\n\ttime.Sleep(1)\n}"},
		"functions with contexts": {"client/x.go", doc + `package client; import "context"; type T struct { f func(context.Context) error; stop context.CancelFunc }; type I interface { F(context.Context) }`},
		"method named init":       {"client/x.go", doc + `package client; type T int; func (T) init() {}`},
		"generated code":          {"proto/stix/v1/x.pb.go", "// Code generated by protoc-gen-go. DO NOT EDIT.\n\npackage stixv1; func init() { panic(1) }"},
		"embed":                   {"deploy/x.go", doc + `package deploy; import _ "embed"`},
		"other folders":           {"client/testdata/x.go", `package nonsense; func init() {}`},
		"nested module":           {"tools/go.mod", "module x"},
	} {
		t.Run(name, func(t *testing.T) {
			if problems := check(t, c.file, c.src); len(problems) != 0 {
				t.Fatalf("refused: %v", problems)
			}
		})
	}
}

func TestLinkCheckTellsTheChain(t *testing.T) {
	l := link{program: "cmd/x", never: []string{"bad/..."}, why: "because"}
	problems := l.check(map[string][]string{
		Module + "/cmd/x":  {"fmt", Module + "/client"},
		Module + "/client": {"lib", Module + "/long"},
		Module + "/long":   {"lib2"},
		"lib2":             {"bad/thing"},
		"lib":              {"bad/thing"},
		"bad/thing":        {"bad/below"},
	})
	if len(problems) != 1 || problems[0] != "cmd/x links client > lib > bad/thing: because" {
		t.Fatalf("found %q", problems)
	}
}

func TestLinkCheckReadsRealPrograms(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":           "module " + Module + "\n\ngo 1.26\n",
		"cmd/stix/main.go": `package main; import "` + Module + `/coordinator"; func main() { coordinator.X() }`,
		"coordinator/x.go": `package coordinator; func X() {}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	problems, err := Links(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "cmd/stix links coordinator: ") {
		t.Fatalf("found %q", problems)
	}
}

func TestEveryRowSaysWhy(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range table() {
		if r.why == "" || seen[r.pkg] {
			t.Errorf("row %q has no reason or is there twice", r.pkg)
		}
		seen[r.pkg] = true
	}
}

func check(t *testing.T, name, src string) []Problem {
	t.Helper()
	tree, err := Load(fstest.MapFS{name: {Data: []byte(src)}})
	if err != nil {
		t.Fatal(err)
	}
	return tree.Check()
}

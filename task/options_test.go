package task

import (
	"errors"
	"strings"
	"testing"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestEnvsAndSecretsByPrecedence(t *testing.T) {
	got := mustParse(t, `
envs: {A: file, B: file, C: file, D: }
secrets: {S: file, T: file, U: file, V: file, W: }
`, Options{
		Env:        []Var{{"A", "first"}, {"A", "option"}, {"F", "option"}},
		EnvFile:    []Var{{"A", "envfile"}, {"B", "envfile"}, {"D", "envfile"}, {"T", "envfile"}, {"U", "envfile"}, {"F", "envfile"}},
		SecretFile: []Var{{"T", "secretfile"}, {"S", "secretfile"}},
		Secrets:    []Var{{"S", "option"}, {"W", "option"}},
	})
	equal(t, got, withDefaults(func(k *stixv1.Task) {
		k.Envs = map[string]string{"A": "option", "B": "envfile", "C": "file", "D": "envfile", "T": "envfile", "U": "envfile", "F": "option"}
		// A variable of --env-file is a secret, too, unless --env says it.
		k.Secrets = map[string]string{"S": "option", "T": "secretfile", "U": "envfile", "V": "file", "W": "option", "B": "envfile", "D": "envfile"}
	}))
}

func TestSecretOptionSuppliesAReference(t *testing.T) {
	for _, file := range []string{"secrets: [secrets:T]", "secrets: {secrets:global.T: }", "secrets: {T: }"} {
		got := mustParse(t, file, Options{Secrets: []Var{{"T", "x"}}})
		if got.GetSecrets()["T"] != "x" || len(got.GetSecrets()) != 1 {
			t.Errorf("%s: %v", file, got)
		}
	}
}

func TestOptionsWinOverTheFile(t *testing.T) {
	file := `
name: a
num_nodes: 2
workdir: there
resources: {infra: aws/r/z, instance_type: m5, cpus: 4, memory: 8, accelerators: A100, use_spot: true, disk_size: 10, labels: {a: b}}
`
	nodes, spot := 3, false
	got := mustParse(t, file, Options{Name: "b", NumNodes: &nodes, Workdir: "here", Resources: ResourceOptions{
		Infra: "/LOCAL/ ", InstanceType: "m6", CPUs: "2+", Memory: "4x", Accelerators: "V100:0.5", DiskSize: "1TB", UseSpot: &spot,
	}})
	equal(t, got, &stixv1.Task{
		Name: "b", NumNodes: 3, Workdir: &stixv1.Workdir{Path: "here"},
		Resources: []*stixv1.Resources{{
			Cloud: "local", InstanceType: "m6", Cpus: &stixv1.Quantity{Value: 2, AtLeast: true}, Memory: &stixv1.Quantity{Value: 4, PerCpu: true},
			Accelerators: map[string]float64{"V100": 0.5}, UseSpot: &spot, DiskSize: 1024, Labels: map[string]string{"a": "b"},
		}},
	})

	got = mustParse(t, file, Options{Resources: ResourceOptions{
		Infra: "none", InstanceType: "none", CPUs: "None", Memory: "NONE", Accelerators: "none", DiskSize: "none",
	}})
	if r := got.GetResources()[0]; r.GetCloud()+r.GetRegion()+r.GetZone()+r.GetInstanceType() != "" || r.Cpus != nil || r.Memory != nil || len(r.Accelerators) != 0 || r.DiskSize != 0 {
		t.Errorf("none does not reset: %v", r)
	}

	got = mustParse(t, file, Options{Resources: ResourceOptions{Region: "r2", Zone: "none"}})
	if r := got.GetResources()[0]; r.GetCloud() != "aws" || r.GetRegion() != "r2" || r.GetZone() != "" {
		t.Errorf("--region and --zone: %v", r)
	}
}

func TestWrongOptionsAreToldAfterTheFile(t *testing.T) {
	zero := 0
	_, err := Parse("t.yaml", []byte("nam: x"), Options{
		Name: "a b", NumNodes: &zero, Env: []Var{{"a-b", "x"}},
		Resources: ResourceOptions{Infra: "loca", Cloud: "aws", CPUs: "four", Memory: "32G", Accelerators: "A100:x", DiskSize: "1.5TB"},
	})
	want := strings.TrimSpace(`
t.yaml:1:1: unknown key "nam" in task (did you mean "name"?)
--env: "a-b" is no name of a variable: use letters, digits and _, and no digit first
--num-nodes: has to be at least 1
--infra: excludes --cloud, --region and --zone
--cpus: "four" is not a number of CPUs: write 4, 0.5 or 4+
--memory: "32G" is not an amount of memory: write 16 (GB), 16+, 32GB+ or 4x; units are KB, MB, GB, TB, PB
--disk-size: "1.5TB" is not a disk size: write 100 (GB) or 1TB; units are KB, MB, GB, TB, PB
--gpus: "A100:x" is not NAME or NAME:COUNT
--name: "a b" is no name of a task: use letters and digits, with at most two of . _ - between them`)
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	_, err = Parse("t.yaml", []byte("run: x"), Options{Resources: ResourceOptions{Infra: "loca"}})
	if err == nil || err.Error() != `--infra: "loca" is no cloud that is known here (did you mean "local"?)` {
		t.Error(err)
	}
}

func TestFromCommand(t *testing.T) {
	got, err := FromCommand([]string{"echo", "$A", "'b c'"}, Options{Env: []Var{{"A", "1"}}, Resources: ResourceOptions{Infra: "local"}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, &stixv1.Task{
		Name: "sky-cmd", NumNodes: 1, Run: "echo $A 'b c'", IsCommand: true, Envs: map[string]string{"A": "1"},
		Resources: []*stixv1.Resources{{Cloud: "local"}},
	})
	for name, o := range map[string]Options{
		`--env: "A" is given twice`:                                      {Env: []Var{{"A", "1"}, {"A", "2"}}},
		`--secret: "A" is given twice`:                                   {Secrets: []Var{{"A", "1"}, {"A", "2"}}},
		`an option or argument has a NUL character or is no valid UTF-8`: {Env: []Var{{"A", "\xff"}}},
	} {
		if _, err := FromCommand([]string{"x"}, o); err == nil || err.Error() != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}
	if _, err := FromCommand([]string{"a\xffb"}, Options{}); err == nil {
		t.Error("words that are no UTF-8 fit no message")
	}
}

func TestParseVars(t *testing.T) {
	lookup := func(name string) (string, bool) { return "from here", name == "SET" }
	got, err := ParseVars("--env", []string{"A=1", "B=", "C=x=y", "SET"}, lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := []Var{{"A", "1"}, {"B", ""}, {"C", "x=y"}, {"SET", "from here"}}
	for i, v := range got {
		if v != want[i] {
			t.Errorf("%v, want %v", v, want[i])
		}
	}
	for word, want := range map[string]string{
		"UNSET": "--env UNSET: it is not set here: set it, or write UNSET=VALUE",
		"1A=x":  `--env 1A: "1A" is no name of a variable: use letters, digits and _, and no digit first`,
		"=x":    `--env : "" is no name of a variable: use letters, digits and _, and no digit first`,
	} {
		if _, err := ParseVars("--env", []string{word}, lookup); err == nil || err.Error() != want {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestParseDotenvReadsAsPythonDotenvDoes(t *testing.T) {
	lookup := func(name string) (string, bool) { return "h", name == "HOST" }
	for text, want := range map[string]string{
		"A=1": "A=1", "export A=1": "A=1", " A = 1 ": "A=1", "A=": "A=", "A==1": "A==1", "A=a=b": "A=a=b", "A=é": "A=é",
		`A="x\ny"`: "A=x\ny", `A='x\ny'`: `A=x\ny`, `A="q\"q"`: `A=q"q`, `A='it\'s'`: "A=it's", `A="\t\\ \x"`: "A=\t\\ \\x",
		"A=a b # c": "A=a b", "A=a#b": "A=a#b", `A="a"#b`: "A=a", `A="a" # b`: "A=a", "A=#x": "A=#x", "A= #x": "A=",
		"A=$HOST": "A=$HOST", "A=${HOST}": "A=h", "A='${HOST}'": "A=h", "A=${NOPE}": "A=", "A=${NOPE:-d}": "A=d", "A=$${HOST}": "A=$h", "A=${HOST": "A=${HOST",
		"A=1\nB=${A}2": "A=1|B=12", "HOST=z\nA=${HOST}": "HOST=z|A=z", "A=1\nA=2": "A=2",
		"A=\"multi\nline\"\nB=2": "A=multi\nline|B=2", "# c\n\nA=1": "A=1", "A=1\r\nB=2\r\n": "A=1|B=2", "\ufeffA=1": "A=1", "": "",
		`A={"a": "b c"}`: `A={"a": "b c"}`,
	} {
		vars, err := ParseDotenv("x.env", []byte(text), lookup)
		var got []string
		for _, v := range vars {
			got = append(got, v.Name+"="+v.Value)
		}
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q became %q (%v), want %q", text, strings.Join(got, "|"), err, want)
		}
	}
}

func TestParseDotenvRefusesWhatItCannotRead(t *testing.T) {
	_, err := ParseDotenv("x.env", []byte("A=1\nB\n1C=2\n=3\nD=\"open\nE='x' y\na-b=1\n"), func(string) (string, bool) { return "", false })
	want := strings.TrimSpace(`
x.env:2:1: B has no value: write B= for an empty one
x.env:3:1: "1C" is no name of a variable: use letters, digits and _, and no digit first
x.env:4:1: has no NAME=value
x.env:5:1: D: the quotes do not close, or something follows them
x.env:6:1: E: the quotes do not close, or something follows them
x.env:7:1: "a-b" is no name of a variable: use letters, digits and _, and no digit first`)
	var all Errors
	if !errors.As(err, &all) || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

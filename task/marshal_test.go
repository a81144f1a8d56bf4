package task

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// TestMarshalledTasksReadBackEqual makes tasks of everything that is awkward in
// YAML.
func TestMarshalledTasksReadBackEqual(t *testing.T) {
	for seed := range uint64(500) {
		want := randomTask(rand.New(rand.NewPCG(seed, 1)))
		text, err := Marshal(want)
		if err != nil {
			if sayable(want) == nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			continue
		}
		got, err := Parse("t.yaml", text, Options{})
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		if !proto.Equal(got, want) {
			t.Fatalf("seed %d:\n%s\nwant %v\ngot  %v", seed, text, want, got)
		}
	}
}

func randomTask(r *rand.Rand) *stixv1.Task {
	t := &stixv1.Task{NumNodes: 1 + r.Int32N(5), Name: pick(r, "", "a", "1", "yes", "010", "a.b-c_d", "null", "1.5"), Resources: []*stixv1.Resources{randomResources(r)}}
	if r.IntN(2) == 0 {
		t.Workdir = &stixv1.Workdir{Path: "w" + awkward(r)}
	}
	for i := range r.IntN(3) {
		t.FileMounts = append(t.FileMounts, &stixv1.FileMount{Destination: fmt.Sprintf("/%d%sx", i, awkward(r)), Source: "s" + awkward(r) + "x"})
	}
	t.Envs, t.Secrets = randomVars(r), randomVars(r)
	if r.IntN(3) > 0 {
		t.Setup, t.Run = awkward(r), awkward(r)
	}
	return t
}

func randomResources(r *rand.Rand) *stixv1.Resources {
	res := &stixv1.Resources{
		Cloud: pick(r, "", "aws", "kubernetes", "ssh", "local"), Region: pick(r, "", "r", "a/b", "ssh-x", "*", " r"), Zone: pick(r, "", "z", "no", "1:30"),
		InstanceType: pick(r, "", "m5.large", "1e3", "12"), DiskSize: int64(r.IntN(2) * 256),
	}
	if r.IntN(2) == 0 {
		res.Cpus = &stixv1.Quantity{Value: float64(1+r.IntN(9)) / 3, AtLeast: r.IntN(2) == 0}
		res.Memory = &stixv1.Quantity{Value: r.Float64() * 1e9, PerCpu: r.IntN(2) == 0}
		res.Accelerators = map[string]float64{pick(r, "A100", "RTX 4090", "80", "no"): pick(r, 1, 0.5, 1e20)}
		res.UseSpot = new(r.IntN(2) == 0)
		res.Labels = map[string]string{pick(r, "a", "yes", "1", "<<", "~") + awkward(r): awkward(r)}
	}
	return res
}

func randomVars(r *rand.Rand) map[string]string {
	var vars map[string]string
	for range r.IntN(4) {
		if vars == nil {
			vars = map[string]string{}
		}
		vars[pick(r, "A", "yes", "NO", "null", "_1", "x")] = awkward(r)
	}
	return vars
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// awkward is text that a careless writer of YAML loses something of.
func awkward(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(6) {
		b.WriteString(pick(r, " ", "  ", "\n", "\n\n", "\t", "\r", "\r\n", "a", "yes", "010", "1:30", "~", "null", "'", `"`, `\`, "#", " # ", ":", ": ", "- ", "-", "? ", "!x ", "&a", "*a", "%", "@", "`",
			"{", "}", "[", "]", ",", "|", ">", "<<", "=", "---\n", "...", "é", "\u00a0", "\u0085", "\u2028", "\ufeff", "\u200b", "😀", "\ufffd", "$A", "${x}", "$", "\x01", "\x7f", "echo hi\n", "  indented\n", "2024-01-02", "2001-12-14t21:59:43.10-05:00", ".inf"))
	}
	return b.String()
}

func TestMarshalWritesTheNormalForm(t *testing.T) {
	got, err := Marshal(mustParse(t, `{run: "a\nb\n", resources: {cpus: 4+, memory: 32GB, infra: aws/r, accelerators: "A100:8"}, secrets: {T: x}, envs: {B: 1, A: yes}, name: n, file_mounts: {/a: ./b}}`, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
name: n
num_nodes: 1
resources:
  infra: aws/r
  cpus: "4+"
  memory: "32"
  accelerators:
    A100: 8
file_mounts:
  /a: ./b
envs:
  A: "True"
  B: "1"
secrets:
  T: x
run: |
  a
  b
`, "\n")
	if string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestMarshalRedactedShowsNoSecret(t *testing.T) {
	got, err := MarshalRedacted(mustParse(t, "run: x\nsecrets: {T: swordfish, U: }\n", Options{Secrets: []Var{{"U", "sesame"}}}))
	if err != nil {
		t.Fatal(err)
	}
	if s := string(got); strings.Contains(s, "swordfish") || strings.Contains(s, "sesame") || strings.Count(s, Redacted) != 2 {
		t.Error(s)
	}
}

func TestMarshalRefusesWhatNoFileCanSay(t *testing.T) {
	for name, task := range map[string]*stixv1.Task{
		"path with the name of a variable": {NumNodes: 1, Workdir: &stixv1.Workdir{Path: "a$V"}, Envs: map[string]string{"V": "x"}},
		"candidates":                       {NumNodes: 1, Resources: []*stixv1.Resources{{Cloud: "aws"}, {Cloud: "gcp"}}},
		"accelerators":                     {NumNodes: 1, Resources: []*stixv1.Resources{{Accelerators: map[string]float64{"A": 1, "B": 1}}}},
		"git":                              {NumNodes: 1, Workdir: &stixv1.Workdir{GitUrl: "https://x/y"}},
	} {
		if got, err := Marshal(task); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestBuildMakesWhatAFileMakes(t *testing.T) {
	spot := true
	got, err := Build(Draft{
		Name: "n", NumNodes: 2, Workdir: "./w", Setup: "s", Run: "r",
		Resources:  DraftResources{Infra: "AWS/r", InstanceType: "m5", CPUs: "4+", Memory: "32GB", Accelerators: "A100:8", DiskSize: "1TB", UseSpot: &spot, Labels: map[string]string{"a": "b"}},
		FileMounts: []Mount{{"/z/$A", "x"}, {"/a", "y"}},
		Envs:       map[string]string{"A": "1", "E": ""}, Secrets: map[string]string{"S": "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, mustParse(t, `
name: n
num_nodes: 2
resources: {infra: aws/r, instance_type: m5, cpus: 4+, memory: 32, accelerators: {A100: 8}, disk_size: 1024, use_spot: true, labels: {a: b}}
workdir: ./w
file_mounts: {/z/1: x, /a: y}
envs: {A: 1, E: ""}
secrets: {S: x}
setup: s
run: r
`, Options{}))

	_, err = Build(Draft{Name: "a b", NumNodes: -1, Resources: DraftResources{CPUs: "four"}, FileMounts: []Mount{{"/a/", ""}}})
	want := strings.TrimSpace(`
num_nodes: has to be between 1 and 2147483647, not -1
resources.cpus: "four" is not a number of CPUs: write 4, 0.5 or 4+
file_mounts["/a/"]: the destination "/a/" of a file mount ends in a slash: drop it
file_mounts["/a/"]: the source is empty
name: "a b" is no name of a task: use letters and digits, with at most two of . _ - between them`)
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

package task

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// task is a task with the defaults of Parse and then some.
func withDefaults(edit func(*stixv1.Task)) *stixv1.Task {
	t := &stixv1.Task{NumNodes: 1, Resources: []*stixv1.Resources{{}}}
	if edit != nil {
		edit(t)
	}
	return t
}

func node(r *stixv1.Resources) *stixv1.Task {
	return &stixv1.Task{NumNodes: 1, Resources: []*stixv1.Resources{r}}
}

func equal(t *testing.T, got, want *stixv1.Task) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("unexpected task (-want +got):\n%s", diff)
	}
}

func mustParse(t *testing.T, file string, o Options) *stixv1.Task {
	t.Helper()
	got, err := Parse("t.yaml", []byte(file), o)
	if err != nil {
		t.Fatalf("%s\n%v", file, err)
	}
	return got
}

func TestParseReadsEveryCarriedKey(t *testing.T) {
	got := mustParse(t, `
name: train.v2
num_nodes: 010
workdir: ~/code
resources:
  infra: aws/us-east-1/us-east-1a
  instance_type: p4d.24xlarge
  cpus: 4+
  memory: 1024MB
  accelerators: A100:8
  use_spot: no
  disk_size: 1TB
  labels: {team: a, 1: b}
file_mounts:
  ~/data/$SET: ./data/${SET}.csv
  /etc/b: b
envs:
  SET: train
  FLAG: yes
  N: 010
secrets:
  TOKEN: 1.0
setup: pip install .
run: |
  python train.py
`, Options{})
	spot := false
	equal(t, got, &stixv1.Task{
		Name: "train.v2", NumNodes: 8, Workdir: &stixv1.Workdir{Path: "~/code"},
		Resources: []*stixv1.Resources{{
			Cloud: "aws", Region: "us-east-1", Zone: "us-east-1a", InstanceType: "p4d.24xlarge",
			Cpus: &stixv1.Quantity{Value: 4, AtLeast: true}, Memory: &stixv1.Quantity{Value: 1},
			Accelerators: map[string]float64{"A100": 8}, UseSpot: &spot, DiskSize: 1024, Labels: map[string]string{"team": "a", "1": "b"},
		}},
		FileMounts: []*stixv1.FileMount{{Destination: "~/data/train", Source: "./data/train.csv"}, {Destination: "/etc/b", Source: "b"}},
		Envs:       map[string]string{"SET": "train", "FLAG": "True", "N": "8"},
		Secrets:    map[string]string{"TOKEN": "1.0"},
		Setup:      "pip install .", Run: "python train.py\n",
	})
}

func TestParseAcceptsWhatSkyPilotAccepts(t *testing.T) {
	for file, want := range map[string]*stixv1.Task{
		"{}": withDefaults(nil),
		"name:\nsetup:\nrun:\nenvs:\nsecrets:\nfile_mounts:\nresources:\nnum_nodes:\nworkdir:\nservice:\n": withDefaults(nil),
		"\ufeffrun: x":                                  withDefaults(func(k *stixv1.Task) { k.Run = "x" }),
		"run: x\r\nsetup: y\r\n":                        withDefaults(func(k *stixv1.Task) { k.Run, k.Setup = "x", "y" }),
		"name: p":                                       withDefaults(func(k *stixv1.Task) { k.Name = "p" }),
		"name: p\nexecution: serial":                    withDefaults(func(k *stixv1.Task) { k.Name = "p" }),
		"name: p\n---\nname: q\nrun: x":                 withDefaults(func(k *stixv1.Task) { k.Name, k.Run = "p", "x" }),
		"name: p\n---\nrun: x":                          withDefaults(func(k *stixv1.Task) { k.Name, k.Run = "p", "x" }),
		"---\n---\nrun: x\n---\n":                       withDefaults(func(k *stixv1.Task) { k.Run = "x" }),
		"envs: &e {A: 1}\nsecrets: {<<: *e, B: }\n":     nil,
		"name: 'a.b-c_d'":                               withDefaults(func(k *stixv1.Task) { k.Name = "a.b-c_d" }),
		"name: '1'":                                     withDefaults(func(k *stixv1.Task) { k.Name = "1" }),
		"name: a--b":                                    withDefaults(func(k *stixv1.Task) { k.Name = "a--b" }),
		"num_nodes: 1:30":                               withDefaults(func(k *stixv1.Task) { k.NumNodes = 90 }),
		"resources: {infra: k8s/a/b:c}":                 node(&stixv1.Resources{Cloud: "kubernetes", Region: "a/b:c"}),
		"resources: {infra: local}":                     node(&stixv1.Resources{Cloud: "local"}),
		"resources: {cloud: AWS, zone: z}":              node(&stixv1.Resources{Cloud: "aws", Zone: "z"}),
		"resources: {memory: 010, cpus: 0.5}":           node(&stixv1.Resources{Memory: &stixv1.Quantity{Value: 8}, Cpus: &stixv1.Quantity{Value: 0.5}}),
		"resources: {memory: 10:30}":                    node(&stixv1.Resources{Memory: &stixv1.Quantity{Value: 630}}),
		"resources: {accelerators: {A100:1}}":           node(&stixv1.Resources{Accelerators: map[string]float64{"A100": 1}}),
		"resources: {accelerators: {A100: }}":           node(&stixv1.Resources{Accelerators: map[string]float64{"A100": 1}}),
		"resources: {accelerators: {A100: 0.5}}":        node(&stixv1.Resources{Accelerators: map[string]float64{"A100": 0.5}}),
		"resources: {accelerators: !!set {\"A100:8\"}}": node(&stixv1.Resources{Accelerators: map[string]float64{"A100": 8}}),
		"resources: {accelerators: [A100]}":             node(&stixv1.Resources{Accelerators: map[string]float64{"A100": 1}}),
		"resources: {gpus: TPU-v3-8}":                   node(&stixv1.Resources{Accelerators: map[string]float64{"tpu-v3-8": 1}}),
		// SkyPilot drops a size of 256, which then cannot be asked for.
		"resources: {disk_size: 256}": node(&stixv1.Resources{DiskSize: 256}),
	} {
		got, err := Parse("t.yaml", []byte(file), Options{})
		if want == nil {
			if err == nil {
				t.Errorf("%q: no error", file)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", file, err)
			continue
		}
		equal(t, got, want)
	}
}

func TestSubstitutionInPaths(t *testing.T) {
	for text, want := range map[string]string{
		"$V": "val", "${V}": "val", "a/$V/b${V}c": "a/val/bvalc",
		"$UNKNOWN": "$UNKNOWN", "$Vx": "$Vx", "${UNKNOWN}": "${UNKNOWN}",
		"$$V": "$val", `\$V`: `\val`, "$": "$", "a$": "a$", "$ V": "$ V", "${": "${", "${}": "${}",
		// SkyPilot swallows the brace of these two; here they are left alone.
		"${V": "${V", "${V:-d}": "${V:-d}",
		"$W": "$V", "$S": "from secrets",
	} {
		got := mustParse(t, "envs: {V: val, W: $V, S: from envs}\nsecrets: {S: from secrets}\nworkdir: '"+text+"'", Options{})
		if dir := got.GetWorkdir().GetPath(); dir != want {
			t.Errorf("%s became %s, want %s", text, dir, want)
		}
	}
	got := mustParse(t, "envs: {V: 'a\"b\\c'}\nfile_mounts: {/$V: $V}\nname: x\nrun: echo $V", Options{})
	if m := got.GetFileMounts()[0]; m.GetDestination() != `/a"b\c` || m.GetSource() != `a"b\c` || got.GetRun() != "echo $V" {
		t.Error(got)
	}
}

func TestFileMountsKeepTheOrderOfTheFile(t *testing.T) {
	got := mustParse(t, "file_mounts: {/z: a, /a: b, /m: c}", Options{})
	want := []*stixv1.FileMount{{Destination: "/z", Source: "a"}, {Destination: "/a", Source: "b"}, {Destination: "/m", Source: "c"}}
	if diff := cmp.Diff(want, got.GetFileMounts(), protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestExamplesParse(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(filepath.Base(file), data, Options{})
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if got.GetRun() == "" || got.GetName() == "" {
			t.Errorf("%s: an example has a name and runs something", file)
		}
		text, err := Marshal(got)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if again := mustParse(t, string(text), Options{}); !proto.Equal(again, got) {
			t.Errorf("%s does not survive Marshal", file)
		}
	}
}

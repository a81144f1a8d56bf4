package task

import (
	"slices"
	"testing"

	"github.com/stix-run/stix/internal/nearest"
)

func TestParseCPUs(t *testing.T) {
	for text, want := range map[string]string{
		"4": "4", "4+": "4+", "0.5": "0.5", "0.5+": "0.5+", " 4 +": "4+", "1e1": "10", "+4": "4", "04+": "4+", ".5": "0.5", "1.": "1", "1_000": "1000",
		"": "", "0": "", "0+": "", "-1": "", "four": "", "4x": "", "4GB": "", "inf": "", "nan": "", "0x4": "", "4++": "", "+": "", "1__0": "", "1e999": "",
	} {
		checkQuantity(t, "ParseCPUs", text, want)
	}
}

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]string{
		"16": "16", "16+": "16+", "4x": "4x", "4.5x": "4.5x", "1024MB": "1", "500MB": "0.48828125", "32GB+": "32+", "32gb": "32", "32Gi": "32", "32gB": "32", "32 GB": "32",
		"1.5GB": "1.5", "1TB+": "1024+", "1PB": "1048576", "1kb": "0.00000095367431640625", "1024ki+": "0.0009765625+", " 4 ": "4",
		"32G": "", "0": "", "-1": "", "4x+": "", "4GBx": "", "4++": "", "": "", "GB": "", "x": "", "+": "", "inf": "", "1EB": "", "0GB": "", "9e400PB": "",
	} {
		checkQuantity(t, "ParseMemory", text, want)
	}
}

// checkQuantity takes "" for an error.
func checkQuantity(t *testing.T, parser, text, want string) {
	t.Helper()
	parse := ParseCPUs
	if parser == "ParseMemory" {
		parse = ParseMemory
	}
	q, err := parse(text)
	switch {
	case err != nil && want != "":
		t.Errorf("%s(%q): %v", parser, text, err)
	case err == nil && FormatQuantity(q) != want:
		t.Errorf("%s(%q) = %s, want %q", parser, text, FormatQuantity(q), want)
	}
}

func TestParseDiskSize(t *testing.T) {
	for text, want := range map[string]int64{
		"100": 100, "256": 256, "010": 10, "2048MB": 2, "1TB": 1024, "10gb": 10, "10Gi": 10, "1PB": 1 << 20,
		"1500MB": 0, "512KB": 0, "256.0": 0, "1.5TB": 0, "10+": 0, "0": 0, "-1": 0, "": 0, "TB": 0, "10T": 0, " 10": 0, "1_0": 0, "9007199254740991PB": 0, "99999999999999999999": 0,
	} {
		got, err := ParseDiskSize(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d (%v), want %d", text, got, err, want)
		}
	}
}

func TestParseAccelerators(t *testing.T) {
	for text, want := range map[string]struct {
		name  string
		count float64
	}{
		"A100": {"A100", 1}, "A100:8": {"A100", 8}, "A100:0.5": {"A100", 0.5}, "a100": {"a100", 1}, "RTX 4090": {"RTX 4090", 1}, "H100: 8 ": {"H100", 8}, "TPU-v3-8": {"tpu-v3-8", 1},
		"": {}, ":8": {}, "A100:": {}, "A100:0": {}, "A100:-1": {}, "A100:x": {}, "A100:1:2": {}, "A100:inf": {}, "A100:8+": {},
	} {
		name, count, err := ParseAccelerators(text)
		if name != want.name || count != want.count || (err == nil) != (want.name != "") {
			t.Errorf("%q is %s:%v (%v), want %v", text, name, count, err, want)
		}
	}
}

func TestParseInfra(t *testing.T) {
	for text, want := range map[string]Infra{
		"aws": {Cloud: "aws"}, "AWS/us-east-1": {"aws", "us-east-1", ""}, "aws/*/us-east-1a": {"aws", "", "us-east-1a"}, "*": {}, "*/*": {}, "*/*/z": {"", "", "z"}, "*/r": {"", "r", ""},
		"aws/*": {Cloud: "aws"}, "gcp/*/*": {Cloud: "gcp"}, "nebius/ eu": {"nebius", "eu", ""}, "aws/us east": {"aws", "us east", ""}, "local": {Cloud: "local"},
		"k8s": {Cloud: "kubernetes"}, "K8S/x": {Cloud: "kubernetes", Region: "x"}, "k8s/a/b:c": {Cloud: "kubernetes", Region: "a/b:c"}, "k8s/*": {Cloud: "kubernetes"},
		"ssh": {Cloud: "ssh"}, "ssh/pool": {Cloud: "ssh", Region: "ssh-pool"}, "ssh/a/b": {Cloud: "ssh", Region: "ssh-a/b"}, "slurm/c/p": {"slurm", "c", "p"},
	} {
		got, err := ParseInfra(text)
		if err != nil || got != want {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
		if again, err := ParseInfra(got.String()); got != (Infra{}) && (err != nil || again != got) {
			t.Errorf("%q prints as %q, which reads as %v (%v)", text, got, again, err)
		}
	}
	for _, text := range []string{"", "aws//x", "aws/a/b/c", "/aws", "aws/", " aws", "foo", "**", "aws/ /x", "k8s/", "/"} {
		if got, err := ParseInfra(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestKeysOfAMappingAreDistinct(t *testing.T) {
	for _, names := range [][]string{taskLevel().names(), resourcesLevel().names()} {
		slices.Sort(names)
		if len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("a key twice: %v", names)
		}
	}
}

func TestNearest(t *testing.T) {
	known := taskLevel().names()
	for word, want := range map[string]string{
		"env": "envs", "ENVS": "envs", "resource": "resources", "nodes": "num_nodes", "numnodes": "num_nodes", "filemounts": "file_mounts",
		"mounts": "file_mounts", "working_dir": "workdir", "set_up": "setup", "runs": "run", "secret": "secrets", "command": "", "x": "", "": "",
	} {
		if got := nearest.Word(word, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}

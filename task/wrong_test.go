package task

import (
	"errors"
	"strings"
	"testing"
)

// wrongFiles are task files and all that Parse has to say about each.
var wrongFiles = []struct{ name, file, want string }{
	{"unknown key", "nam: x", `1:1: unknown key "nam" in task (did you mean "name"?)`},
	{"missing letter", "name: x\nnum_node: 2\nrun: echo", `2:1: unknown key "num_node" in task (did you mean "num_nodes"?)`},
	{"several unknown keys", "resource: {}\nrun: x\nfile_mount: {}", `1:1: unknown key "resource" in task (did you mean "resources"?)` + "\n" + `3:1: unknown key "file_mount" in task (did you mean "file_mounts"?)`},
	{"key like nothing", "x-anchors: 1", `1:1: unknown key "x-anchors" in task`},
	{"key of another level", "run: x\nlabels: {a: b}", `2:1: unknown key "labels" in task`},
	{"capital letter", "resources:\n  Memory: 4", `2:3: unknown key "Memory" in resources (did you mean "memory"?)`},
	{"cpu", "resources:\n  cpu: 4", `2:3: unknown key "cpu" in resources (did you mean "cpus"?)`},
	{"key that is a boolean", "true: x", `1:1: unknown key "true" in task`},
	{"key that is null", "~: x", `1:1: unknown key "~" in task`},
	{"key that is a list", "? [a, b]\n: c", `1:3: a key cannot be a list or a mapping`},

	{"duplicate key", "run: x\nrun: y", `2:1: duplicate key "run" (also defined on line 1)`},
	{"duplicate key further down", "envs:\n  A: 1\n  B: 2\n  A: 3", `4:3: duplicate key "A" (also defined on line 2)`},
	{"duplicate merge key", "envs:\n  <<: {A: 1}\n  <<: {B: 2}", `3:3: duplicate key "<<" (also defined on line 2)`},
	{"merge of a number", "envs: {<<: 3}", `1:12: "<<" merges a mapping or a list of mappings, not the number 3`},

	{"service with a typing error", "run: x\nservice:\n  replica: 2", `2:1: "service" is not supported yet` + "\n" + `3:3: unknown key "replica" in service (did you mean "replicas"?)`},
	{"pool", "pool: {workers: 1}", `1:1: "pool" is not supported yet`},
	{"config", "config: {docker: {run_options: x}}", `1:1: "config" is not supported yet`},
	{"volumes", "volumes: {/a: {nam: x}}", `1:1: "volumes" is not supported yet` + "\n" + `1:16: unknown key "nam" in volume (did you mean "name"?)`},
	{"internal key", "_metadata: {}", `1:1: "_metadata" is not supported yet`},
	{"candidates", "resources:\n  any_of:\n    - {infra: aws, cpu: 4}\n    - {infra: gcp}", `2:3: "resources.any_of" is not supported yet` + "\n" + `3:20: unknown key "cpu" in resources (did you mean "cpus"?)`},
	{"autostop", "resources: {autostop: {idle_minute: 3}}", `1:13: "resources.autostop" is not supported yet` + "\n" + `1:24: unknown key "idle_minute" in autostop (did you mean "idle_minutes"?)`},
	{"two resource keys", "resources: {ports: 80, image_id: x}", `1:13: "resources.ports" is not supported yet` + "\n" + `1:24: "resources.image_id" is not supported yet`},

	{"zero nodes", "num_nodes: 0", `1:12: num_nodes: has to be between 1 and 2147483647, not 0`},
	{"nodes in quotes", `num_nodes: "2"`, `1:12: num_nodes: has to be a whole number, not the text "2"`},
	{"nodes as a float", "num_nodes: 2.0", `1:12: num_nodes: has to be a whole number, not the number 2.0`},
	{"nodes as a boolean", "num_nodes: yes", `1:12: num_nodes: has to be a whole number, not the boolean yes`},
	{"too many nodes", "num_nodes: 99999999999", `1:12: num_nodes: has to be between 1 and 2147483647, not 99999999999`},
	{"bad name", "name: a---b", `1:7: name: "a---b" is no name of a task: use letters and digits, with at most two of . _ - between them`},
	{"name that is a number", "name: 12", `1:7: name: has to be text, not the number 12: put it in quotes`},
	{"run that is a list", "run:\n- a\n- b", `2:1: run: has to be text, not a list`},
	{"setup that is a boolean", "setup: on", `1:8: setup: has to be text, not the boolean on: put it in quotes`},
	{"NUL in run", `run: "a\0b"`, `1:6: run: a NUL character is not allowed`},

	{"envs that are a list", "envs: [A]", `1:7: envs: has to be a mapping, not a list`},
	{"bad names of envs", "envs:\n  1A: x\n  a-b: y", `2:3: "1A" is no name of a variable: use letters, digits and _, and no digit first` + "\n" + `3:3: "a-b" is no name of a variable: use letters, digits and _, and no digit first`},
	{"env without a value", "envs:\n  A:\n  B: ~", `2:3: env A has no value: give one with --env A=VALUE, or write A: "" for an empty one` + "\n" + `3:3: env B has no value: give one with --env B=VALUE, or write B: "" for an empty one`},
	{"secrets that are text", "secrets: swordfish", `1:10: secrets: has to be a mapping, or a list of references`},
	{"secret in a list", "secrets: [swordfish]", `1:11: a secret in a list has to be "secrets:NAME"; to give a value write secrets: {NAME: value}`},
	{"reference in a list", "secrets: [secrets:workspace.T]", `1:11: secret T has no value: give one with --secret T=VALUE; secrets managed by the server are not supported yet`},
	{"reference in a mapping", "secrets: {T: }", `1:11: secret T has no value: give one with --secret T=VALUE; secrets managed by the server are not supported yet`},
	{"reference with a value", "secrets: {secrets:T: swordfish}", `1:11: secret "secrets:T": a reference has no value; drop the "secrets:" to give one`},
	{"half a docker login", "envs:\n  X: y\n  SKYPILOT_DOCKER_USERNAME: a", `3:3: the variables of a docker login belong together in envs; missing: SKYPILOT_DOCKER_PASSWORD, SKYPILOT_DOCKER_SERVER`},

	{"workdir from git", `workdir: {url: "https://x/y", rev: main}`, `1:10: workdir: the git form {url, ref} is not supported yet` + "\n" + `1:31: unknown key "rev" in workdir (did you mean "ref"?)`},
	{"workdir that is a URL", "workdir: https://github.com/x/y", `1:10: workdir: "https://github.com/x/y" is a URL; the git form {url: URL} is not supported yet`},
	{"workdir that is a number", "workdir: 3", `1:10: workdir: has to be text, not the number 3: put it in quotes`},
	{"empty workdir", `workdir: ""`, `1:10: workdir: is empty`},

	{"mount of a bucket URL", "file_mounts:\n  /data: s3://bucket/x", `2:10: file_mounts["/data"]: the source "s3://bucket/x" is a URL, which is not supported yet`},
	{"storage mount", "file_mounts:\n  /data:\n    source: ~/x\n    mod: COPY", `3:5: file_mounts["/data"]: a storage mount is not supported yet` + "\n" + `4:5: unknown key "mod" in storage (did you mean "mode"?)`},
	{"slash at the end of a destination", "file_mounts:\n  /data/: ./x", `2:3: the destination "/data/" of a file mount ends in a slash: drop it`},
	{"slash at the end of a source", "file_mounts:\n  /data: ./x/", `2:10: file_mounts["/data"]: the source "./x/" ends in a slash: drop it`},
	{"destination that is a URL", "file_mounts:\n  s3://b: ./x", `2:3: the destination "s3://b" of a file mount is a URL: it has to be a path on the nodes`},
	{"mount without a source", "file_mounts:\n  /data:", `2:9: file_mounts["/data"]: has no source; put ~ in quotes where it is meant as one`},
	{"mount of a number", "file_mounts:\n  /data: 3", `2:10: file_mounts["/data"]: the source has to be a path, not the number 3`},
	{"empty destination", "file_mounts:\n  \"\": x", `2:3: the destination of a file mount is empty`},
	{"destination that is null", "file_mounts:\n  ~: x", `2:3: a file mount has no destination; put ~ in quotes where it is meant as one`},
	{"mount over the workdir", "workdir: .\nfile_mounts:\n  ~/sky_workdir: x", `3:3: the destination "~/sky_workdir" of a file mount is where workdir goes`},
	{"mount over the workdir, relative", "workdir: .\nfile_mounts:\n  a/..: x", `3:3: the destination "a/.." of a file mount is where workdir goes`},
	{"two mounts in one place", "envs: {A: a, B: a}\nfile_mounts:\n  /x/$A: x\n  /x/./${B}: y", `4:3: an earlier file mount has the destination "/x/./${B}", too`},
	{"secret in a path stays secret", "secrets: {T: swordfish}\nfile_mounts:\n  /x: https://u:$T@h/x", `3:7: file_mounts["/x"]: the source "https://u:$T@h/x" is a URL, which is not supported yet`},

	{"unknown infra", "resources: {infra: loca}", `1:20: resources.infra: "loca" is no cloud that is known here (did you mean "local"?)`},
	{"infra with an empty part", "resources: {infra: aws//x}", `1:20: resources.infra: "aws//x" has an empty part: write * for what is open`},
	{"infra with four parts", "resources: {infra: aws/a/b/c}", `1:20: resources.infra: "aws/a/b/c" has more than the three parts CLOUD/REGION/ZONE`},
	{"infra and region", "resources: {region: us-east-1, infra: aws}", `1:21: resources.region and infra exclude one another: infra is CLOUD/REGION/ZONE`},
	{"unknown cloud", "resources: {cloud: awz}", `1:20: resources.cloud: "awz" is no cloud that is known here (did you mean "aws"?)`},
	{"region that is a number", "resources: {region: 1}", `1:21: resources.region: has to be text, not the number 1: put it in quotes`},
	{"memory with one letter", "resources: {memory: 32G}", `1:21: resources.memory: "32G" is not an amount of memory: write 16 (GB), 16+, 32GB+ or 4x; units are KB, MB, GB, TB, PB`},
	{"negative cpus", "resources: {cpus: -1}", `1:19: resources.cpus: "-1" is not positive`},
	{"cpus in words", "resources: {cpus: four}", `1:19: resources.cpus: "four" is not a number of CPUs: write 4, 0.5 or 4+`},
	{"cpus as a boolean", "resources: {cpus: true}", `1:19: resources.cpus: has to be a number such as 4 or 4+, not the boolean true`},
	{"part of a GB of disk", "resources: {disk_size: 1500MB}", `1:24: resources.disk_size: "1500MB" is not a whole number of GB`},
	{"fractional disk", `resources: {disk_size: "256.0"}`, `1:24: resources.disk_size: "256.0" is not a disk size: write 100 (GB) or 1TB; units are KB, MB, GB, TB, PB`},
	{"spot in quotes", `resources: {use_spot: "yes"}`, `1:23: resources.use_spot: has to be true or false, not the text "yes"`},
	{"label that is a number", "resources: {labels: {a: 1}}", `1:25: resources.labels.a: has to be text, not the number 1: put it in quotes`},
	{"no accelerators", "resources: {accelerators: A100:0}", `1:27: resources.accelerators: the count of A100 has to be positive, not 0`},
	{"accelerator without a count", "resources: {accelerators: A100:x}", `1:27: resources.accelerators: "A100:x" is not NAME or NAME:COUNT`},
	{"accelerator count in quotes", `resources: {accelerators: {A100: "8"}}`, `1:34: resources.accelerators.A100: the count has to be a number, not the text "8"`},
	{"choice of accelerators", "resources: {accelerators: [A100, V100]}", `1:27: resources.accelerators: a choice of several accelerators is not supported yet`},
	{"accelerator by memory", "resources: {accelerators: 80GB+}", `1:27: resources.accelerators: choosing accelerators by their memory ("80GB+") is not supported yet`},
	{"gpus and accelerators", "resources: {gpus: A100, accelerators: A100}", `1:39: gpus and accelerators are the same: give one of them`},
	{"resources that are a list", "resources: [a]", `1:12: resources: has to be a mapping, not a list`},

	{"list", "- a", `1:1: a task file is a mapping of keys such as run, not a list`},
	{"text", "just text", `1:1: a task file is a mapping of keys such as run, not the text "just text"`},
	{"number", "3", `1:1: a task file is a mapping of keys such as run, not the number 3`},
	{"empty file", "", `1:1: "t.yaml" is empty or contains no task definition: add at least a run (or setup) key`},
	{"only null documents", "# only a comment\n---\n---\n", `1:1: "t.yaml" is empty or contains no task definition: add at least a run (or setup) key`},
	{"not UTF-8", "run: x\nname: \xff", `2:7: not a valid UTF-8 text file, so it cannot be read as YAML`},
	{"control character", "run: é\x01", `1:7: the control character U+0001 is not allowed`},

	{"pipeline", "run: x\n---\nrun: y", `1:1: this is a pipeline of 2 tasks: launch and exec take a single task, and "jobs launch" is not supported yet`},
	{"pipeline with a header", "name: p\n---\nrun: x\n---\nrun: y\n---\nrun: z", `1:1: this is a pipeline of 3 tasks: launch and exec take a single task, and "jobs launch" is not supported yet`},
	{"job group", "name: g\nexecution: parallel\n---\nname: a\nrun: x", `1:1: this is a job group: launch and exec take a single task, and "jobs launch" is not supported yet`},
	{"unknown execution", "name: p\nexecution: sideways\n---\nrun: x", `2:12: execution has to be serial or parallel, not the text "sideways"`},
	{"execution in a task", "execution: serial\nrun: x", `1:1: unknown key "execution" in task`},

	{"unfinished list", "run: x\nname: [", `2:1: not valid YAML: did not find expected node content`},
	{"key inside of a scalar", "name: x\n  run: y", `2:3: not valid YAML: mapping values are not allowed in this context`},
	{"tab", "run:\n\techo", `2:1: not valid YAML: a tab cannot indent YAML: use spaces`},
	{"line without a colon", "name: x\nrun: a\n b\nnum_nodes 3", `4:1: not valid YAML: could not find expected ':'`},
	{"alias without an anchor", "run: x\nname: *nope", `2:7: not valid YAML: the alias *nope names no anchor (&nope) above it`},
	{"alias inside of itself", "envs: &a {A: *a}", `1:14: the alias *a is inside of what it names`},
	{"foreign tag", "run: !!python/name:os.system x", `1:6: the tag !!python/name:os.system is not allowed`},
	{"tag that does not fit", "num_nodes: !!int x", `1:12: "x" does not fit its tag !!int`},
	{"no such day", "envs: {A: 2024-02-31}", `1:11: "2024-02-31": there is no such day`},

	{"everything at once", "nam: x\nnum_nodes: 0\nresources:\n  cpus: four\n  infra: awz\nenvs: {A: }\nfile_mounts: {/a/: b}\nservice: {}\n", strings.Join([]string{
		`1:1: unknown key "nam" in task (did you mean "name"?)`,
		`2:12: num_nodes: has to be between 1 and 2147483647, not 0`,
		`4:9: resources.cpus: "four" is not a number of CPUs: write 4, 0.5 or 4+`,
		`5:10: resources.infra: "awz" is no cloud that is known here (did you mean "aws"?)`,
		`6:8: env A has no value: give one with --env A=VALUE, or write A: "" for an empty one`,
		`7:15: the destination "/a/" of a file mount ends in a slash: drop it`,
		`8:1: "service" is not supported yet`,
	}, "\n")},
}

func TestWrongFilesAreToldExactly(t *testing.T) {
	for _, c := range wrongFiles {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse("t.yaml", []byte(c.file), Options{})
			if err == nil {
				t.Fatalf("parsed to %v", got)
			}
			want := "t.yaml:" + strings.ReplaceAll(c.want, "\n", "\nt.yaml:")
			if err.Error() != want {
				t.Errorf("%s\ngot:\n%s\nwant:\n%s", c.file, err, want)
			}
		})
	}
}

func TestKindsOfErrors(t *testing.T) {
	for file, want := range map[string]Kind{
		"nam: x":              Invalid,
		"service: {}":         Unsupported,
		"run: x\n---\nrun: y": Usage,
	} {
		_, err := Parse("t.yaml", []byte(file), Options{})
		var all Errors
		if !errors.As(err, &all) || !all.Only(want) {
			t.Errorf("%s: %v is not of kind %d only", file, err, want)
		}
		var one *Error
		if !errors.As(err, &one) || one.Kind != want {
			t.Errorf("%s: no single error of kind %d", file, want)
		}
	}
}

func TestErrorsAreBoundedInNumber(t *testing.T) {
	_, err := Parse("t.yaml", []byte(manyKeys(5000)), Options{})
	var all Errors
	if !errors.As(err, &all) || len(all) != maxErrors+1 {
		t.Fatalf("%d errors", len(all))
	}
	if last := all[maxErrors].Error(); last != "t.yaml:101:1: and 4900 more errors from here on" {
		t.Error(last)
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("zz" + strings.Repeat("q", i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + ": 1\n")
	}
	return b.String()
}

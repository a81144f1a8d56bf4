package task

import (
	"errors"
	"io/fs"
	"testing"
)

func TestClassify(t *testing.T) {
	missing := &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}
	denied := &fs.PathError{Op: "open", Path: "x", Err: errors.New("permission denied")}
	for _, c := range []struct {
		name, word, data string
		err              error
		want             EntrypointKind
		reason           string
	}{
		{"no words", "", "", missing, Nothing, ""},
		{"spaces", "  ", "", missing, Nothing, ""},
		{"task file", "task.yaml", "run: x", nil, YAML, ""},
		{"task file of another name", "task", "run: x", nil, YAML, ""},
		{"name with spaces", "my task.yaml", "run: x", nil, YAML, ""},
		{"task file with mistakes", "task.yaml", "run: x\nrun: y\nfoo: 1", nil, YAML, ""},
		{"empty file", "task.yaml", "", nil, YAML, ""},
		{"list", "task.yaml", "[1]", nil, YAML, ""},
		{"script", "run.sh", "#!/bin/sh\necho hi\n", nil, Command, ""},
		{"script that is no YAML", "run.sh", "if true; then\n  a: b: c\nfi\n", nil, Command, ""},
		{"text in a file called YAML", "task.yaml", "echo hi", nil, Command, ""},
		{"words", "echo hi", "", missing, Command, ""},
		{"a word", "nvidia-smi", "", missing, Command, ""},
		{"words that end in a name", "cat task.yaml", "", missing, Command, ""},
		{"missing file", "task.yaml", "", missing, AskCommand, "there is no such file"},
		{"missing file, short", "task.yml", "", missing, AskCommand, "there is no such file"},
		{"unreadable file", "task.YAML", "", denied, AskCommand, "it cannot be read: permission denied"},
		{"broken file", "task.yaml", "run: x\n  a: b", nil, AskCommand, "line 2: not valid YAML: mapping values are not allowed in this context"},
		{"binary file", "task.yaml", "\xff\xfe", nil, AskCommand, "line 1: not a valid UTF-8 text file, so it cannot be read as YAML"},
		{"binary", "prog", "\x7fELF\x00", nil, Command, ""},
		{"unreadable directory", "dir", "", denied, Command, ""},
		{"recipe", "recipes:train", "", missing, Recipe, ""},
	} {
		got := Classify(c.word, []byte(c.data), c.err)
		if got.Kind != c.want || got.Reason != c.reason {
			t.Errorf("%s: %+v, want kind %d %q", c.name, got, c.want, c.reason)
		}
	}
}

package task

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// FuzzParse: no input makes Parse panic; every complaint about a file has a
// position inside of it; what parses survives Marshal.
func FuzzParse(f *testing.F) {
	for _, c := range wrongFiles {
		f.Add([]byte(c.file))
	}
	files, _ := filepath.Glob("../examples/*.yaml")
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Parse("t.yaml", data, Options{})
		if err != nil {
			checkPositions(t, data, err)
			return
		}
		text, err := Marshal(got)
		if err != nil {
			if sayable(got) == nil {
				t.Fatal(err)
			}
			return
		}
		again, err := Parse("t.yaml", text, Options{})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !proto.Equal(got, again) {
			t.Fatalf("%s\nreads back as %v, not %v", text, again, got)
		}
	})
}

func checkPositions(t *testing.T, data []byte, err error) {
	t.Helper()
	var all Errors
	if !errors.As(err, &all) {
		t.Fatalf("%T: %v", err, err)
	}
	lines := 1 + strings.Count(string(data), "\n")
	for i, e := range all {
		if e.Line < 1 || e.Line > lines || e.Column < 1 || e.Reason == "" {
			t.Fatalf("%q: no position: %v", data, e)
		}
		if i > 0 && (e.Line < all[i-1].Line || e.Line == all[i-1].Line && e.Column < all[i-1].Column) && i < maxErrors {
			t.Fatalf("%q: not in order: %v", data, all)
		}
	}
}

func FuzzQuantities(f *testing.F) {
	for _, s := range []string{"4", "4+", "32GB+", "4x", "1.5TB", "-1", "A100:8", "inf", "1_0", "", "1e400", "0.0000001kb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if q, err := ParseCPUs(s); err == nil {
			if again, err := ParseCPUs(FormatQuantity(q)); err != nil || !proto.Equal(q, again) {
				t.Fatalf("%q: %v is not %v (%v)", s, again, q, err)
			}
		}
		if q, err := ParseMemory(s); err == nil {
			if again, err := ParseMemory(FormatQuantity(q)); err != nil || !proto.Equal(q, again) {
				t.Fatalf("%q: %v is not %v (%v)", s, again, q, err)
			}
		}
		if n, err := ParseDiskSize(s); err == nil && n < 1 {
			t.Fatalf("%q is %d", s, n)
		}
		if name, count, err := ParseAccelerators(s); err == nil && (name == "" || !(count > 0)) {
			t.Fatalf("%q is %q:%v", s, name, count)
		}
	})
}

func FuzzInfra(f *testing.F) {
	for _, s := range []string{"aws", "aws/r/z", "*/*/z", "k8s/a/b:c", "ssh/p", "/", "ssh/ssh-", "aws/ r", "k8s/*/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		in, err := ParseInfra(s)
		if err != nil || in == (Infra{}) {
			return
		}
		if again, err := ParseInfra(in.String()); err != nil || again != in {
			t.Fatalf("%q is %+v, prints as %q, reads as %+v (%v)", s, in, in.String(), again, err)
		}
	})
}

func FuzzDotenv(f *testing.F) {
	for _, s := range []string{"A=1", "export A='x'\nB=${A:-y} # c", "A=\"x\ny\"", "A", "=", "A=\"", "A='x'y"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		vars, err := ParseDotenv("x.env", data, func(string) (string, bool) { return "", false })
		if err != nil {
			checkPositions(t, data, err)
		}
		for _, v := range vars {
			if !validVarName(v.Name) {
				t.Fatalf("%q is a variable", v.Name)
			}
		}
	})
}

func FuzzClassify(f *testing.F) {
	f.Add("task.yaml", []byte("run: x"))
	f.Add("echo hi", []byte("[a"))
	f.Fuzz(func(t *testing.T, word string, data []byte) {
		if got := Classify(word, data, nil); got.Kind == AskCommand && got.Reason == "" {
			t.Fatal("a question without a reason")
		}
	})
}

//go:build integration && linux

package binaries

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecretsAreInNoFileAndNoListing plants secrets and looks for them, while the job runs and at each step after.
func TestSecretsAreInNoFileAndNoListing(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	inFile, onLine, atExec := rand.Text(), rand.Text(), rand.Text()
	secrets := []string{inFile, onLine, atExec}
	h.write("../u/task.yaml", `
resources: {infra: local}
secrets: {IN_FILE: `+inFile+`, ON_LINE: replaced}
setup: echo setup has ${#IN_FILE} and ${#ON_LINE}
run: |
  echo run has ${#IN_FILE} and ${#ON_LINE}
  printf %s "$IN_FILE$ON_LINE" | sha256sum | cut -c1-64 >`+h.work+`/sum
  until [ -e `+h.work+`/go ]; do sleep 0.05; done
`)
	f := h.start("launch", "-y", "-c", "demo", filepath.Join(h.root, "u/task.yaml"), "--secret", "ON_LINE="+onLine)
	f.until("run has 26 and 26")
	eventually(t, settleLimit, "the sum", func() bool { return len(h.read("sum")) == 1 })
	if sum := h.read("sum")[0]; sum != sha256Hex(inFile+onLine) {
		t.Errorf("the job saw other secrets: %s", sum)
	}
	h.noSecrets("while the job runs", secrets)
	h.kill(h.server()) // what is written for a crash is there now
	h.serverAgain()
	h.kill(h.agent(h.machines()[0]))
	h.write("go", "")
	r := f.wait()
	if r.code != 0 {
		t.Fatalf("%v", r)
	}
	noneIn(t, "the output of launch", r.stdout+r.stderr, secrets)
	h.ok("exec", "demo", "--secret", "AT_EXEC="+atExec, "echo exec has ${#AT_EXEC}")
	h.ok("exec", "demo", "--num-jobs", "3", "-d", "--secret", "AT_EXEC="+atExec, "echo exec has ${#AT_EXEC}")
	for _, listing := range [][]string{
		{"queue", "demo", "-o", "json"}, {"queue", "demo"}, {"status", "-o", "json"}, {"status", "-v"}, {"events", "demo"},
		{"api", "status", "-a", "-o", "json"}, {"api", "logs", "--server-logs", "--no-follow"}, {"logs", "demo", "1"}, {"api", "info", "-o", "json"},
	} {
		r := h.ok(listing...)
		noneIn(t, "the output of "+strings.Join(listing, " "), r.stdout+r.stderr, secrets)
	}
	h.noSecrets("after the jobs", secrets)
	h.ok("down", "-y", "demo")
	h.noSecrets("after down", secrets)
	h.end()
	h.noSecrets("after stop", secrets)
}

// noSecrets looks into every file of the state directory, and at what every process of it was started with.
func (h *home) noSecrets(when string, secrets []string) {
	h.t.Helper()
	files := 0
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		files++
		noneIn(h.t, path+" "+when, path+"\n"+string(data), secrets)
		return err
	})
	if err != nil {
		h.t.Error(err)
	}
	if files < 10 {
		h.t.Errorf("%s: only %d files", when, files)
	}
	for _, p := range h.processes() {
		if !strings.HasPrefix(p.args, program(h.t, "stix")+" ") { // the user typed it
			noneIn(h.t, "arguments of process "+p.args+" "+when, p.args, secrets)
		}
	}
}

// noneIn looks for the secrets, also as the usual encodings of them.
func noneIn(t *testing.T, where, text string, secrets []string) {
	t.Helper()
	for i, s := range secrets {
		for _, form := range []string{s, base64.StdEncoding.EncodeToString([]byte(s))[:32], hex.EncodeToString([]byte(s))} {
			if bytes.Contains([]byte(text), []byte(form)) {
				t.Errorf("secret %d is in %s", i, where)
			}
		}
	}
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

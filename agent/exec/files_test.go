package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

func TestPayloadGoesThroughAPipeWhole(t *testing.T) {
	want := payload{Home: "/h", Log: "/l", UID: "u", KeepChildren: true, script: []byte("a\n\x01'\n")}
	data, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := readPayload(bytes.NewReader(data))
	if err != nil || !bytes.Equal(got.script, want.script) || got.Home != "/h" || !got.KeepChildren {
		t.Fatalf("%+v, %v", got, err)
	}
	for n := range data {
		if _, err := readPayload(bytes.NewReader(data[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
}

func TestExitFileOfANewerShimIsRefusedByName(t *testing.T) {
	good, err := json.Marshal(exitFile{header: headerOf(fileExit), Outcome: wordExited, Code: 3, LogBytes: 5})
	if err != nil {
		t.Fatal(err)
	}
	_, r, err := decodeExit(good)
	if err != nil || r.ExitCode != 3 || r.Outcome != stixv1.Outcome_OUTCOME_EXITED || r.LogBytes != 5 {
		t.Fatalf("%+v, %v", r, err)
	}
	newer := bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1)
	if _, _, err := decodeExit(newer); !errors.Is(err, ErrNewer) {
		t.Fatalf("newer: %v", err)
	}
	foreign := bytes.Replace(good, []byte(`stix-job-exit`), []byte(`stix-job-kill`), 1)
	if _, _, err := decodeExit(foreign); err == nil {
		t.Fatal("read a file of another kind")
	}
}

func TestQuoteIsOneWordOfTheShell(t *testing.T) {
	got := string(script(&stixv1.Order{Script: "x", Envs: []*stixv1.Env{{Name: "A", Value: "it's 'q'"}}, Unset: []string{"B"}}))
	if want := prelude + "export A='it'\\''s '\\''q'\\'''\nunset B\nx\n"; got != want {
		t.Fatalf("got %q", got)
	}
}

func TestNamesOfVariables(t *testing.T) {
	for name, want := range map[string]bool{"A": true, "_a1": true, "": false, "1a": false, "a-b": false, "a b": false, "é": false} {
		if validName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func FuzzDecodeExit(f *testing.F) {
	good, err := json.Marshal(exitFile{header: headerOf(fileExit), Outcome: wordExited})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"magic":"stix-job-exit","version":1,"outcome":"x","log_bytes":-1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, r, err := decodeExit(data); err == nil && (r.Outcome == 0 || r.LogBytes < 0) {
			t.Fatalf("accepted %q as %+v", data, r)
		}
	})
}

func FuzzReadPayload(f *testing.F) {
	good, err := payload{Home: "/h", script: []byte("x")}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := readPayload(bytes.NewReader(data)); err == nil && len(p.script) != p.ScriptBytes {
			t.Fatal("script of another length")
		}
	})
}

package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestServerByPrecedence(t *testing.T) {
	file, err := EncodeServerFile(ServerFile{Endpoint: Endpoint{Socket: "/s/file.sock"}})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{StixEnv: "https://stix", SkyPilotEnv: "http://sky:46580/"}
	in := Inputs{
		Flag: "unix:///s/flag.sock", Env: func(name string) string { return env[name] },
		Config: Config{Endpoint: Setting{Text: "https://config/", At: "c.yaml:2:13"}}, ServerFile: file, Socket: "/s/own.sock",
	}
	for _, step := range []struct {
		endpoint string
		source   Source
		drop     func()
	}{
		{"unix:///s/flag.sock", FromFlag, func() { in.Flag = "" }},
		{"https://stix", FromStixEnv, func() { delete(env, StixEnv) }},
		{"http://sky:46580", FromSkyPilotEnv, func() { delete(env, SkyPilotEnv) }},
		{"https://config", FromConfig, func() { in.Config = Config{} }},
		{"unix:///s/file.sock", FromServerFile, func() { in.ServerFile = nil }},
		{"unix:///s/own.sock", AutoStart, func() {}},
	} {
		got, source, err := Server(in)
		if err != nil || got.String() != step.endpoint || source != step.source {
			t.Errorf("got %s from %s (%v), want %s from %s", got, source, err, step.endpoint, step.source)
		}
		step.drop()
	}
}

func TestAMistakeIsNotPassedOver(t *testing.T) {
	for name, in := range map[string]Inputs{
		`the command line: "nowhere" is no endpoint: write https://HOST[:PORT], or unix:// and the path of a socket`:        {Flag: "nowhere"},
		`STIX_API_SERVER: "localhost:46580" is no endpoint: write https://HOST[:PORT], or unix:// and the path of a socket`: {Env: func(string) string { return "localhost:46580" }},
		`c.yaml:2:13: "ftp://x" is no endpoint: write https://HOST[:PORT], or unix:// and the path of a socket`:             {Config: Config{Endpoint: Setting{"ftp://x", "c.yaml:2:13"}}},
		`server.json is no file of stix`: {ServerFile: []byte("{}")},
	} {
		if _, _, err := Server(in); err == nil || err.Error() != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	for text, want := range map[string]string{
		"https://h": "https://h", "http://h:1/": "http://h:1", "https://h/base/": "https://h/base", " https://h ": "https://h", "HTTPS://h": "https://h",
		"/a/b.sock": "unix:///a/b.sock", "unix:///a/b": "unix:///a/b", "https://u@h": "https://u@h", "https://[::1]:5": "https://[::1]:5",
		"https://u:swordfish@h:1/base": "https://u:<redacted>@h:1/base",
		"":                             "", "h": "", "h:1": "", "ftp://h": "", "https://": "", "https://:80": "", "unix://a": "", "unix://": "", "https://h?q": "", "https://h#f": "", "https://u:swordfish@%zz": "", "https://u:swordfish@h?q": "",
	} {
		e, err := ParseEndpoint(text)
		if (err == nil) != (want != "") || err == nil && e.String() != want {
			t.Errorf("%q is %s (%v), want %q", text, e, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "swordfish") {
			t.Errorf("%v shows a password", err)
		}
	}
}

func TestServerFileRoundTrip(t *testing.T) {
	for _, want := range []ServerFile{
		{Endpoint: Endpoint{Socket: "/h/.stix/stixd.sock"}, PID: 12, Build: "abc", StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), AutoStarted: true},
		{Endpoint: Endpoint{URL: "https://u:p@h:1/base"}},
	} {
		data, err := EncodeServerFile(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseServerFile(data); err != nil || got != want {
			t.Errorf("%s is %+v (%v), want %+v", data, got, err, want)
		}
	}
	if _, err := EncodeServerFile(ServerFile{}); err == nil {
		t.Error("a file without an endpoint is useless")
	}
}

func TestServerFileOfVersion1(t *testing.T) {
	const sample = `{"magic":"stix-server","version":1,"endpoint":"/s","pid":7,"build":"b","started_at":"2026-01-02T03:04:05Z","auto_started":true,"later":1}`
	got, err := ParseServerFile([]byte(sample))
	if want := (ServerFile{Endpoint{Socket: "/s"}, 7, "b", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), true}); err != nil || got != want {
		t.Errorf("%+v (%v), want %+v", got, err, want)
	}
}

func TestWrongServerFilesAreRefused(t *testing.T) {
	for data, want := range map[string]string{
		"":                        "damaged",
		"{":                       "damaged",
		"{}":                      "no file of stix",
		`{"magic":"stix-server"}`: "no version",
		`{"magic":"stix-server","version":2,"endpoint":"/s"}`:              "has version 2, and this build knows 1",
		`{"magic":"stix-server","version":1,"endpoint":"s"}`:               "no endpoint",
		`{"magic":"stix-server","version":1,"endpoint":"/s","pid":-1}`:     "process number -1",
		`{"magic":"stix-server","version":1,"endpoint":"/s","pid":"many"}`: "damaged",
	} {
		_, err := ParseServerFile([]byte(data))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "server.json") {
			t.Errorf("%s: %v, want %q", data, err, want)
		}
		if newer := strings.Contains(data, ":2"); errors.Is(err, ErrNewer) != newer {
			t.Errorf("%s: %v is ErrNewer: %v", data, err, !newer)
		}
	}
}

func TestLoadLaysFilesOverEachOther(t *testing.T) {
	got, err := Load(
		File{"user.yaml", []byte("api_server:\n  endpoint: https://user\n  requests_retention_hours: 3\nkubernetes: {ports: podip}\naws:\n")},
		File{"project.yaml", []byte("api_server: {endpoint: 'https://project'}\n")},
		File{"empty.yaml", nil}, File{"null.yaml", []byte("# nothing\n---\n")}, File{"nothing.yaml", []byte("api_server:\n")},
	)
	if err != nil {
		t.Fatal(err)
	}
	if got.Endpoint != (Setting{"https://project", "project.yaml:1:24"}) {
		t.Errorf("endpoint is %+v", got.Endpoint)
	}
	var warnings []string
	for _, w := range got.Warnings {
		warnings = append(warnings, w.String())
	}
	want := `user.yaml:3:3: "api_server.requests_retention_hours" is not supported yet and has no effect
user.yaml:4:1: "kubernetes" is not supported yet and has no effect`
	if strings.Join(warnings, "\n") != want {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(warnings, "\n"), want)
	}
}

func TestWrongConfigurationIsToldExactly(t *testing.T) {
	for data, want := range map[string]string{
		"api_servr: {}":                       `c.yaml:1:1: unknown key "api_servr" (did you mean "api_server"?)`,
		"jobs: {}\napi_server:\n  endpont: x": `c.yaml:3:3: unknown key "api_server.endpont" (did you mean "endpoint"?)`,
		"zzz: 1\nyyy: 2":                      "c.yaml:1:1: unknown key \"zzz\"\nc.yaml:2:1: unknown key \"yyy\"",
		"aws: {}\naws: {}":                    `c.yaml:2:1: duplicate key "aws" (also defined on line 1)`,
		"api_server: x":                       `c.yaml:1:13: api_server has to be a mapping`,
		"api_server: {endpoint: 3}":           `c.yaml:1:24: api_server.endpoint has to be a URL`,
		"api_server: {endpoint: [x]}":         `c.yaml:1:24: api_server.endpoint has to be a URL`,
		"api_server: {endpoint: h}":           `c.yaml:1:24: api_server.endpoint: "h" is no endpoint: write https://HOST[:PORT], or unix:// and the path of a socket`,
		"- a":                                 `c.yaml:1:1: a configuration file has to be a mapping`,
		"a: {}\n---\nb: {}":                   `c.yaml:1:1: has more than one document`,
		"aws: {}\nx: [":                       `c.yaml:2:1: not valid YAML: did not find expected node content`,
		"a: b: c":                             `c.yaml:1:1: not valid YAML: mapping values are not allowed in this context`,
		"\xff":                                `c.yaml:1:1: not a valid UTF-8 text file, so it cannot be read as YAML`,
		"[a]: b":                              `c.yaml:1:1: unknown key ""`,
	} {
		_, err := Load(File{"c.yaml", []byte(data)})
		if err == nil || err.Error() != want {
			t.Errorf("%s\ngot:\n%v\nwant:\n%s", data, err, want)
		}
		var one *Error
		if !errors.As(err, &one) {
			t.Errorf("%s: %T", data, err)
		}
	}
}

func TestStateDir(t *testing.T) {
	for _, c := range []struct{ stixHome, home, want string }{
		{"", "/home/u", "/home/u/.stix"}, {"/x/../y/", "/home/u", "/y"}, {"~/s", "/home/u", "/home/u/s"}, {"~", "/home/u", "/home/u"},
		{"", "", ""}, {"rel", "/home/u", ""}, {"/x", "", "/x"},
	} {
		got, err := StateDir(func(string) string { return c.stixHome }, c.home)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %s (%v)", c, got, err)
		}
	}
}

func TestRuntimeDir(t *testing.T) {
	for env, want := range map[string]string{"/run/user/7/": "/run/user/7", "": "/tmp/stix-7", "rel": "/tmp/stix-7"} {
		if got := RuntimeDir(func(string) string { return env }, 7); got != want {
			t.Errorf("%q: %s, want %s", env, got, want)
		}
	}
}

func TestLongSocketPathsMoveToTheRuntimeDirectory(t *testing.T) {
	for goos, most := range map[string]int{"linux": 107, "darwin": 103} {
		if got := maxSocketPath(goos); got != most {
			t.Errorf("%s allows %d", goos, got)
		}
		fits := "/" + strings.Repeat("a", most-len("//stixd.sock"))
		if got, err := socketPath(fits, "/run", serverSocket, most); err != nil || got != fits+"/stixd.sock" || len(got) != most {
			t.Errorf("%s: %s (%v)", goos, got, err)
		}
		long := fits + "a"
		got, err := socketPath(long, "/run", serverSocket, most)
		if err != nil || !strings.HasPrefix(got, "/run/stix-") || !strings.HasSuffix(got, "-stixd.sock") {
			t.Errorf("%s: %s (%v)", goos, got, err)
		}
		again, _ := socketPath(long+"/", "/run", serverSocket, most)
		other, _ := socketPath(long+"b", "/run", serverSocket, most)
		agents, _ := socketPath(long, "/run", agentSocket, most)
		if again != got || other == got || agents == got {
			t.Errorf("%s: %s, %s, %s, %s", goos, got, again, other, agents)
		}
		if _, err := socketPath(long, "", serverSocket, most); err == nil {
			t.Error("no runtime directory, and no error")
		}
		if _, err := socketPath(long, long, serverSocket, most); err == nil {
			t.Error("a runtime directory that is too long, and no error")
		}
	}
	if got, err := SocketPath("/s", ""); err != nil || got != "/s/stixd.sock" {
		t.Error(got, err)
	}
	if got, err := AgentSocketPath("/s", ""); err != nil || got != "/s/agents.sock" {
		t.Error(got, err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{"api_server: {endpoint: https://x}", "a: &a [*a]", "- x", "api_server: *x", "<<: {a: b}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Load(File{"c.yaml", data})
		if err == nil && c.Endpoint.Text != "" {
			if _, err := ParseEndpoint(c.Endpoint.Text); err != nil {
				t.Fatal(err)
			}
		}
		var one *Error
		if err != nil && (!errors.As(err, &one) || one.Line < 1 || one.Column < 1) {
			t.Fatalf("no position: %v", err)
		}
	})
}

func FuzzServerFile(f *testing.F) {
	f.Add([]byte(`{"magic":"stix-server","version":1,"endpoint":"/s","pid":7,"started_at":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"magic":"stix-server","version":1,"endpoint":"https://u:p@h"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseServerFile(data)
		if err != nil {
			return
		}
		again, err := EncodeServerFile(got)
		if err != nil {
			t.Fatalf("%+v: %v", got, err)
		}
		if back, err := ParseServerFile(again); err != nil || back.Endpoint != got.Endpoint || !back.StartedAt.Equal(got.StartedAt) {
			t.Fatalf("%+v is %+v (%v)", got, back, err)
		}
	})
}

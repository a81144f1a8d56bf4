package task

import (
	"strings"
	"testing"
)

// read returns the documents of a text and fails the test for any complaint.
func read(t *testing.T, text string) []*value {
	t.Helper()
	d := &decoder{file: "t.yaml"}
	docs := d.readDocuments([]byte(text))
	if len(d.errs) > 0 {
		t.Fatalf("%q: %v", text, d.errs)
	}
	return docs
}

// TestScalarsBecomeWhatSkyPilotMakesOfThem: facts noted from SkyPilot 0.14.1,
// which loaded `envs: {A: …}` with each of these.
func TestScalarsBecomeWhatSkyPilotMakesOfThem(t *testing.T) {
	for source, want := range map[string]string{
		"yes": "True", "No": "False", "on": "True", "OFF": "False", "TRUE": "True", "tRUE": "tRUE", "y": "y",
		"010": "8", "08": "08", "0o10": "0o10", "0x1F": "31", "0x_1": "1", "0b11": "3", "0_7": "7", "1_000": "1000", "+12": "12", "-0": "0",
		"1:30": "90", "1:30.5": "90.5", "1:75": "1:75", "190:20:30": "685230", "-1:30": "-90",
		"1.": "1.0", ".5": "0.5", "-.5": "-.5", "1e3": "1e3", "1e+3": "1e+3", "1.5e+3": "1500.0", "1.e+3": "1000.0", "1.0": "1.0", "-0.0": "-0.0",
		"1.0e-5": "1e-05", "0.0001": "0.0001", "1.5e+15": "1500000000000000.0", "1.5e+16": "1.5e+16", "1.0e+20": "1e+20",
		"123456789.123456789": "123456789.12345679", "685.230_15e+03": "685230.15",
		".inf": "inf", "-.INF": "-inf", ".nan": "nan", "-.nan": "-.nan",
		"2024-01-02": "2024-01-02", "2024-1-2": "2024-1-2", "2001-12-14t21:59:43.10-05:00": "2001-12-14 21:59:43.100000-05:00",
		"2001-12-14 21:59:43.10": "2001-12-14 21:59:43.100000", "2001-12-14T21:59:43Z": "2001-12-14 21:59:43+00:00",
		"99999999999999999999999": "99999999999999999999999", "1.7976931348623157e+309": "inf",
		`"a: b"`: "a: b", "'it''s'": "it's", "!!str 12": "12", `!!int "7"`: "7", "!!float 3": "3.0", "! 12": "12",
		"[]": "[]", "{}": "{}", `[1, "x", null, true, 2024-01-02, {b: 1.5}]`: "[1, 'x', None, True, datetime.date(2024, 1, 2), {'b': 1.5}]",
		`["it's", "a\"b", "tab\t", é, "\x7f", "\u200b", "\U0001f600", "\U000e0001"]`: `["it's", 'a"b', 'tab\t', 'é', '\x7f', '\u200b', '😀', '\U000e0001']`,
		"[2001-12-14t21:59:43.10-05:00]":                                             "[datetime.datetime(2001, 12, 14, 21, 59, 43, 100000, tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=68400)))]",
	} {
		doc := read(t, "A: "+source)[0]
		if got := doc.entries[0].val.pythonText(); got != want {
			t.Errorf("%s became %q, want %q", source, got, want)
		}
	}
}

func TestNullsInAllTheirSpellings(t *testing.T) {
	for _, source := range []string{"", "~", "null", "Null", "NULL", `!!null ""`} {
		if doc := read(t, "A: "+source)[0]; doc.entries[0].val.kind != nullKind {
			t.Errorf("%q is no null", source)
		}
	}
}

func TestMergeKeysFillInWhatIsMissing(t *testing.T) {
	for text, want := range map[string]string{
		"{A: 1, <<: {A: 2, B: 3}}":          "{'A': 1, 'B': 3}",
		"{<<: [{A: 1}, {A: 2, B: 3}]}":      "{'A': 1, 'B': 3}",
		"{a: &x {k: 1}, b: {<<: *x, k: 2}}": "{'a': {'k': 1}, 'b': {'k': 2}}",
		`{"<<": 1}`:                         "{'<<': 1}",
	} {
		if got := read(t, text)[0].pythonRepr(); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}

func TestKeysOfDifferentTypesAreDifferentKeys(t *testing.T) {
	if got := read(t, `{1: a, "1": b}`)[0].pythonRepr(); got != "{1: 'a', '1': 'b'}" {
		t.Error(got)
	}
}

// TestDocumentsThatUnfoldWithoutEndAreRefused: nine levels of nine aliases
// stand for half a thousand million values.
func TestDocumentsThatUnfoldWithoutEndAreRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 10; i++ {
		prev := string(rune('0' + i - 1))
		b.WriteString("a" + string(rune('0'+i)) + ": &a" + string(rune('0'+i)) + " [" + strings.TrimSuffix(strings.Repeat("*a"+prev+",", 9), ",") + "]\n")
	}
	for name, text := range map[string]string{
		"aliases":           b.String(),
		"levels":            "a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"levels of aliases": "a: &a {x: 1}\nc: " + strings.Repeat("[*a,", 70) + strings.Repeat("]", 70),
	} {
		d := &decoder{file: "t.yaml"}
		d.readDocuments([]byte(text))
		if len(d.errs) != 1 || !strings.Contains(d.errs[0].Reason, "unfolds to more than") {
			t.Errorf("%s: %v", name, d.errs)
		}
	}
}

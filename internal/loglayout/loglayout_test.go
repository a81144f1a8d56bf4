package loglayout

import "testing"

func TestNamesAreThoseThatToolsLookFor(t *testing.T) {
	for got, want := range map[string]string{
		Dir(1, "hello", "u"):     "1-hello",
		Dir(12, "", "u"):         "12--",
		Dir(3, "a/b", "u"):       "3-a_b",
		Dir(0, "x", "u"):         "sync-u",
		RunFile(0, 0, 1):         "tasks/run.log",
		RunFile(0, 0, 2):         "tasks/0-head.log",
		RunFile(1, 3, 4):         "tasks/1-worker3.log",
		RunFile(0, 2, 4):         "tasks/0-worker2.log",
		Node(0) + " " + Node(10): "head worker10",
		"setup in " + SetupFile:  "setup in tasks/setup.log",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

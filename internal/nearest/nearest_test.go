package nearest

import "testing"

func TestWordIsTheOneThatWasMeant(t *testing.T) {
	known := []string{"num_nodes", "name", "resources", "setup", "run", "workdir", "envs"}
	for word, want := range map[string]string{
		"num_node": "num_nodes", "NAME": "name", "resource": "resources", "workdri": "workdir", "env": "envs",
		"zebra": "", "": "", "x": "",
	} {
		if got := Word(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

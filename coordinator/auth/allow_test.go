package auth

import "testing"

func TestAllowKeepsNodesToThemselves(t *testing.T) {
	node := Subject{Kind: Node, ID: "n1"}
	user := Subject{Kind: User, ID: "u1"}
	for _, c := range []struct {
		name string
		s    Subject
		v    Verb
		o    Object
		want bool
	}{
		{"a node reports itself", node, Report, Object{Kind: "node", UID: "n1"}, true},
		{"a node reports another", node, Report, Object{Kind: "node", UID: "n2"}, false},
		{"a node launches", node, Launch, Object{Kind: "cluster"}, false},
		{"a node reads", node, Read, Object{Kind: "job"}, false},
		{"a node without an id", Subject{Kind: Node}, Report, Object{Kind: "node"}, false},
		{"a user launches", user, Launch, Object{Kind: "cluster"}, true},
		{"a user reports for a node", user, Report, Object{Kind: "node", UID: "n1"}, false},
		{"nobody reads", Subject{Kind: User}, Read, Object{Kind: "job"}, false},
		{"no kind", Subject{ID: "u1"}, Read, Object{Kind: "job"}, false},
		{"the coordinator", Subject{Kind: Coordinator, ID: "c"}, Down, Object{Kind: "cluster"}, true},
	} {
		if got := Allow(c.s, c.v, c.o) == nil; got != c.want {
			t.Errorf("%s: allowed = %v, want %v", c.name, got, c.want)
		}
	}
}

package tree

import "strings"

// glob is a compiled pattern, matched by simulating all its states at once: the
// time is bounded by pattern times text, whatever the pattern.
type glob struct {
	tokens []token
	// never is set for a pattern that git calls invalid: it matches nothing.
	never bool
}

type tokenKind uint8

const (
	// literal is one byte.
	literal tokenKind = iota
	// class is one byte out of a set.
	class
	// star is any run of bytes without a slash.
	star
	// globstar is any run of bytes.
	globstar
	// directories is nothing, or any run of bytes that ends with a slash.
	directories
)

type token struct {
	kind tokenKind
	lit  byte
	set  *byteSet
}

type byteSet [4]uint64

func (s *byteSet) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }

func (s *byteSet) addRange(from, to byte) {
	for c := int(from); c <= int(to); c++ {
		s.add(byte(c))
	}
}

// specials are the bytes that make a pattern more than a literal.
const specials = `*?[\`

// compileGlob reads a pattern as git does, where two asterisks cross slashes only
// between slashes. Git compares the part before the first special byte by itself,
// so that asterisks right after it count as being at the start: "a**/b" is "a"
// followed by "**/b". With anywhere, two asterisks cross slashes wherever they
// stand, as for rsync.
func compileGlob(pattern string, anywhere bool) glob {
	g := glob{tokens: make([]token, 0, len(pattern))}
	for i := 0; i < len(pattern); {
		n := 1
		switch c := pattern[i]; c {
		case '*':
			n = g.addStars(pattern, i, anywhere)
		case '?':
			set := &byteSet{}
			set.addRange(0, 255)
			g.addClass(set)
		case '[':
			set, length, ok := parseClass(pattern[i:])
			if !ok {
				return glob{never: true}
			}
			g.addClass(set)
			n = length
		case '\\':
			if i+1 == len(pattern) {
				return glob{never: true}
			}
			g.tokens = append(g.tokens, token{kind: literal, lit: pattern[i+1]})
			n = 2
		default:
			g.tokens = append(g.tokens, token{kind: literal, lit: c})
		}
		i += n
	}
	return g
}

// addClass takes the slash out of set: only an explicit slash matches one.
func (g *glob) addClass(set *byteSet) {
	set['/'>>6] &^= 1 << ('/' & 63)
	g.tokens = append(g.tokens, token{kind: class, set: set})
}

// addStars reads the run of asterisks at i and returns how many bytes it used.
func (g *glob) addStars(pattern string, i int, anywhere bool) int {
	end := i
	for end < len(pattern) && pattern[end] == '*' {
		end++
	}
	rest := pattern[end:]
	starts := i == 0 || pattern[i-1] == '/' || !anywhere && i == strings.IndexAny(pattern, specials)
	bounded := starts &&
		(rest == "" || rest[0] == '/' || strings.HasPrefix(rest, `\/`))
	switch {
	case end-i < 2 || !bounded && !anywhere:
		g.tokens = append(g.tokens, token{kind: star})
	case bounded && rest != "" && rest[0] == '/':
		g.tokens = append(g.tokens, token{kind: directories})
		end++
	default:
		g.tokens = append(g.tokens, token{kind: globstar})
	}
	return end - i
}

// parseClass reads a bracket expression at the start of p and returns the set
// and the length. It reports false for one without an end and for an unknown
// character class, which make the whole pattern match nothing.
func parseClass(p string) (*byteSet, int, bool) {
	set, i, negated := &byteSet{}, 1, false
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		negated, i = true, i+1
	}
	// prev is the byte that a dash would begin its range with, 0 for none.
	var prev byte
	for first := true; ; first = false {
		if i >= len(p) {
			return nil, 0, false
		}
		if p[i] == ']' && !first {
			break
		}
		n, ok := classItem(set, p[i:], &prev)
		if !ok {
			return nil, 0, false
		}
		i += n
	}
	if negated {
		for w := range set {
			set[w] = ^set[w]
		}
	}
	return set, i + 1, true
}

// classItem adds one item of a bracket expression and returns its length.
func classItem(set *byteSet, p string, prev *byte) (int, bool) {
	switch {
	case p[0] == '\\':
		if len(p) < 2 {
			return 0, false
		}
		set.add(p[1])
		*prev = p[1]
		return 2, true
	case p[0] == '-' && *prev != 0 && len(p) > 1 && p[1] != ']':
		to, n := p[1], 2
		if to == '\\' {
			if len(p) < 3 {
				return 0, false
			}
			to, n = p[2], 3
		}
		set.addRange(*prev, to)
		*prev = 0
		return n, true
	case strings.HasPrefix(p, "[:"):
		return namedClass(set, p, prev)
	}
	set.add(p[0])
	*prev = p[0]
	return 1, true
}

// namedClass reads [:name:]; without the closing colon it is a plain bracket.
func namedClass(set *byteSet, p string, prev *byte) (int, bool) {
	end := strings.IndexByte(p[2:], ']')
	if end < 0 {
		return 0, false
	}
	if end == 0 || p[2+end-1] != ':' {
		set.add('[')
		*prev = '['
		return 1, true
	}
	in, ok := posixClass(p[2 : 2+end-1])
	if !ok {
		return 0, false
	}
	for c := range 128 {
		if in(byte(c)) {
			set.add(byte(c))
		}
	}
	*prev = 0
	return 2 + end + 1, true
}

func posixClass(name string) (func(byte) bool, bool) {
	between := func(c, from, to byte) bool { return from <= c && c <= to }
	lower := func(c byte) bool { return between(c, 'a', 'z') }
	upper := func(c byte) bool { return between(c, 'A', 'Z') }
	digit := func(c byte) bool { return between(c, '0', '9') }
	alnum := func(c byte) bool { return lower(c) || upper(c) || digit(c) }
	graph := func(c byte) bool { return between(c, '!', '~') }
	in, ok := map[string]func(byte) bool{
		"alnum":  alnum,
		"alpha":  func(c byte) bool { return lower(c) || upper(c) },
		"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
		"cntrl":  func(c byte) bool { return c < ' ' || c == 127 },
		"digit":  digit,
		"graph":  graph,
		"lower":  lower,
		"print":  func(c byte) bool { return between(c, ' ', '~') },
		"punct":  func(c byte) bool { return graph(c) && !alnum(c) },
		"space":  func(c byte) bool { return c == ' ' || between(c, '\t', '\r') },
		"upper":  upper,
		"xdigit": func(c byte) bool { return digit(c) || between(c|0x20, 'a', 'f') },
	}[name]
	return in, ok
}

// match reports whether the pattern matches all of text.
func (g *glob) match(text string) bool {
	if g.never {
		return false
	}
	n := len(g.tokens)
	// A state is the token to match next. inside[i] is set while the token i of
	// kind directories has taken bytes and not yet its closing slash.
	var space [3 * 64]bool
	states := space[:]
	if 3*(n+1) > len(states) {
		states = make([]bool, 3*(n+1))
	}
	now, next, inside := states[:n+1], states[n+1:2*(n+1)], states[2*(n+1):3*(n+1)]
	g.enter(now, 0)
	for i := range len(text) {
		clear(next)
		g.step(now, next, inside, text[i])
		now, next = next, now
	}
	return now[n]
}

// enter marks state i and those reached from it without taking a byte.
func (g *glob) enter(states []bool, i int) {
	for !states[i] {
		states[i] = true
		if i == len(g.tokens) || g.tokens[i].kind == literal || g.tokens[i].kind == class {
			return
		}
		i++
	}
}

func (g *glob) step(now, next, inside []bool, c byte) {
	for i, t := range g.tokens {
		if !now[i] && !inside[i] {
			continue
		}
		switch t.kind {
		case literal:
			if t.lit == c {
				g.enter(next, i+1)
			}
		case class:
			if t.set.has(c) {
				g.enter(next, i+1)
			}
		case star:
			if c != '/' {
				g.enter(next, i)
			}
		case globstar:
			g.enter(next, i)
		case directories:
			inside[i] = true
			if c == '/' {
				g.enter(next, i+1)
			}
		}
	}
}

package logview

import (
	"bytes"
	"io"
)

// lastLines keeps the last lines of what is written to it.
type lastLines struct {
	limit int
	lines [][]byte // a ring
	next  int
	tail  []byte // a line that has not ended
}

// Write never errors.
func (r *lastLines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			r.tail = append(r.tail, p...)
			return n, nil
		}
		r.push(append(r.tail, p[:i+1]...))
		r.tail, p = nil, p[i+1:]
	}
}

func (r *lastLines) push(line []byte) {
	if len(r.lines) < r.limit {
		r.lines = append(r.lines, line)
		return
	}
	r.lines[r.next] = line
	r.next = (r.next + 1) % r.limit
}

// WriteTo writes the lines that are kept, oldest first.
func (r *lastLines) WriteTo(w io.Writer) (int64, error) {
	var out bytes.Buffer
	for i := range r.lines {
		out.Write(r.lines[(r.next+i)%len(r.lines)])
	}
	out.Write(r.tail)
	return out.WriteTo(w)
}

package catalog

import (
	"encoding/binary"
	"fmt"
)

// reader reads the body of a catalog file. After the first error everything reads as zero; err tells at the end. What
// it allocates is bounded by the size of the body, whatever the numbers in it say.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrFormat, what)
		r.rest = nil
	}
}

func (r *reader) number() int64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > 1<<62 {
		r.fail("a number is damaged")
		return 0
	}
	r.rest = r.rest[size:]
	return int64(n)
}

// count reads a number of things that take at least one byte each.
func (r *reader) count() int { return r.countOf(1) }

// countOf reads a number of things that take at least size bytes each.
func (r *reader) countOf(size int) int {
	n := r.number()
	if n > int64(len(r.rest)/size) {
		r.fail("a list is longer than the file")
		return 0
	}
	return int(n)
}

// index reads a number less than limit.
func (r *reader) index(limit int) int {
	n := r.number()
	if r.err == nil && n >= int64(limit) {
		r.fail("a reference leads nowhere")
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.fail("it ends too early")
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) text() string { return string(r.take(r.count())) }

func (r *reader) texts() []string {
	list := make([]string, r.count())
	for i := range list {
		list[i] = r.text()
	}
	return list
}

// column reads n numbers that are all less than limit.
func (r *reader) column(n, limit int) column {
	width := r.take(1)
	if r.err != nil {
		return column{}
	}
	c := column{width: int(width[0])}
	if c.width != widthFor(limit) {
		r.fail("a column has the wrong width")
		return column{}
	}
	c.data = r.take(n * c.width)
	if r.err == nil && !c.below(n, limit) {
		r.fail("a row refers to nothing")
	}
	return c
}

// end returns the error, if there was one or if something is left over.
func (r *reader) end() error {
	if len(r.rest) > 0 {
		r.fail("something follows the end")
	}
	return r.err
}

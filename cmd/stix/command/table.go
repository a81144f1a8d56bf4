package command

import (
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// gap is between columns.
const gap = "  "

// minColumn is how narrow a column may be cut.
const minColumn = 6

// table is rows of cells under a header, aligned by what a terminal shows.
type table struct {
	header []string
	rows   [][]cell
	// keep lists columns that are never cut: their text is something to type.
	keep map[string]bool
}

// cell is text and how to paint it, which happens after it was cut and padded.
type cell struct {
	text  string
	paint func(string) string
}

// plain makes cells without paint.
func plain(texts ...string) []cell {
	cells := make([]cell, len(texts))
	for i, t := range texts {
		cells[i] = cell{text: oneLine(t)}
	}
	return cells
}

// painted makes one cell with paint.
func painted(text string, paint func(string) string) cell {
	return cell{text: oneLine(text), paint: paint}
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// write writes the table. Above limit columns (0: no limit) the widest columns
// are cut.
func (t *table) write(w io.Writer, limit int, st style) error {
	widths := t.widths()
	t.fit(widths, limit)
	var b strings.Builder
	head := make([]cell, len(t.header))
	for i, h := range t.header {
		head[i] = cell{text: h, paint: st.bold}
	}
	writeRow(&b, head, widths)
	for _, row := range t.rows {
		writeRow(&b, row, widths)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) widths() []int {
	widths := make([]int, len(t.header))
	for i, h := range t.header {
		widths[i] = columns(h)
	}
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], columns(c.text))
		}
	}
	return widths
}

// fit narrows the widest column, one step at a time, until the row fits.
func (t *table) fit(widths []int, limit int) {
	if limit <= 0 {
		return
	}
	total := len(gap) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; total > limit; total-- {
		widest := -1
		for i, w := range widths {
			if t.keep[t.header[i]] || w <= max(minColumn, columns(t.header[i])) {
				continue
			}
			if widest < 0 || w > widths[widest] {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

func writeRow(b *strings.Builder, row []cell, widths []int) {
	for i, c := range row {
		text := cut(c.text, widths[i])
		pad := widths[i] - columns(text)
		if c.paint != nil {
			text = c.paint(text)
		}
		b.WriteString(text)
		if i < len(row)-1 {
			b.WriteString(strings.Repeat(" ", pad) + gap)
		}
	}
	b.WriteByte('\n')
}

// cut shortens text to n columns of a terminal, showing that it did.
func cut(text string, n int) string {
	if columns(text) <= n {
		return text
	}
	room := n - 3
	if room < 1 {
		return strings.Repeat(".", n)
	}
	used := 0
	for i, r := range text {
		if used += runeColumns(r); used > room {
			return text[:i] + "..."
		}
	}
	return text
}

// columns is how many columns of a terminal a text takes.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// oneLine makes control characters visible: a cell must not move the cursor.
func oneLine(text string) string {
	if strings.IndexFunc(text, unicode.IsControl) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/stix-run/stix/internal/atomicfile"
)

// report is all that goes onto the page.
type report struct {
	host    host
	quick   bool
	figures []figure
}

// notes begins the part of the page that is written by hand.
const notes = "\n## Notes\n"

const pageHead = `# Performance

` + "`make bench`" + ` measures this on the machine it runs on and writes everything above the notes anew. Floors are what must hold;
aims are where we want to be. Rows are those of the project's goals. A megabyte is a million bytes. The load generator runs
on the same processors as what it measures.

`

const tableHead = `
| row | measure | command | figure | least / median / most of runs | floor | aim | remark |
|---|---|---|---|---|---|---|---|
`

// page is the report in Markdown, without the notes.
func (r report) page() string {
	var b strings.Builder
	b.WriteString(pageHead)
	b.WriteString(r.host.table())
	if r.quick {
		b.WriteString("\n**Measured with -quick: these figures only show that the tool works.**\n")
	}
	if r.host.disturbed() {
		b.WriteString("\n**The machine was busy with other things: these figures are worse than what stix does, and say little.**\n")
	}
	b.WriteString(tableHead)
	for _, f := range r.figures {
		b.WriteString(f.markdown())
	}
	return b.String()
}

func (f figure) markdown() string {
	cells := []string{f.row, f.what, code(f.how), "**" + f.figure() + "**", f.spread(), f.judged(f.floor), f.judged(f.aim), f.note}
	for i, c := range cells {
		cells[i] = " " + strings.ReplaceAll(strings.ReplaceAll(c, "|", `\|`), "\n", " ") + " "
	}
	return "|" + strings.Join(cells, "|") + "|\n"
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// verdict says in a line how many floors and aims are kept.
func (r report) verdict() string {
	var floors, aims, missedFloors, missedAims int
	for _, f := range r.figures {
		if !f.floor.none() {
			floors++
			if !f.floor.kept(f.value()) {
				missedFloors++
			}
		}
		if !f.aim.none() {
			aims++
			if !f.aim.kept(f.value()) {
				missedAims++
			}
		}
	}
	return fmt.Sprintf("%d of %d floors missed, %d of %d aims missed", missedFloors, floors, missedAims, aims)
}

// line is a figure for the screen.
func (f figure) line() string {
	text := fmt.Sprintf("%-2s %s: %s", f.row, strings.ReplaceAll(f.what, "`", ""), f.figure())
	if s := f.spread(); s != "" {
		text += " (" + s + ")"
	}
	for _, l := range []string{f.judged(f.floor), f.judged(f.aim)} {
		if l != "" {
			text += "; " + strings.ReplaceAll(l, "**", "")
		}
	}
	if f.note != "" {
		text += "; " + f.note
	}
	return text
}

// writePage replaces the page but for its notes.
func writePage(path string, r report) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return atomicfile.Write(path, []byte(r.page()+keptNotes(string(old))), 0o644)
}

// keptNotes are the notes of a page with the line that begins them.
func keptNotes(page string) string {
	_, text, ok := strings.Cut(page, notes)
	if !ok {
		return ""
	}
	return notes + text
}

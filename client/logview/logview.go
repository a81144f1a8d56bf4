// Package logview turns the messages of a job's logs into the text that people
// and their tools know from SkyPilot: a prefix for each line that says where it
// came from, and marker lines around them.
//
// Without colour the markers are the same bytes as SkyPilot's, because scripts
// look for them.
package logview

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// openLine is how much of a line without an end is kept back. A longer one is
// written as it comes, so that memory is bounded.
const openLine = 64 << 10

// Config says where the text goes.
type Config struct {
	// Out takes the text: prefixed lines and markers.
	Out io.Writer
	// Notice takes what is not part of the log ("node 1 is unreachable"). May be nil.
	Notice func(text string)
	// Color allows escape sequences.
	Color bool
	// Tail is what was asked for: markers are left out when the beginning of
	// the log is.
	Tail int64
	// LastLines, when above 0, writes only that many lines, at Close. It is for
	// readers that do not follow. Of a job that is over, a Tail does the same, before
	// the last marker.
	LastLines int
}

// View renders one job's logs. It is not safe for concurrent use.
type View struct {
	cfg   Config
	out   *bufio.Writer
	ring  *lastLines
	style style

	head    *stixv1.LogHead
	state   *stixv1.LogState
	logs    map[string]*log
	order   []*log
	open    *log // wrote the beginning of a line
	cut     bool // the beginning of some log is not shown
	waiting bool // the first marker is written or left out
	started bool // the second one is
}

// log is one assignment's log.
type log struct {
	prefix  string // with the space that ends it
	partial []byte
	opened  bool // the partial line's beginning is written already
	cr      bool // the last line ended in a carriage return at the end of a chunk
}

// New returns a view that writes to cfg.Out.
func New(cfg Config) *View {
	v := &View{cfg: cfg, logs: map[string]*log{}, style: style{cfg.Color}}
	v.out = bufio.NewWriterSize(cfg.Out, 64<<10)
	if cfg.LastLines > 0 {
		v.keepBack(cfg.LastLines)
	}
	return v
}

// keepBack holds all but the last lines of all logs together back.
func (v *View) keepBack(lines int) {
	v.ring = &lastLines{limit: lines}
	v.out.Reset(v.ring)
}

// release writes what was kept; what comes then is written as it comes.
func (v *View) release() error {
	v.flushPartials()
	if err := v.out.Flush(); err != nil {
		return err
	}
	ring := v.ring
	v.ring = nil
	v.out.Reset(v.cfg.Out)
	if ring == nil {
		return nil
	}
	_, err := ring.WriteTo(v.cfg.Out)
	return err
}

// Head returns which job it is, nil before the first message.
func (v *View) Head() *stixv1.LogHead { return v.head }

// State returns what is known of the job's state, unspecified before that.
func (v *View) State() stixv1.JobState { return v.state.GetState() }

// Final reports whether the last message of the stream was shown.
func (v *View) Final() bool { return v.state.GetFinal() }

// Show writes one message. It errors when the output does.
func (v *View) Show(msg *stixv1.LogsResponse) error {
	switch m := msg.GetMessage().(type) {
	case *stixv1.LogsResponse_Head:
		if v.head == nil && m.Head.GetOver() && v.cfg.Tail > 0 && v.ring == nil {
			v.keepBack(int(v.cfg.Tail))
		}
		v.head = m.Head
	case *stixv1.LogsResponse_Chunk:
		v.showChunk(m.Chunk)
	case *stixv1.LogsResponse_State:
		if m.State.GetFinal() && v.ring != nil {
			if err := v.release(); err != nil {
				return err
			}
		}
		v.showState(m.State)
	case *stixv1.LogsResponse_Wait:
		v.notice(m.Wait.GetText())
	}
	return v.out.Flush()
}

// Close writes what is left of lines without an end.
func (v *View) Close() error { return v.release() }

func (v *View) showState(s *stixv1.LogState) {
	v.state = s
	switch s.GetState() {
	case stixv1.JobState_JOB_STATE_INIT, stixv1.JobState_JOB_STATE_PENDING:
		v.markWaiting()
	case stixv1.JobState_JOB_STATE_SETTING_UP, stixv1.JobState_JOB_STATE_RUNNING:
		// With a tail, only the first chunk tells whether the markers are part of it.
		if v.cfg.Tail == 0 {
			v.markStarted()
		}
	}
	if s.GetFinal() {
		v.finish(s)
	}
}

func (v *View) showChunk(c *stixv1.LogChunk) {
	l := v.logs[c.GetAssignmentUid()]
	if l == nil {
		l = &log{prefix: v.style.prefix(prefix(v.head, c)) + " "}
		v.logs[c.GetAssignmentUid()] = l
		v.order = append(v.order, l)
		v.cut = v.cut || (v.cfg.Tail > 0 && c.GetOffset() > 0)
		v.markStarted()
	}
	v.write(l, c.GetData())
	if c.GetComplete() {
		v.flush(l)
	}
}

// write adds data to a log and writes its complete lines.
func (v *View) write(l *log, data []byte) {
	if l.cr && len(data) > 0 && data[0] == '\n' {
		v.out.WriteByte('\n')
		data = data[1:]
	}
	l.cr = false
	for len(data) > 0 {
		n := lineEnd(data)
		if n == 0 {
			l.partial = append(l.partial, data...)
			if len(l.partial) > openLine {
				v.writeOpen(l)
			}
			return
		}
		v.writeLine(l, data[:n])
		l.cr = n == len(data) && data[n-1] == '\r'
		data = data[n:]
	}
}

// lineEnd returns the length of the first line of data including what ends it:
// "\n", "\r\n", or "\r" alone, as progress bars write it. 0 means no end.
func lineEnd(data []byte) int {
	end := bytes.IndexByte(data, '\n')
	line := data
	if end >= 0 {
		line = data[:end]
	}
	if cr := bytes.IndexByte(line, '\r'); cr >= 0 && cr != end-1 {
		return cr + 1
	}
	return end + 1
}

func (v *View) writeLine(l *log, line []byte) {
	v.begin(l)
	if len(l.partial) > 0 {
		v.out.Write(l.partial)
		l.partial = l.partial[:0]
	}
	v.out.Write(line)
	l.opened, v.open = false, nil
}

// writeOpen writes a line's beginning before its end is known.
func (v *View) writeOpen(l *log) {
	v.begin(l)
	v.out.Write(l.partial)
	l.partial, l.opened, v.open = l.partial[:0], true, l
}

// begin brings the output to where l's next bytes belong: behind its prefix, or
// behind what it wrote of an open line.
func (v *View) begin(l *log) {
	if v.open == l && l.opened {
		return
	}
	v.breakLine()
	v.out.WriteString(l.prefix)
}

// breakLine ends a line that another log left open.
func (v *View) breakLine() {
	if v.open != nil {
		v.out.WriteByte('\n')
		v.open = nil
	}
}

// flush ends a partial last line.
func (v *View) flush(l *log) {
	if len(l.partial) == 0 && v.open != l {
		return
	}
	v.writeLine(l, []byte{'\n'})
}

func (v *View) flushPartials() {
	for _, l := range v.order {
		v.flush(l)
	}
	v.breakLine()
}

// line writes a line of our own.
func (v *View) line(format string, args ...any) {
	v.breakLine()
	fmt.Fprintf(v.out, format+"\n", args...)
}

func (v *View) notice(text string) {
	if v.cfg.Notice != nil && text != "" {
		v.cfg.Notice(text)
	}
}

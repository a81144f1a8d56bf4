package command

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// quiet is how long something may take before the user is told what goes on.
const quiet = time.Second

// frames are the pictures of a terminal's moving sign.
const frames = `|/-\`

// progress tells on the standard error what goes on and for how long: as one
// line that changes on a terminal, as a line for each stage elsewhere. It says
// nothing of what is over within a second.
type progress struct {
	out      io.Writer
	terminal bool
	style    style
	now      func() time.Time

	mu    sync.Mutex
	text  string    // the stage
	since time.Time // it began
	told  string    // the stage that was written last
	drawn bool      // there is a line to be wiped
	frame int

	stopped chan struct{}
	done    chan struct{}
}

// startProgress begins to watch. Its stop must be called.
func (a *app) startProgress() *progress {
	p := &progress{
		out: a.sys.Stderr, terminal: a.sys.StderrTerminal, style: a.style(a.sys.StderrTerminal), now: a.sys.Now,
		stopped: make(chan struct{}), done: make(chan struct{}),
	}
	go p.run()
	return p
}

// stage says what goes on now. The same text again keeps its clock.
func (p *progress) stage(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text != p.text {
		p.text, p.since = text, p.now()
	}
}

// say writes a line of its own above the progress.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	fmt.Fprintf(p.out, format+"\n", args...)
}

// pause runs fn, which writes to a terminal, without the changing line.
func (p *progress) pause(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	fn()
}

// stop ends it and leaves no trace of the changing line. It may be called twice.
func (p *progress) stop() {
	select {
	case <-p.stopped:
	default:
		close(p.stopped)
	}
	<-p.done
}

func (p *progress) run() {
	defer close(p.done)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.show()
		case <-p.stopped:
			p.mu.Lock()
			p.wipe()
			p.mu.Unlock()
			return
		}
	}
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	elapsed := p.now().Sub(p.since)
	if p.text == "" || elapsed < quiet {
		p.wipe()
		return
	}
	if p.terminal {
		p.frame++
		fmt.Fprintf(p.out, "\r\x1b[K%c %s %s", frames[p.frame%len(frames)], p.text, p.style.dim("("+span(elapsed)+")"))
		p.drawn = true
		return
	}
	if p.told != p.text {
		p.told = p.text
		fmt.Fprintf(p.out, "%s...\n", p.text)
	}
}

func (p *progress) wipe() {
	if p.drawn {
		io.WriteString(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

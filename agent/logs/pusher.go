package logs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/internal/backoff"
	stixv1 "github.com/stix-run/stix/proto/stix/v1"
)

// finishing bounds how many logs that nobody follows are pushed at once.
const finishing = 4

// Log is one log as the Pusher reads it.
type Log interface {
	// ReadAt reads what there is from off on, up to len(p) bytes; 0 and nil when
	// there is nothing more at present.
	ReadAt(p []byte, off int64) (int, error)
	// Changed receives some time after the log grew.
	Changed() <-chan struct{}
	// Close ends the use of the log.
	Close() error
}

// Source opens the log of an assignment, also when it does not exist yet.
type Source interface {
	OpenLog(uid string) (Log, error)
}

// SourceFunc is a Source that is a function.
type SourceFunc func(uid string) (Log, error)

// OpenLog implements Source.
func (f SourceFunc) OpenLog(uid string) (Log, error) { return f(uid) }

// Client opens the streams that logs are pushed through;
// stixv1connect.AgentDataServiceClient is one.
type Client interface {
	PushLog(context.Context) (*connect.ClientStreamForClientSimple[stixv1.PushLogRequest, stixv1.PushLogResponse], error)
}

// PusherConfig is what a Pusher needs.
type PusherConfig struct {
	Client Client
	Source Source
	Logger hclog.Logger
}

// Pusher brings logs to the coordinators: those that somebody follows as they
// grow, and all of them completely when their assignment is over.
type Pusher struct {
	config PusherConfig
	slots  chan struct{}
	kick   chan struct{}

	mu     sync.Mutex
	pushes map[string]*push
	ready  []*push // to be run by Run
}

// NewPusher returns a Pusher; what it is told before Run runs is done then.
func NewPusher(c PusherConfig) *Pusher {
	return &Pusher{
		config: c,
		slots:  make(chan struct{}, finishing),
		kick:   make(chan struct{}, 1),
		pushes: map[string]*push{},
	}
}

// Run pushes until ctx ends. It is called once.
func (p *Pusher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		p.mu.Lock()
		ready := p.ready
		p.ready = nil
		p.mu.Unlock()
		for _, l := range ready {
			wg.Go(func() { l.run(ctx) })
		}
		select {
		case <-p.kick:
		case <-ctx.Done():
			return nil
		}
	}
}

// Follow asks for a log from offset on, which is what the coordinator has of it,
// until it is complete or stop is asked for.
func (p *Pusher) Follow(uid string, offset int64, stop bool) {
	p.update(uid, func(w *wants) {
		w.follow = !stop
		if stop || w.known && !w.complete {
			return // a stream that is open is in order
		}
		if w.complete = w.complete && offset >= w.size; !w.complete {
			w.offset, w.known = offset, true
		}
	})
}

// Finish tells that a log will not grow beyond size: the rest of it is pushed.
func (p *Pusher) Finish(uid string, size int64) {
	p.update(uid, func(w *wants) { w.finished, w.size = true, size })
}

// Started tells that a log exists from now on.
func (p *Pusher) Started(uid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.pushes[uid]; l != nil {
		l.wake()
	}
}

// Forget ends what is done for a log.
func (p *Pusher) Forget(uid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.pushes[uid]; l != nil {
		delete(p.pushes, uid)
		l.wants = wants{}
		l.wake()
	}
}

// Connected tells that a new session began. Whoever followed will ask again. Logs
// that are complete are offered again: the coordinator may have gone before it
// noted that it has all; those it noted are forgotten soon.
func (p *Pusher) Connected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.pushes {
		l.wants.follow, l.wants.known, l.wants.complete = false, false, false
		l.wants.session++
		l.wake()
		p.start(l)
	}
}

func (p *Pusher) update(uid string, change func(*wants)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.pushes[uid]
	if l == nil {
		l = &push{pusher: p, uid: uid, woken: make(chan struct{}, 1)}
		p.pushes[uid] = l
	}
	change(&l.wants)
	l.wake()
	p.start(l)
}

// start hands a push that has something to do to Run. Callers hold mu.
func (p *Pusher) start(l *push) {
	if l.running || !l.wants.active() {
		return
	}
	l.running = true
	p.ready = append(p.ready, l)
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// wants is what is asked for one log.
type wants struct {
	follow   bool
	finished bool
	size     int64 // final, once finished
	complete bool  // the coordinator has all of it
	offset   int64 // what the coordinator has, if known
	known    bool
	session  int // counts the sessions: a stream of an older one is given up
}

func (w wants) active() bool { return !w.complete && (w.follow || w.finished) }

// push is one log on its way. Its wants are guarded by the mutex of the Pusher.
type push struct {
	pusher  *Pusher
	uid     string
	woken   chan struct{}
	wants   wants
	running bool
}

func (l *push) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

func (l *push) look() wants {
	l.pusher.mu.Lock()
	defer l.pusher.mu.Unlock()
	return l.wants
}

// stop ends the goroutine of l unless there is something to do again.
func (l *push) stop(ctx context.Context) bool {
	l.pusher.mu.Lock()
	defer l.pusher.mu.Unlock()
	l.running = l.wants.active() && ctx.Err() == nil
	return !l.running
}

// learned notes what the coordinator has, unless the session is another by now.
func (l *push) learned(session int, g gained) {
	l.pusher.mu.Lock()
	defer l.pusher.mu.Unlock()
	if l.wants.session != session {
		return
	}
	l.wants.offset, l.wants.known = g.size, g.known
	l.wants.complete = g.complete && l.wants.finished
}

func (l *push) run(ctx context.Context) {
	schedule := backoff.Backoff{Min: 50 * time.Millisecond, Max: 5 * time.Second}
	for attempt := 0; !l.stop(ctx); {
		w := l.look()
		g, err := l.once(ctx, w)
		if errors.Is(err, errNews) {
			continue
		}
		l.learned(w.session, g)
		if err == nil {
			attempt = 0
			continue
		}
		l.pusher.config.Logger.Debug("push log", "assignment", l.uid, "error", err)
		l.pause(ctx, schedule.Next(attempt, nil))
		attempt++
	}
}

// pause waits, but not when there is news.
func (l *push) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.woken:
	case <-ctx.Done():
	}
}

// once opens a stream and pushes until there is no more to do.
func (l *push) once(ctx context.Context, w wants) (gained, error) {
	if !w.follow {
		select {
		case l.pusher.slots <- struct{}{}:
			defer func() { <-l.pusher.slots }()
		case <-l.woken:
			return gained{}, errNews
		case <-ctx.Done():
			return gained{}, ctx.Err()
		}
	}
	log, err := l.pusher.config.Source.OpenLog(l.uid)
	if err != nil {
		return gained{}, fmt.Errorf("open log: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := l.pusher.config.Client.PushLog(ctx)
	if err != nil {
		return gained{}, errors.Join(err, log.Close())
	}
	t := &transfer{push: l, log: log, stream: stream, cancel: cancel, session: w.session}
	g, err := t.run(ctx, w)
	return g, errors.Join(err, log.Close())
}

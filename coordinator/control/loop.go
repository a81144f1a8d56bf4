package control

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/stix-run/stix/internal/backoff"
)

// Config describes a loop.
type Config struct {
	// Name says what the keys are, for logs and errors. Required.
	Name string
	// Reconciler does the work. Required.
	Reconciler Reconciler
	// Source finds the keys. Required.
	Source Source
	// Workers is how many keys are worked on at once. Default 1.
	Workers int
	// Retry is the schedule of retries of a key and of the source. Its zero value
	// means 100 ms to 30 s.
	Retry backoff.Backoff
	// Random decides the jitter of retries. Nil means the process's own generator.
	Random backoff.Random
	// Logger receives failures: at debug level, and as a warning when a key goes on
	// failing. Nil discards.
	Logger hclog.Logger
}

// Validate reports the first thing that is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.Name == "":
		return errors.New("control: loop without a name")
	case c.Reconciler == nil:
		return fmt.Errorf("control: loop %s without a reconciler", c.Name)
	case c.Source == nil:
		return fmt.Errorf("control: loop %s without a source", c.Name)
	case c.Workers < 0:
		return fmt.Errorf("control: loop %s with %d workers", c.Name, c.Workers)
	}
	return nil
}

// Loop keeps one Reconciler busy with the keys of one Source.
type Loop struct {
	cfg    Config
	logger hclog.Logger
}

// New checks the configuration and assembles a loop; it starts nothing.
func New(cfg Config) (*Loop, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Workers = max(cfg.Workers, 1)
	logger := cfg.Logger
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	return &Loop{cfg: cfg, logger: logger.Named(cfg.Name)}, nil
}

// Run works until ctx is done, waits for every call that is under way, and returns
// nil. Each Run begins from nothing, so a loop may be run again in a later term;
// two at once must not be.
func (l *Loop) Run(ctx context.Context) error {
	q := NewQueue(l.cfg.Retry, l.cfg.Random)
	var wg sync.WaitGroup
	wg.Go(func() { l.follow(ctx, q) })
	for range l.cfg.Workers {
		wg.Go(func() { l.work(ctx, q) })
	}
	wg.Wait()
	return nil
}

// follow runs the source over and over. One that lasted is not held to its earlier
// failures.
func (l *Loop) follow(ctx context.Context, q *Queue) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		added := false
		err := l.callSource(ctx, func(key string) {
			added = true
			q.Add(key)
		})
		if ctx.Err() != nil {
			return
		}
		l.logger.Debug("source ended", "error", err)
		if added {
			attempt = 0
		}
		if backoff.Sleep(ctx, l.cfg.Retry.Next(attempt, l.cfg.Random)) != nil {
			return
		}
	}
}

func (l *Loop) work(ctx context.Context, q *Queue) {
	for {
		key, ok := q.Next(ctx)
		if !ok {
			return
		}
		l.reconcile(ctx, q, key)
		q.Done(key)
	}
}

func (l *Loop) reconcile(ctx context.Context, q *Queue, key string) {
	result, err := l.callReconciler(ctx, key)
	if err == nil {
		q.Succeed(key)
		if result.RequeueAfter > 0 {
			q.AddAfter(key, result.RequeueAfter)
		}
		return
	}
	if ctx.Err() != nil {
		return // the term is over: that is no failure of the key
	}
	l.report(key, q.Retry(key), err)
}

// warnAfter is how many failures in a row make an operator's business of a key.
const warnAfter = 5

func (l *Loop) report(key string, failures int, err error) {
	level := hclog.Debug
	if failures == warnAfter {
		level = hclog.Warn
	}
	l.logger.Log(level, "reconcile failed", "key", key, "failures", failures, "error", err)
}

func (l *Loop) callReconciler(ctx context.Context, key string) (result Result, err error) {
	defer l.guard("reconcile "+key, &err)
	return l.cfg.Reconciler.Reconcile(ctx, key)
}

func (l *Loop) callSource(ctx context.Context, add func(string)) (err error) {
	defer l.guard("source", &err)
	return l.cfg.Source(ctx, add)
}

// guard turns a panic into an error: one broken record must not take the
// coordinator down, and with it the term of every other behaviour, over and over.
func (l *Loop) guard(what string, err *error) {
	p := recover()
	if p == nil {
		return
	}
	*err = fmt.Errorf("%s panicked: %v", what, p)
	l.logger.Error("panic", "in", what, "value", fmt.Sprint(p))
	l.logger.Debug("panic", "in", what, "stack", string(debug.Stack()))
}

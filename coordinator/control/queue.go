package control

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/stix-run/stix/internal/backoff"
)

// Queue hands out keys to workers. A key that is handed out is not handed out
// again before Done; if it was added meanwhile, it then comes again. Keys that are
// due come in the order in which they became so.
//
// Only the passing of time needs no goroutine: workers that wait in Next watch the
// clock.
type Queue struct {
	retry backoff.Backoff
	rnd   backoff.Random

	mu      sync.Mutex
	items   map[string]*item // those with any state; idle keys have none
	ready   []*item          // in the order to hand out
	delayed delayHeap
	wake    chan struct{} // holds a token when a waiting worker should look again
}

// item is the state of a key.
type item struct {
	key     string
	queued  bool // in ready
	working bool // handed out
	dirty   bool // added while handed out

	due   time.Time // when delayed
	place int       // in delayed; -1 when not there

	failures int
	notUntil time.Time // while failing: an Add does not bring it forward of this
}

// NewQueue returns an empty queue with that schedule of retries. rnd decides the
// jitter; nil means the process's own generator.
func NewQueue(retry backoff.Backoff, rnd backoff.Random) *Queue {
	return &Queue{
		retry: retry,
		rnd:   rnd,
		items: make(map[string]*item),
		wake:  make(chan struct{}, 1),
	}
}

// Add makes a key due now, also if it was delayed. A key that fails is not brought
// forward of the shortest retry delay: its failing may be what adds it.
func (q *Queue) Add(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.item(key)
	if it.working {
		it.dirty = true
		return
	}
	q.schedule(it, it.notUntil)
}

// AddAfter makes a key due after d, or earlier if it is already.
func (q *Queue) AddAfter(key string, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.schedule(q.item(key), time.Now().Add(d))
}

// Next waits for a key that is due and hands it out. It returns false when ctx is
// done. Every key needs a Done.
func (q *Queue) Next(ctx context.Context) (key string, ok bool) {
	for ctx.Err() == nil {
		it, wait := q.take()
		if it != nil {
			return it.key, true
		}
		q.sleep(ctx, wait)
	}
	return "", false
}

// Done takes a key back. A key that was added meanwhile is due again.
func (q *Queue) Done(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.item(key)
	it.working = false
	if it.dirty {
		it.dirty = false
		q.schedule(it, it.notUntil)
	}
	q.forgetIdle(it)
}

// Retry notes that work on a key failed and makes it due after a delay that grows
// with each failure in a row. It returns how many there were. To be called before
// Done.
func (q *Queue) Retry(key string) (failures int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.item(key)
	delay := q.retry.Next(it.failures, q.rnd)
	it.failures++
	now := time.Now()
	it.notUntil = now.Add(q.retry.Ceiling(0))
	q.schedule(it, now.Add(max(delay, q.retry.Ceiling(0))))
	return it.failures
}

// Succeed notes that work on a key succeeded: it fails no more. To be called
// before Done.
func (q *Queue) Succeed(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.item(key)
	it.failures = 0
	it.notUntil = time.Time{}
	q.forgetIdle(it)
}

// Len returns how many keys are due, delayed or handed out.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}

func (q *Queue) item(key string) *item {
	it, ok := q.items[key]
	if !ok {
		it = &item{key: key, place: -1}
		q.items[key] = it
	}
	return it
}

// forgetIdle keeps the queue from growing with every key that ever was.
func (q *Queue) forgetIdle(it *item) {
	if !it.queued && !it.working && it.place < 0 && it.failures == 0 {
		delete(q.items, it.key)
	}
}

// schedule makes an item due at a time, unless it is already by then.
func (q *Queue) schedule(it *item, due time.Time) {
	if it.queued {
		return
	}
	if !due.After(time.Now()) {
		q.makeReady(it)
		return
	}
	if it.place >= 0 {
		if due.Before(it.due) {
			it.due = due
			heap.Fix(&q.delayed, it.place)
		}
	} else {
		it.due = due
		heap.Push(&q.delayed, it)
	}
	if it.place == 0 {
		q.signal()
	}
}

// makeReady queues an item that is due, or marks it when it is handed out.
func (q *Queue) makeReady(it *item) {
	if it.place >= 0 {
		heap.Remove(&q.delayed, it.place)
	}
	switch {
	case it.working:
		it.dirty = true
	case !it.queued:
		it.queued = true
		q.ready = append(q.ready, it)
		q.signal()
	}
}

// take hands out the next item, or says how long to wait for one; negative means
// until a signal.
func (q *Queue) take() (*item, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for len(q.delayed) > 0 && !q.delayed[0].due.After(now) {
		q.makeReady(q.delayed[0])
	}
	if len(q.ready) == 0 {
		if len(q.delayed) == 0 {
			return nil, -1
		}
		return nil, q.delayed[0].due.Sub(now)
	}
	it := q.ready[0]
	q.ready[0] = nil
	q.ready = q.ready[1:]
	it.queued = false
	it.working = true
	if len(q.ready) > 0 || len(q.delayed) > 0 {
		q.signal() // for the next worker: one token may stand for several adds
	}
	return it, 0
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *Queue) sleep(ctx context.Context, d time.Duration) {
	var timeout <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-q.wake:
	case <-timeout:
	case <-ctx.Done():
	}
}

// delayHeap orders items by when they are due.
type delayHeap []*item

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

func (h delayHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push satisfies heap.Interface.
func (h *delayHeap) Push(x any) {
	it := x.(*item)
	it.place = len(*h)
	*h = append(*h, it)
}

// Pop satisfies heap.Interface.
func (h *delayHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	it.place = -1
	return it
}

package consensus

import (
	"sync"
	"sync/atomic"
)

// fault is the first thing that went wrong beyond repair. From then on the node
// is mute: its peers are cut off before anyone learns of the fault, its state
// machine applies nothing, its log stores nothing. What the library goes on to
// believe (it cannot be told) then reaches nobody, which is what makes it safe for
// the stores to humour it where an error would make it panic.
type fault struct {
	mute func()

	once sync.Once
	set  atomic.Bool
	err  error
	done chan struct{}
}

func newFault(mute func()) *fault {
	return &fault{mute: mute, done: make(chan struct{})}
}

// raise records err unless there is a fault already.
func (f *fault) raise(err error) {
	f.once.Do(func() {
		f.set.Store(true)
		f.mute()
		f.err = err
		close(f.done)
	})
}

// cause returns the fault's error, or nil while there is none.
func (f *fault) cause() error {
	select {
	case <-f.done:
		return f.err
	default:
		return nil
	}
}

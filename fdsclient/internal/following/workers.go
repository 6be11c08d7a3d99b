package following

import (
	"slices"
	"sync"
	"time"
)

// lendAfter: an item for which the handler takes longer, or does not come free, holds up no
// other owner.
const lendAfter = 5 * time.Second

// workers read from the Web API: followers that have something to fetch wait for one, and
// there are at most so many. Without work there is no goroutine.
type workers struct {
	most int

	mu    sync.Mutex
	queue []*Follower
	busy  int // workers, without those lent
}

// standing is where a follower stands among the workers.
type standing uint8

const (
	idle      standing = iota
	queued             // it waits for a worker
	atWork             // a worker is at it
	wantsMore          // a worker is at it, and it was added again
	removed            // it is never to be added again
)

// place is where a follower stands among the workers, whose mutex guards it.
type place struct {
	standing standing
	leaving  bool          // removed, as soon as the worker is done
	done     chan struct{} // closed when the worker is done; nil: none is at it
}

// add has a worker come to a follower.
func (w *workers) add(f *Follower) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.place.leaving {
		return
	}
	switch f.place.standing {
	case idle:
		f.place.standing = queued
		w.queue = append(w.queue, f)
		w.staff()
	case atWork:
		f.place.standing = wantsMore
	}
}

// staff starts a worker if one may and is needed. w.mu is held.
func (w *workers) staff() {
	if w.busy < w.most && len(w.queue) > 0 {
		w.busy++
		go w.work()
	}
}

// remove takes a follower out for good and waits until no worker is at it.
func (w *workers) remove(f *Follower) {
	w.mu.Lock()
	f.place.leaving = true
	done := f.place.done
	switch f.place.standing {
	case queued:
		w.queue = slices.DeleteFunc(w.queue, func(other *Follower) bool { return other == f })
		f.place.standing = removed
	case idle:
		f.place.standing = removed
	}
	w.mu.Unlock()
	if done != nil {
		<-done
	}
}

func (w *workers) work() {
	returned := false
	defer func() {
		if !returned { // the handler ended its goroutine
			w.mu.Lock()
			w.busy--
			w.staff()
			w.mu.Unlock()
		}
	}()
	for {
		w.mu.Lock()
		if len(w.queue) == 0 || w.busy > w.most {
			w.busy--
			returned = true
			w.mu.Unlock()
			return
		}
		f := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		f.place.standing, f.place.done = atWork, make(chan struct{})
		w.mu.Unlock()
		w.serve(f)
	}
}

func (w *workers) serve(f *Follower) {
	defer func() {
		w.mu.Lock()
		close(f.place.done)
		f.place.done = nil
		more := f.place.standing == wantsMore
		f.place.standing = idle
		if f.place.leaving {
			f.place.standing = removed
		}
		w.mu.Unlock()
		if more {
			w.add(f)
		}
	}()
	f.work()
}

// takesLong lends the caller's place when what it does takes long, until it calls end.
func (w *workers) takesLong() (end func()) {
	timer := time.AfterFunc(lendAfter, w.lend)
	return func() {
		if !timer.Stop() {
			w.takeBack()
		}
	}
}

// lend lets another worker begin.
func (w *workers) lend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	w.staff()
}

// takeBack ends what lend began.
func (w *workers) takeBack() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy++
}

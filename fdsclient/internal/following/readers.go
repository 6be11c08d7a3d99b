package following

import (
	"slices"
	"sync"
	"time"
)

// releaseAfter: an item for which the handler takes longer, or does not come free, holds up no
// other owner.
const releaseAfter = 5 * time.Second

// readers read from the Web API: followers that have something to fetch wait for one, and
// there are at most so many. Without work there is no goroutine.
type readers struct {
	most int

	mu    sync.Mutex
	queue []*Follower
	busy  int // readers, without those that released their slots
}

// standing is where a follower stands among the readers.
type standing uint8

const (
	idle      standing = iota
	queued             // it waits for a reader
	atWork             // a reader is at it
	wantsMore          // a reader is at it, and it was added again
)

// slot is where a follower stands among the readers, whose mutex guards it.
type slot struct {
	standing standing
	removed  bool          // it is never to be added again
	done     chan struct{} // closed when the reader is done; nil: none is at it
}

// add has a reader come to a follower.
func (r *readers) add(f *Follower) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.slot.removed {
		return
	}
	switch f.slot.standing {
	case idle:
		f.slot.standing = queued
		r.queue = append(r.queue, f)
		r.staff()
	case atWork:
		f.slot.standing = wantsMore
	}
}

// staff starts a reader if one may and is needed. r.mu is held.
func (r *readers) staff() {
	if r.busy < r.most && len(r.queue) > 0 {
		r.busy++
		go r.work()
	}
}

// remove takes a follower out for good and waits until no reader is at it.
func (r *readers) remove(f *Follower) {
	r.mu.Lock()
	f.slot.removed = true
	done := f.slot.done
	if f.slot.standing == queued {
		r.queue = slices.DeleteFunc(r.queue, func(other *Follower) bool { return other == f })
	}
	r.mu.Unlock()
	if done != nil {
		<-done
	}
}

func (r *readers) work() {
	returned := false
	defer func() {
		if !returned { // the handler ended its goroutine
			r.mu.Lock()
			r.busy--
			r.staff()
			r.mu.Unlock()
		}
	}()
	for {
		r.mu.Lock()
		if len(r.queue) == 0 || r.busy > r.most {
			r.busy--
			returned = true
			r.mu.Unlock()
			return
		}
		f := r.queue[0]
		r.queue[0] = nil
		r.queue = r.queue[1:]
		f.slot.standing, f.slot.done = atWork, make(chan struct{})
		r.mu.Unlock()
		r.serve(f)
	}
}

func (r *readers) serve(f *Follower) {
	defer func() {
		r.mu.Lock()
		close(f.slot.done)
		f.slot.done = nil
		more := f.slot.standing == wantsMore
		f.slot.standing = idle
		r.mu.Unlock()
		if more {
			r.add(f)
		}
	}()
	f.work()
}

// takesLong releases the caller's slot when what it does takes long, until it calls end.
func (r *readers) takesLong() (end func()) {
	timer := time.AfterFunc(releaseAfter, r.release)
	return func() {
		if !timer.Stop() {
			r.reclaim()
		}
	}
}

// release lets another reader begin.
func (r *readers) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy--
	r.staff()
}

// reclaim ends what release began.
func (r *readers) reclaim() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy++
}

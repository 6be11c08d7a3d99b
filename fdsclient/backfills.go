package fdsclient

import (
	"slices"
	"sync"
	"time"
)

// backfills are the gaps of all owners that wait to be filled, and at most so
// many workers at it. Without work there is no goroutine.
type backfills struct {
	most int

	mu    sync.Mutex
	queue []*follower
	busy  int // workers, without those lent
}

// place is where a follower stands in the backfills.
type place struct {
	queued, removed bool
	again           bool          // it was added while a worker was at it
	filling         chan struct{} // closed when a worker is done with it; nil: none is at it
}

// add puts a follower into the queue, unless it is there.
func (b *backfills) add(f *follower) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.place.queued || f.place.removed {
		return
	}
	if f.place.filling != nil {
		f.place.again = true
		return
	}
	f.place.queued = true
	b.queue = append(b.queue, f)
	b.staff()
}

// staff starts a worker if one may and is needed. b.mu is held.
func (b *backfills) staff() {
	if b.busy < b.most && len(b.queue) > 0 {
		b.busy++
		go b.work()
	}
}

// remove takes a follower out for good and waits until no worker is at it.
func (b *backfills) remove(f *follower) {
	b.mu.Lock()
	f.place.removed = true
	if f.place.queued {
		f.place.queued = false
		b.queue = slices.DeleteFunc(b.queue, func(other *follower) bool { return other == f })
	}
	filling := f.place.filling
	b.mu.Unlock()
	if filling != nil {
		<-filling
	}
}

func (b *backfills) work() {
	returned := false
	defer func() {
		if !returned { // the handler ended its goroutine
			b.mu.Lock()
			b.busy--
			b.staff()
			b.mu.Unlock()
		}
	}()
	for {
		b.mu.Lock()
		if len(b.queue) == 0 || b.busy > b.most {
			b.busy--
			returned = true
			b.mu.Unlock()
			return
		}
		f := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		f.place.queued, f.place.filling = false, make(chan struct{})
		b.mu.Unlock()
		b.fill(f)
	}
}

func (b *backfills) fill(f *follower) {
	defer func() {
		b.mu.Lock()
		close(f.place.filling)
		f.place.filling = nil
		again := f.place.again
		f.place.again = false
		b.mu.Unlock()
		if again {
			b.add(f)
		}
	}()
	f.fill()
}

// takesLong lends the caller's place when what it does takes long, until it calls
// end.
func (b *backfills) takesLong() (end func()) {
	timer := time.AfterFunc(lendAfter, b.lend)
	return func() {
		if !timer.Stop() {
			b.takeBack()
		}
	}
}

// lend lets another worker begin.
func (b *backfills) lend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy--
	b.staff()
}

// takeBack ends what lend began.
func (b *backfills) takeBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy++
}

package grants

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

const (
	// Workers is how many grants are renewed ahead of their expiry at once.
	Workers = 16
	// maxSleep bounds how late the scheduler notices that the wall clock has
	// moved on without its timer: a laptop that slept, a clock that was set.
	maxSleep = 30 * time.Second
)

// scheduler renews grants when they are due: one goroutine that
// sleeps, and a bounded number of workers while there is work.
type scheduler struct {
	mu    sync.Mutex
	queue dueQueue
	wake  chan struct{}
}

// planned is a grant's place in the plan, guarded by the scheduler's mutex.
type planned struct {
	at    time.Time
	place int  // in the queue, counted from 1; 0: not planned
	rests bool // it is not to be planned, see Grant.Rest
}

func newScheduler() *scheduler { return &scheduler{wake: make(chan struct{}, 1)} }

// plan sets when g is due next, unless it rests.
func (s *scheduler) plan(g *Grant, at time.Time) { s.set(g, at, false) }

// lookNow has g due now, also when it rests: then once.
func (s *scheduler) lookNow(g *Grant) { s.set(g, time.Now(), true) }

func (s *scheduler) set(g *Grant, at time.Time, resting bool) {
	s.mu.Lock()
	if g.planned.rests && !resting {
		s.mu.Unlock()
		return
	}
	g.planned.at = at.Round(0) // compared by the wall clock alone
	if g.planned.place > 0 {
		heap.Fix(&s.queue, g.planned.place-1)
	} else {
		heap.Push(&s.queue, g)
	}
	first := s.queue[0] == g
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// remove takes g out of the plan.
func (s *scheduler) remove(g *Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.planned.place > 0 {
		heap.Remove(&s.queue, g.planned.place-1)
	}
}

// rest takes g out of the plan, and keeps it out until rouse.
func (s *scheduler) rest(g *Grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.planned.rests = true
	if g.planned.place > 0 {
		heap.Remove(&s.queue, g.planned.place-1)
	}
}

// rouse ends what rest began, and reports whether g rested.
func (s *scheduler) rouse(g *Grant) (rested bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rested = g.planned.rests
	g.planned.rests = false
	return rested
}

// next takes out a grant that is due, or says how long none is.
func (s *scheduler) next() (*Grant, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil, maxSleep
	}
	// Wall clock: see answer.expiry.
	if wait := s.queue[0].planned.at.Round(0).Sub(time.Now().Round(0)); wait > 0 {
		return nil, min(wait, maxSleep)
	}
	return heap.Pop(&s.queue).(*Grant), 0
}

// run works until ctx ends and its workers are done. Every maxSleep it calls watch, if there
// is one.
func (s *scheduler) run(ctx context.Context, watch func(context.Context)) {
	var workers sync.WaitGroup
	defer workers.Wait()
	slots := make(chan struct{}, Workers)
	timer := time.NewTimer(maxSleep)
	defer timer.Stop()
	var watched time.Time
	watching := make(chan struct{}, 1)
	for ctx.Err() == nil {
		if watch != nil && time.Since(watched) >= maxSleep {
			watched = time.Now()
			select {
			case watching <- struct{}{}:
				workers.Go(func() {
					watch(ctx)
					<-watching
				})
			default: // still at it
			}
		}
		g, wait := s.next()
		if g == nil {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-s.wake:
			case <-ctx.Done():
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		workers.Go(func() {
			g.due(ctx)
			<-slots
		})
	}
}

// dueQueue is a heap by time.
type dueQueue []*Grant

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].planned.at.Before(q[j].planned.at) }
func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].planned.place, q[j].planned.place = i+1, j+1
}
func (q *dueQueue) Push(x any) {
	g := x.(*Grant)
	*q = append(*q, g)
	g.planned.place = len(*q)
}
func (q *dueQueue) Pop() any {
	old := *q
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	g.planned.place = 0
	return g
}

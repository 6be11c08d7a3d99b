package fdsclient

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

const (
	renewalWorkers = 16
	// maxSleep bounds how late the scheduler notices that the wall clock has
	// moved on without its timer: a laptop that slept, a clock that was set.
	maxSleep = 30 * time.Second
)

// scheduler renews all grants of a Client when they are due: one goroutine that
// sleeps, and a bounded number of workers while there is work.
type scheduler struct {
	mu      sync.Mutex
	queue   dueQueue
	entries map[*grant]*dueEntry
	wake    chan struct{}
}

type dueEntry struct {
	grant *grant
	at    time.Time
	index int
}

func newScheduler() *scheduler {
	return &scheduler{entries: make(map[*grant]*dueEntry), wake: make(chan struct{}, 1)}
}

// plan sets when g is due next.
func (s *scheduler) plan(g *grant, at time.Time) {
	s.mu.Lock()
	if e, ok := s.entries[g]; ok {
		e.at = at
		heap.Fix(&s.queue, e.index)
	} else {
		e := &dueEntry{grant: g, at: at}
		s.entries[g] = e
		heap.Push(&s.queue, e)
	}
	first := s.queue[0].grant == g
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// remove takes g out of the plan.
func (s *scheduler) remove(g *grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[g]; ok {
		heap.Remove(&s.queue, e.index)
		delete(s.entries, g)
	}
}

// next takes out a grant that is due, or says how long none is.
func (s *scheduler) next() (*grant, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil, maxSleep
	}
	// Wall clock: see answer.expiry.
	if wait := s.queue[0].at.Round(0).Sub(time.Now().Round(0)); wait > 0 {
		return nil, min(wait, maxSleep)
	}
	e := heap.Pop(&s.queue).(*dueEntry)
	delete(s.entries, e.grant)
	return e.grant, 0
}

// run works until ctx ends and its workers are done.
func (s *scheduler) run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	slots := make(chan struct{}, renewalWorkers)
	timer := time.NewTimer(maxSleep)
	defer timer.Stop()
	for ctx.Err() == nil {
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
type dueQueue []*dueEntry

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *dueQueue) Push(x any) {
	e := x.(*dueEntry)
	e.index = len(*q)
	*q = append(*q, e)
}
func (q *dueQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return e
}

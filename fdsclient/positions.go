package fdsclient

import (
	"sync"
	"time"
)

const (
	positionInterval = time.Second           // from a position's change to its store
	positionBatch    = 20 * time.Millisecond // what is due within it is stored together
	positionSaves    = 16                    // at once
)

// positions stores the changed positions of a Client's owners, with one timer for
// all: at ten thousand owners nearly each message changes another one's.
type positions struct {
	mu      sync.Mutex
	waiting []changedPosition // the oldest first
	due     []*follower
	workers int
	armed   bool
}

type changedPosition struct {
	of    *follower
	since time.Time
}

// add has f's position stored after positionInterval. f must not be in here
// already.
func (p *positions) add(f *follower) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, changedPosition{f, time.Now()})
	if !p.armed {
		p.armed = true
		time.AfterFunc(positionInterval, p.tick)
	}
}

func (p *positions) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	n := 0
	for n < len(p.waiting) && now.Sub(p.waiting[n].since) >= positionInterval {
		p.due = append(p.due, p.waiting[n].of)
		p.waiting[n].of = nil
		n++
	}
	p.waiting = p.waiting[n:]
	if p.armed = len(p.waiting) > 0; p.armed {
		time.AfterFunc(max(p.waiting[0].since.Add(positionInterval).Sub(now), positionBatch), p.tick)
	} else {
		p.waiting = nil
	}
	if n > 0 && p.workers < positionSaves { // one does it, unless the store is slow
		p.workers++
		go p.work()
	}
}

// work stores what is due. Positions that a slow store does not get to wait: an
// old one is a lower bound too.
func (p *positions) work() {
	for {
		p.mu.Lock()
		if len(p.due) == 0 {
			p.due = nil
			p.workers--
			p.mu.Unlock()
			return
		}
		f := p.due[0]
		p.due = p.due[1:]
		p.mu.Unlock()
		f.savePosition()
	}
}

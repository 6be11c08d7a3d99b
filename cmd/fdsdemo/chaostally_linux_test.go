package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/internal/realtest"
)

// message names one that was published.
type message struct {
	owner    string
	sequence int // from 1, for each owner
}

// arrival is a line that shows a message.
type arrival struct {
	run       int // of watch
	duplicate bool
}

// tally counts what was published and what has arrived.
type tally struct {
	ahead chan struct{} // a place for each message that is published and has not arrived

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at each change
	published int           // acknowledged by the broker
	lines     int
	cut       int // beginnings of lines
	fetched   int // lines that did not come by push
	arrivals  map[message][]arrival
	order     map[string][]int // sequences of an owner as they arrived first
	repeats   map[message]int  // how often a message that may have been sent was published again
	faults    []string

	firstMarked int // first arrivals that are marked as duplicates

	holdAt int           // the reader stops when so many messages have arrived; 0: never
	held   bool          // it has
	free   chan struct{} // closed: it goes on
}

func newTally(ahead int) *tally {
	return &tally{
		ahead: make(chan struct{}, ahead), changed: make(chan struct{}),
		arrivals: make(map[message][]arrival), order: make(map[string][]int), repeats: make(map[message]int),
	}
}

// String says how far it has come.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d messages were published, %d have arrived in %d lines", t.published, len(t.arrivals), t.lines)
}

// notify is called with t.mu held.
func (t *tally) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// look asks under the lock, and returns what is closed at the next change.
func (t *tally) look(reached func() bool) (bool, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return reached(), t.changed
}

// hold stops the reader at the line with which so many messages have arrived, or
// at the next one if they have.
func (t *tally) hold(arrived int) (release func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	free := make(chan struct{})
	t.holdAt, t.held, t.free = arrived, false, free
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.holdAt, t.held = 0, false
		close(free)
	}
}

// readAll reads the whole lines of one run of watch. A kill may cut the last.
func (t *tally) readAll(run int, from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.mu.Lock()
			if len(line) > 0 {
				t.cut++
			}
			t.mu.Unlock()
			return
		}
		if free := t.add(run, line); free != nil {
			<-free
		}
	}
}

// add counts a line; the reader waits for the channel, if there is one.
func (t *tally) add(run int, line []byte) <-chan struct{} {
	var l struct {
		Owner     string
		Duplicate bool
		Source    string
		Payload   struct {
			Owner    string
			Sequence int
			Padding  string
		}
	}
	err := json.Unmarshal(line, &l)
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.notify()
	t.lines++
	m := message{l.Owner, l.Payload.Sequence}
	switch {
	case err != nil || l.Payload.Owner != l.Owner || l.Payload.Sequence < 1 || strings.Trim(l.Payload.Padding, "x") != "":
		t.faults = append(t.faults, fmt.Sprintf("%v: %.300q", err, line))
		return nil
	case l.Source != "push":
		t.fetched++
		t.faults = append(t.faults, fmt.Sprintf("there is nothing to fetch: %.300q", line))
		return nil
	}
	if len(t.arrivals[m]) == 0 {
		t.order[m.owner] = append(t.order[m.owner], m.sequence)
		if l.Duplicate {
			t.firstMarked++
		}
		<-t.ahead
	}
	t.arrivals[m] = append(t.arrivals[m], arrival{run, l.Duplicate})
	if t.holdAt > 0 && len(t.arrivals) >= t.holdAt {
		t.held = true
		return t.free
	}
	return nil
}

// publisher publishes each owner's messages in order, the next one when the one
// before is acknowledged. What is not acknowledged it publishes again.
type publisher struct {
	ctx    context.Context
	broker *realtest.Broker
	tally  *tally
	work   sync.WaitGroup

	mu      sync.Mutex
	attempt context.Context // ends when the broker has ended
	end     context.CancelFunc
}

func newPublisher(ctx context.Context, c *chaos) *publisher {
	p := &publisher{ctx: ctx, broker: c.broker, tally: c.tally}
	p.attempt, p.end = context.WithCancel(ctx)
	return p
}

// abandon ends the wait for the acknowledgements of a broker that is gone.
func (p *publisher) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.attempt, p.end = context.WithCancel(p.ctx)
}

func (p *publisher) attempting() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attempt
}

// publish publishes so many messages of one owner, meanwhile.
func (p *publisher) publish(o fdstest.Owner, count int, rng *rand.Rand) {
	p.work.Go(func() {
		for sequence := 1; sequence <= count; sequence++ {
			select {
			case p.tally.ahead <- struct{}{}:
			case <-p.ctx.Done():
				return
			}
			padding := 200
			if rng.IntN(20) == 0 {
				padding = 6_000 // more than a pipe takes at once, so that a kill may cut it
			}
			payload := fmt.Appendf(nil, `{"owner":%q,"sequence":%d,"padding":%q}`, o.Spelling, sequence, strings.Repeat("x", padding))
			if !p.insist(message{o.Spelling, sequence}, o.Topic("devices", "D"), payload) {
				return
			}
		}
	})
}

// insist publishes a message until it is acknowledged.
func (p *publisher) insist(m message, topic string, payload []byte) bool {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := p.broker.Publish(p.attempting(), topic, payload, 1)
		if err == nil {
			break
		}
		if !errors.Is(err, realtest.ErrUnconnected) {
			p.tally.mu.Lock()
			p.tally.repeats[m]++
			p.tally.mu.Unlock()
		}
		select {
		case <-again.C: // the broker is restarting
		case <-p.ctx.Done():
			return false
		}
	}
	p.tally.mu.Lock()
	defer p.tally.mu.Unlock()
	p.tally.published++
	p.tally.notify()
	return true
}

// wait waits until all is published, or its context has ended.
func (p *publisher) wait() {
	p.work.Wait()
}

package pull

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"
)

// aheadBytes bounds what is read of an answer before the loop wants it. As much may be
// with the loop at the same time.
const aheadBytes = 512 << 10

// entryBytes is about what an entry takes besides its JSON, which may be tiny.
const entryBytes = 64

// entry is the begin of an answer or, with answer nil, an item of the last one.
type entry struct {
	answer *answerBegan
	raw    json.RawMessage
}

type answerBegan struct {
	date   time.Time
	shared bool // as exchange.shared
}

// feed carries what a reader reads to the loop that uses it. They run side by side,
// so that the provider's time and the loop's are not added up: the reader is ahead
// by aheadBytes, twice at most, and by no more than the answer after the one in use.
type feed struct {
	mu       sync.Mutex
	readable sync.Cond // for the loop
	writable sync.Cond // for the reader
	queue    []entry
	bytes    int // of the entries in queue
	begun    int // answers in queue or before it
	used     int // answers that the loop has begun
	stopped  bool
	over     bool
	err      error // with over: why there is no more; nil: that was all
	panics   any   // with over: what the reader panicked with

	pending        []entry // the reader's, not yet in queue
	pendingBytes   int
	pendingAnswers int
}

var (
	errStopped = errors.New("pull: the loop has ended")
	errExited  = errors.New("pull: the Authorizer or the Transport ended its goroutine")
)

// run has read write to the feed and use called for each entry, until that returns
// false; whole: it never did, and all was read. The error is read's, after all
// entries before it, or ctx's.
func (f *feed) run(ctx context.Context, read func(context.Context) error, use func(entry) bool) (whole bool, err error) {
	f.readable.L, f.writable.L = &f.mu, &f.mu
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	defer f.stop()
	defer context.AfterFunc(ctx, f.stop)()
	go f.read(reading, read)
	var batch []entry
	for {
		var more bool
		if batch, more = f.take(batch); !more {
			break
		}
		for i, e := range batch {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			if e.answer != nil {
				f.use()
			}
			if !use(e) {
				return false, nil
			}
			batch[i] = entry{} // the loop may keep items, the batch does not
		}
	}
	f.mu.Lock()
	over, err, panics := f.over, f.err, f.panics
	f.mu.Unlock()
	switch {
	case !over || errors.Is(err, errStopped): // by ctx, which the reader has yet to notice or has just noticed
		return false, ctx.Err()
	case panics != nil:
		panic(panics)
	}
	return err == nil, err
}

// read runs the reader, and has the loop hear of its end, however it ends.
func (f *feed) read(ctx context.Context, read func(context.Context) error) {
	err := errExited
	defer func() {
		panics := recover()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.queue = append(f.queue, f.pending...)
		f.over, f.err, f.panics = true, err, panics
		f.readable.Signal()
	}()
	err = read(ctx)
}

// stop tells the reader that nothing more is wanted.
func (f *feed) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	f.writable.Signal()
	f.readable.Signal()
}

// take waits for entries and returns all that there are. Old is what it gave before.
func (f *feed) take(old []entry) (batch []entry, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue) == 0 && !f.over && !f.stopped {
		f.readable.Wait()
	}
	batch, f.queue, f.bytes = f.queue, old[:0], 0
	f.writable.Signal()
	return batch, len(batch) > 0
}

// use notes that the loop has begun another answer.
func (f *feed) use() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used++
	f.writable.Signal()
}

// put adds an entry. The loop sees it at the next flush.
func (f *feed) put(e entry) {
	f.pending = append(f.pending, e)
	f.pendingBytes += len(e.raw) + entryBytes
}

// isFull reports whether so much was put that the loop must see it first.
func (f *feed) isFull() bool { return f.pendingBytes > aheadBytes }

// flush hands over what was put. When the loop has enough, it pauses wait and waits
// until it has not.
func (f *feed) flush(ctx context.Context, wait *answerTimer) error {
	if !f.hand() {
		return nil
	}
	wait.pause()
	f.mu.Lock()
	for f.bytes > aheadBytes && !f.stopped {
		f.writable.Wait()
	}
	stopped := f.stopped
	f.mu.Unlock()
	if stopped {
		return errStopped
	}
	return wait.resume(ctx)
}

// hand moves what was put to the queue, and reports whether that is full.
func (f *feed) hand() (full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.pending) > 0 {
		f.queue = append(f.queue, f.pending...)
		f.bytes += f.pendingBytes
		f.begun += f.pendingAnswers
		clear(f.pending)
		f.pending, f.pendingBytes, f.pendingAnswers = f.pending[:0], 0, 0
		f.readable.Signal()
	}
	return f.bytes > aheadBytes || f.stopped
}

// next begins another answer, once the loop has begun the last one.
func (f *feed) next() error {
	f.hand()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.used < f.begun && !f.stopped {
		f.writable.Wait()
	}
	if f.stopped {
		return errStopped
	}
	return nil
}

// began notes that an answer is there.
func (f *feed) began(e *exchange) {
	f.pendingAnswers++
	f.put(entry{answer: &answerBegan{e.date(), e.shared}})
}

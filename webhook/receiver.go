package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/internal/hooks"
	"github.com/fds-sdk/fds-go/webhook/internal/marks"
)

const (
	marksFor   = 76 * time.Hour   // a sender repeats for 75 (Standard Webhooks 1.0.0)
	closeGrace = 10 * time.Second // what handlers at work have to finish
)

// Receiver is an endpoint to which a provider delivers. It is safe for concurrent use; Close it.
type Receiver struct {
	cfg     Config
	calling *handoff.Settings
	release func() // of Config.Batch; nil: there is none
	keys    *keys  // nil: the issuer is asked about tokens
	// lastHeader is that of the token whose signature was verified last: most have the same.
	lastHeader atomic.Pointer[header]
	tokens     *tokens
	lanes      lanes
	failing    failures
	marks      *marks.Log
	refused    refusals

	ctx    context.Context // of what no request owns
	cancel context.CancelFunc

	mu     sync.Mutex
	inHand int
	bytes  int
	closed bool
	work   sync.WaitGroup // what is in hand

	background sync.WaitGroup

	taken, refusedCount, suppressed atomic.Uint64
	takenAt                         atomic.Int64 // by UnixNano; 0: none was yet
}

var _ http.Handler = (*Receiver)(nil)

// New makes a Receiver, opens its folder and begins to fetch the issuer's keys in the background.
// Errors match fds.ErrConfig and name every fault; or come from the folder, such as fds.ErrRunning
// when it is another one's.
func New(cfg Config) (*Receiver, error) {
	batch := cfg.Batch
	cfg, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	r := &Receiver{cfg: cfg, tokens: newTokens(), lanes: newLanes(cfg.MaxInHandOfOwner), failing: newFailures(), refused: refusals{log: cfg.Logger}}
	r.calling = &handoff.Settings{
		Handler:     cfg.Handler,
		MaxAttempts: cfg.MaxAttempts,
		DeadLetter:  cfg.DeadLetter,
		SlowAfter:   cfg.SlowHandler,
		Watch:       new(handoff.Watch),
		Logger:      cfg.Logger,
		Handled: func(m delivery.Message, took time.Duration, err error) {
			tell(r, func(h HookHandled) { h.OnHandled(m.Owner, took, err) })
		},
		Slow: func(m delivery.Message, took time.Duration) {
			tell(r, func(h HookSlowHandler) { h.OnSlowHandler(m.Owner, took) })
		},
	}
	if r.marks, err = marks.Open(marks.Settings{Folder: cfg.Folder, Most: cfg.MaxMarks, For: marksFor, Logger: cfg.Logger}); err != nil {
		return nil, err
	}
	if batch != nil {
		r.calling.Batch, r.release = handoff.Gather(batch, cfg.Batch)
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if !cfg.Introspection {
		r.keys = &keys{fetch: cfg.Keys, log: cfg.Logger, ctx: r.ctx, begun: make(chan struct{})}
		r.background.Go(r.keys.refresh)
	}
	return r, nil
}

// Close ends the background and the folder's use. What is in hand may finish within 10 s; then the
// handlers' contexts end, and Close waits for them. Requests that come meanwhile are answered 503.
func (r *Receiver) Close() error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed {
		return nil
	}
	timer := time.AfterFunc(closeGrace, r.cancel)
	defer timer.Stop()
	r.work.Wait()
	r.cancel()
	r.background.Wait()
	if r.release != nil {
		r.release()
	}
	return r.marks.Close()
}

// State returns what can be seen at this moment.
func (r *Receiver) State() State {
	s := State{Taken: r.taken.Load(), Refused: r.refusedCount.Load(), Suppressed: r.suppressed.Load()}
	if at := r.takenAt.Load(); at != 0 {
		s.TakenAt = time.Unix(0, at)
	}
	s.KeysAt, s.KeysErr = r.keys.state()
	m := r.marks.Stats()
	s.Marks, s.Forgotten, s.MarksErr = m.Kept, uint64(m.Forgotten), m.Err
	r.mu.Lock()
	s.InHand = r.inHand
	r.mu.Unlock()
	return s
}

// enter takes a place and room for a body, to be left; or says why there is none.
func (r *Receiver) enter(bytes int) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, later("the Receiver is closed")
	case r.inHand >= r.cfg.MaxInHand:
		return nil, later(fmt.Sprintf("%d deliveries are in hand, which is Settings.MaxInHand", r.inHand))
	case r.bytes+bytes > r.cfg.MaxBytes:
		return nil, later("the bodies in hand take Settings.MaxBytes")
	}
	r.inHand++
	r.bytes += bytes
	r.work.Add(1)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.inHand--
		r.bytes -= bytes
		r.work.Done()
	}, nil
}

// answered counts an answer and tells of it.
func (r *Receiver) answered(a Answer, remote string) {
	if a.Err == nil {
		r.taken.Add(1)
		r.takenAt.Store(time.Now().UnixNano())
		r.suppressed.Add(uint64(a.Suppressed))
	} else {
		r.refusedCount.Add(1)
		r.refused.tell(a, remote)
	}
	tell(r, func(h HookAnswer) { h.OnAnswer(a) })
}

// tell tells the hooks. One that panics harms nothing but itself.
func tell[H any](r *Receiver, call func(H)) {
	hooks.Tell(r.cfg.Hooks, func(h H) {
		defer func() {
			if p := recover(); p != nil {
				if count, due := r.refused.due(kindHook); due {
					r.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "a hook panicked", slog.String("hook", fmt.Sprintf("%T", h)),
						slog.String("error", fmt.Sprintf("%.200q", fmt.Sprint(p))), slog.Int("times", count), slog.String("stack", string(debug.Stack())))
				}
			}
		}()
		call(h)
	})
}

// contained returns what a function of the application does. That it panics is an error.
func contained[T any](what string, call func() (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked: %.200q", what, fmt.Sprint(p))
		}
	}()
	return call()
}

// What refusals count besides the status of answers.
const (
	kindReused      = iota // webhook-id that were used again
	kindHook               // hooks that panicked
	kindCertificate        // handshakes for which there is no certificate, or no authorities
)

// refusals tells the log of what happens often: of each kind one in a while, with how many there
// were.
type refusals struct {
	log *slog.Logger

	mu    sync.Mutex
	since map[int]*toldSince // by the status, or what else is counted
}

type toldSince struct {
	at    time.Time
	count int
}

const tellEvery = 10 * time.Second

// due counts one more of a kind, and returns how many there were if they are to be told now.
func (f *refusals) due(kind int) (count int, due bool) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since == nil {
		f.since = make(map[int]*toldSince)
	}
	s := f.since[kind]
	if s == nil {
		s = new(toldSince)
		f.since[kind] = s
	}
	s.count++
	if !s.at.IsZero() && now.Sub(s.at) < tellEvery {
		return 0, false
	}
	count = s.count
	s.at, s.count = now, 0
	return count, true
}

// tell tells of a delivery that was not taken.
func (f *refusals) tell(a Answer, remote string) {
	count, due := f.due(a.Status)
	if !due {
		return
	}
	attrs := []slog.Attr{slog.Int("status", a.Status), slog.Any("error", a.Err), slog.String("remote", remote), slog.Int("deliveries", count)}
	if a.Owner != (fds.OwnerKey{}) {
		attrs = append(attrs, slog.Any("owner", a.Owner))
	}
	f.log.LogAttrs(context.Background(), slog.LevelWarn, "deliveries were not taken", attrs...)
}

// reused tells of a webhook-id that came again with something else, which was suppressed: a sender
// that writes its payload anew at each attempt does no harm, one that uses an ID for several things
// loses them.
func (f *refusals) reused(d *handing) {
	if count, due := f.due(kindReused); due {
		f.log.LogAttrs(context.Background(), slog.LevelWarn, "a webhook-id came again with another payload, which was not handed over; ask the provider whether its IDs are of one event each",
			slog.Any("owner", d.owner), slog.Int("deliveries", count))
	}
}

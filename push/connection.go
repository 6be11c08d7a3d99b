package push

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/hooks"
)

// Connection is one owner's connection to the broker. Its methods are safe for
// concurrent use. EndSession waits for OnState, hooks and the handler to return,
// so none of them may call it.
type Connection struct {
	settings settings
	account  *account      // of its owner's messages
	nudged   chan struct{} // something that Run waits for may have come
	woken    atomic.Bool   // by Wake
	cautious bool          // the next connection takes one message ahead; Run's alone

	notify sync.Mutex // held while OnState runs, so that changes are told in order
	mu     sync.Mutex
	state  State
	run    *run // nil: not running

	known  []string // filters the broker may know; for Run, or EndSession when it does not run
	logged *string  // why it is not connected, as it was logged last; nil: nothing was; Run's alone
}

// New makes a connection that Run opens. A configuration that cannot work returns
// an error that matches fds.ErrConfig and names every fault in a sentence.
func New(cfg Config) (*Connection, error) {
	s, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	return &Connection{
		settings: s,
		account:  &account{budget: s.Budget},
		nudged:   make(chan struct{}, 1),
		state:    State{Owner: s.Owner, Phase: Stopped, Since: time.Now(), Broker: s.brokers[0].address},
		known:    slices.Clone(s.Subscribed),
	}, nil
}

// String names the owner and the broker.
func (c *Connection) String() string {
	return fmt.Sprintf("connection of %s to %s", c.settings.Owner, c.settings.brokers[0].address)
}

// Format prints String whatever the verb: the rest of a Connection is at work.
func (c *Connection) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// State returns the condition at this moment.
func (c *Connection) State() State {
	c.mu.Lock()
	state := c.state
	var l *line
	if c.run != nil {
		l = c.run.line
	}
	c.mu.Unlock()
	if l != nil {
		state.Waiting, state.Failing = l.condition()
	}
	return state
}

// Run connects, keeps the connection up and hands every message to h, until ctx
// ends, which returns nil, or until waiting cannot help (fds.ErrTakenOver). When ctx
// ends, a handler at work may finish within Config.DrainTimeout; its message is
// acknowledged before the disconnect, and the broker keeps the session. Run
// returns when the handler has returned. It may be called again afterwards, one
// call at a time (fds.ErrRunning). A panic in a function of the Config that Run calls
// ends it in the same way, and reaches the caller.
func (c *Connection) Run(ctx context.Context, h delivery.Handler) error {
	if h == nil {
		return fmt.Errorf("push: run: %w: Handler is nil", fds.ErrConfig)
	}
	r := c.begin(ctx, h)
	if r == nil {
		return fmt.Errorf("push: run: %w", fds.ErrRunning)
	}
	defer r.end()
	for !r.over {
		r.working.Store(true)
		go r.work()
		r.wait()
	}
	return r.err
}

// Wake ends a wait for the next attempt, as when a new certificate has arrived or
// the network has come back. During an attempt it ends the wait that follows if
// that fails; while connected it has a new certificate looked for, and taken up at
// once, but it does not shorten a wait that comes later, so that a broker's restart
// finds attempts spaced.
func (c *Connection) Wake() {
	c.woken.Store(true)
	c.nudge()
}

// nudge has Run look whether there is something to do.
func (c *Connection) nudge() {
	select {
	case c.nudged <- struct{}{}:
	default:
	}
}

// EndSession signs the owner out: the broker forgets the session and stops
// queueing messages. A running Run ends with nil. When it is not connected,
// EndSession connects briefly, to each URL of the broker once until one answers;
// the caller repeats it after an error.
func (c *Connection) EndSession(ctx context.Context) error {
	this := &run{done: make(chan struct{})}
	expired := false
	for {
		c.mu.Lock()
		other := c.run
		if other == nil {
			c.run = this // no Run meanwhile
			c.mu.Unlock()
			break
		}
		other.expire = true
		if other.cancel != nil {
			other.cancel()
		}
		c.mu.Unlock()
		select {
		case <-other.done:
			expired = other.expired
		case <-ctx.Done():
			return fmt.Errorf("push: end session: %w", ctx.Err())
		}
	}
	defer func() {
		c.mu.Lock()
		c.run = nil
		c.mu.Unlock()
		close(this.done)
	}()

	if expired {
		this.expired = true
		return c.remember(ctx, nil)
	}
	packet := connectPacket(&c.settings)
	packet.CleanStart = true
	packet.Properties.SessionExpiryInterval = new(uint32)
	route := newRoute(&c.settings)
	for {
		s := &session{connection: c, to: route.next(), up: make(chan struct{}), over: make(chan struct{})}
		err := s.connect(ctx, packet)
		if err == nil {
			s.finish(true)
			this.expired = true // told or not: it ended with the connection
			return c.remember(ctx, nil)
		}
		s.close(err)
		turn := route.turn
		route.ended(err)
		if !route.referred && (route.turn == turn || route.turn == len(c.settings.brokers)) || ctx.Err() != nil {
			return err
		}
	}
}

// remember tells SaveSubscribed which filters the broker may know.
func (c *Connection) remember(ctx context.Context, filters []string) error {
	if slices.Equal(filters, c.known) {
		return nil
	}
	if c.settings.SaveSubscribed != nil {
		if err := c.settings.SaveSubscribed(ctx, slices.Clone(filters)); err != nil {
			return fmt.Errorf("push: save the subscribed filters: %w", err)
		}
	}
	c.known = filters
	return nil
}

// cameUp reports a session as connected.
func (c *Connection) cameUp(s *session) {
	refused, _ := s.granted.refused()
	c.update(func(state *State) {
		state.Phase, state.Since, state.Err, state.RetryAt = Connected, time.Now(), refused, time.Time{}
		if s.foreign != nil { // which may have come before
			s.told = true
			state.Err = cmp.Or(refused, s.foreign)
		}
		state.SessionPresent, state.Subscriptions = s.present, s.granted.subscriptions
		state.KeepAlive, state.SessionExpiry = s.granted.keepAlive, s.granted.expiry
		state.CertificateExpiry = s.certificate.Leaf.NotAfter
		state.Connects++
	})
	c.logged, c.cautious = nil, false
	c.log(slog.LevelInfo, "push: connected", slog.Bool("session_present", s.present))
	for _, subscription := range s.granted.subscriptions {
		if subscription.Err == nil && subscription.QoS == 0 && !c.settings.AtMostOnce {
			c.log(slog.LevelWarn, "push: the broker grants quality of service 0 only: messages may be lost", slog.String("filter", subscription.Filter))
		}
	}
	if asked := c.settings.SessionExpiry; s.granted.expiry < asked {
		c.log(slog.LevelWarn, "push: the broker keeps the session for less time than was asked for: what is published during a longer absence is lost to it",
			slog.Duration("kept_for", s.granted.expiry), slog.Duration("asked_for", asked))
	}
	if refused != nil {
		c.warn("push: a filter is refused", refused)
	}
}

// enter reports a phase without a connection.
func (c *Connection) enter(phase Phase, err error, retryAt time.Time) {
	c.update(func(s *State) {
		if s.Phase != phase {
			s.Phase, s.Since = phase, time.Now()
		}
		if err != nil || phase != Connecting { // while connecting, the last error still says why
			s.Err = err
		}
		s.RetryAt = retryAt
	})
	if err != nil {
		c.logOutage(phase, err, slog.Time("retry_at", retryAt))
	}
}

// logOutage logs why there is no connection: the first time, and when that has changed. What
// further attempts say again is for debugging.
func (c *Connection) logOutage(phase Phase, err error, more ...slog.Attr) {
	level, why := slog.LevelWarn, string(phase)+" "+err.Error()
	if c.logged != nil && why == *c.logged {
		level = slog.LevelDebug
	}
	c.logged = &why
	c.log(level, "push: not connected", append(more, slog.String("phase", string(phase)), slog.Any("error", err))...)
}

// update changes the state and tells OnState, one change after the other.
func (c *Connection) update(change func(*State)) {
	c.notify.Lock()
	defer c.notify.Unlock()
	c.mu.Lock()
	change(&c.state)
	state := c.state
	c.mu.Unlock()
	if c.settings.OnState != nil {
		c.settings.OnState(state)
	}
}

// discardForeign counts a message that is not the owner's. The first of a
// connection is reported: the broker's access rules let it through (M5).
func (c *Connection) discardForeign(s *session, err error) {
	c.mu.Lock()
	first := s.foreign == nil
	if first {
		s.foreign = fmt.Errorf("push: the broker delivered a message that is not this owner's; its administrator must check its access rules (M5): %w", err)
	}
	c.state.Foreign++
	c.mu.Unlock()
	c.discarded(err)
	if first {
		c.warn("push: a foreign message was discarded", s.foreign)
		c.nudge()
	}
}

// discardUnwanted tells of a message that Topics do not name. The first of a connection is
// logged.
func (c *Connection) discardUnwanted(s *session, topic string) {
	err := fmt.Errorf("push: a message on %q, which Topics do not name: the session that the broker kept has other filters, too; they end with the session", cut(topic))
	c.discarded(err)
	if !s.unwanted {
		s.unwanted = true
		c.warn("push: a message that nobody wants was discarded", err)
	}
}

// discardLate counts a message of quality of service 0 that was dropped.
func (c *Connection) discardLate(reason error) {
	c.mu.Lock()
	c.state.Dropped++
	c.mu.Unlock()
	c.discarded(reason)
}

// budgetFull says, now and then, that reading has paused.
func (c *Connection) budgetFull() {
	if budget := c.settings.Budget; budget.tell() {
		c.log(slog.LevelWarn, "push: the messages that wait for handlers take up the budget; connections are read from again as handlers catch up", slog.Int64("bytes", budget.most))
	}
}

func (c *Connection) discarded(err error) {
	hooks.Tell(c.settings.Hooks, func(h HookDiscarded) { h.OnDiscarded(c.settings.Owner, err) })
}

func (c *Connection) warn(event string, err error) {
	c.log(slog.LevelWarn, event, slog.Any("error", err))
}

func (c *Connection) log(level slog.Level, event string, attributes ...slog.Attr) {
	attributes = append(attributes, slog.Any("owner", c.settings.Owner))
	c.settings.Logger.LogAttrs(context.Background(), level, event, attributes...)
}

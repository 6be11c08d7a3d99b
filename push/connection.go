package push

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/hooks"
)

// Connection is one owner's connection to the broker. Its methods are safe for
// concurrent use. EndSession waits for OnState, hooks and the handler to return,
// so none of them may call it.
type Connection struct {
	settings settings
	account  *account // of its owner's messages
	cautious bool     // the next connection takes one message ahead; the run's alone

	notify sync.Mutex // held while OnState runs, so that changes are told in order
	mu     sync.Mutex
	state  State
	run    *run // nil: not running

	logged *string // why it is not connected, as it was logged last; nil: nothing was; the run's alone
}

// New makes a connection that Run opens. The error about a configuration that cannot work is
// an *fds.ConfigError with every fault.
func New(cfg Config) (*Connection, error) {
	s, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	return &Connection{
		settings: s,
		account:  &account{budget: s.Budget},
		state:    State{Owner: s.owner(), Phase: Stopped, Since: time.Now(), Broker: s.brokers[0].address},
	}, nil
}

// String names the owner and the broker.
func (c *Connection) String() string {
	return fmt.Sprintf("connection of %s to %s", c.settings.owner(), c.settings.brokers[0].address)
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

// Wake ends a wait for the next attempt, as when a new certificate has arrived or
// the network has come back. During an attempt it ends the wait that follows if
// that fails; else, and while connected, it has a new certificate looked for, and taken
// up at once, but it does not shorten a wait that comes later, so that a broker's restart
// finds attempts spaced.
func (c *Connection) Wake() {
	c.mu.Lock()
	r := c.run
	c.mu.Unlock()
	if r != nil {
		r.signal(signalWoken)
	}
}

// EndSession signs the owner out: the broker forgets the session and stops
// queueing messages. A running Run ends with nil. When it is not connected,
// EndSession connects briefly, to each URL of the broker once until one answers;
// the caller repeats it after an error.
func (c *Connection) EndSession(ctx context.Context) error {
	this := &run{connection: c, over: true} // which does nothing
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
		if other.done == nil {
			other.done = make(chan struct{})
		}
		done := other.done
		c.mu.Unlock()
		other.stop()
		select {
		case <-done:
			expired = other.expired
		case <-ctx.Done():
			return fmt.Errorf("push: end session: %w", ctx.Err())
		}
	}
	defer func() {
		c.mu.Lock()
		c.run = nil
		if this.done != nil {
			close(this.done)
		}
		c.mu.Unlock()
	}()

	if expired {
		this.expired = true
		return c.remember(ctx, nil)
	}
	route := &route{settings: &c.settings}
	for {
		s := newSession(c, route.next(), nil)
		err := s.findCertificate(ctx)
		if err == nil {
			err = s.connect(ctx)
		}
		if err == nil {
			s.finish(errFinished, true)
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
	if slices.Equal(filters, c.settings.Subscribed) {
		return nil
	}
	if c.settings.SaveSubscribed != nil {
		if err := c.settings.SaveSubscribed(ctx, slices.Clone(filters)); err != nil {
			return fmt.Errorf("push: save the subscribed filters: %w: %w", fds.ErrStoreUnavailable, err)
		}
	}
	c.settings.Subscribed = filters
	return nil
}

// cameUp reports a session as connected.
func (c *Connection) cameUp(s *session) {
	refused, _ := s.granted.refused()
	c.update(func(state *State) {
		foreign := s.run.takeForeign() // which may have come before
		state.Phase, state.Since, state.Err, state.RetryAt = Connected, time.Now(), cmp.Or(refused, foreign), time.Time{}
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
		c.logOutage(phase, err, retryAt)
	}
}

// logOutage logs why there is no connection: the first time, and when that has changed. What
// further attempts say again is for debugging.
func (c *Connection) logOutage(phase Phase, err error, retryAt time.Time) {
	level, why := slog.LevelWarn, string(phase)+" "+err.Error()
	if c.logged != nil && why == *c.logged {
		level = slog.LevelDebug
	}
	c.logged = &why
	attributes := []slog.Attr{slog.String("phase", string(phase)), slog.Any("error", err)}
	if !retryAt.IsZero() {
		attributes = append(attributes, slog.Time("retry_at", retryAt))
	}
	c.log(level, "push: not connected", attributes...)
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
	c.state.Foreign++
	c.mu.Unlock()
	c.discarded(err)
	if !s.sawForeign {
		s.sawForeign = true
		err = fmt.Errorf("push: the broker delivered a message that is not this owner's; its administrator must check its access rules (M5): %w", err)
		c.warn("push: a foreign message was discarded", err)
		s.run.sawForeign(err)
	}
}

// discardUnwanted tells of a message that Topics do not name. The first of a connection is
// logged.
func (c *Connection) discardUnwanted(s *session, topic string) {
	err := fmt.Errorf("push: a message on %q, which Topics do not name: the session that the broker kept has other filters, too; they end with the session", cut(topic))
	c.discarded(err)
	if !s.sawUnwanted {
		s.sawUnwanted = true
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
	c.mu.Lock()
	r := c.run
	c.mu.Unlock()
	if r != nil && r.line != nil {
		r.line.paused()
	}
	if budget := c.settings.Budget; budget.mayWarn() {
		c.log(slog.LevelWarn, "push: the messages that wait for handlers take up the budget; connections are read from again as handlers catch up", slog.Int64("bytes", budget.most))
	}
}

func (c *Connection) discarded(err error) {
	hooks.Tell(c.settings.Hooks, func(h HookDiscarded) { h.OnDiscarded(c.settings.owner(), err) })
}

func (c *Connection) warn(event string, err error) {
	c.log(slog.LevelWarn, event, slog.Any("error", err))
}

func (c *Connection) log(level slog.Level, event string, attributes ...slog.Attr) {
	attributes = append(attributes, slog.Any("owner", c.settings.owner()))
	c.settings.Logger.LogAttrs(context.Background(), level, event, attributes...)
}

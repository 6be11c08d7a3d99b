package fdsclient

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fdsclient/internal/following"
	"github.com/fds-sdk/fds-go/internal/handoff"
)

// followSettings are those of all owners' followers.
func (c *Client) followSettings() following.Settings {
	gaps := c.cfg.Gaps
	return following.Settings{
		ClientID:       c.cfg.Application.ClientID,
		Store:          c.cfg.State,
		Dialect:        c.cfg.Provider.Dialect,
		Topics:         c.cfg.Push.Topics,
		HasAPI:         c.cfg.Provider.APIURL != "",
		Margin:         gaps.Margin,
		Wait:           gaps.Wait,
		Concurrent:     gaps.Concurrent,
		RetryInitial:   gaps.Retry.Initial,
		RetryMax:       gaps.Retry.Max,
		GapsOff:        gaps.Off,
		TrustSession:   gaps.TrustSession,
		DropDuplicates: gaps.DropDuplicates,
		PollInterval:   c.cfg.Poll.Interval,
		PollMargin:     c.cfg.Poll.Margin,
		Log:            c.log,
		Gap:            c.gapChanged,
		Polled:         c.polled,
		Discarded:      pushHooks{c}.OnDiscarded,
	}
}

// calling is how a run's handler is called for what is fetched, as push does for what is
// pushed.
func (c *Client) calling(h delivery.Handler) *handoff.Settings {
	hooks := pushHooks{c}
	return &handoff.Settings{
		Handler:     h,
		MaxAttempts: c.cfg.Push.MaxAttempts,
		DeadLetter:  c.cfg.Push.DeadLetter,
		SlowAfter:   cmp.Or(c.cfg.Push.SlowHandler, time.Minute),
		Watch:       new(handoff.Watch),
		Logger:      c.log,
		Handled:     func(m delivery.Message, took time.Duration, err error) { hooks.OnHandled(m.Owner, took, err) },
		Slow:        func(m delivery.Message, took time.Duration) { hooks.OnSlowHandler(m.Owner, took) },
	}
}

// listen has the owner's connection hand over what is pushed, as d says.
func (a *connected) listen(ctx context.Context, d *destination, ended func(error)) (stop func(), err error) {
	if d.calling.Batch != nil {
		return a.connection.StartBatches(ctx, a.follower.Batching(), ended)
	}
	return a.connection.Start(ctx, a.follower.Live, ended)
}

// follow makes the follower of an owner, of these topics or, with none, of those of the Config.
// Calling may be nil when only the session is to be ended.
func (c *Client) follow(ctx context.Context, o *Owner, topics []string, calling *handoff.Settings) *following.Follower {
	return c.followers.Follow(ctx, following.Owner{Key: o.key, Topics: topics, Items: o.items}, calling)
}

var gapLines = map[GapChange]string{
	GapOpened:  "messages may have been lost; what was missed is being fetched",
	GapFailing: "what was missed is not all handled",
	GapClosed:  "what was missed is fetched",
}

// keptLine is that of a gap which was opened though the broker had kept the session.
const keptLine = "what came meanwhile is being fetched too, to be sure"

func (c *Client) gapChanged(of following.GapEvent) {
	e := GapEvent{Owner: of.Owner, Change: GapChange(of.Change), Gap: Gap(of.Gap), Fetched: of.Fetched, Err: of.Err, RetryAt: of.RetryAt}
	level, line := slog.LevelInfo, gapLines[e.Change]
	attrs := []slog.Attr{
		slog.Any("owner", e.Owner),
		slog.String("why", e.Gap.Reason),
	}
	for name, at := range map[string]time.Time{"from": e.Gap.From, "to": e.Gap.To, "retry_at": e.RetryAt} {
		if !at.IsZero() {
			attrs = append(attrs, slog.Time(name, at))
		}
	}
	if e.Change != GapOpened {
		attrs = append(attrs, slog.Int("fetched", e.Fetched))
	}
	switch {
	case e.Change == GapOpened && of.Kept:
		line = keptLine
	case e.Change != GapClosed:
		level = slog.LevelWarn
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	c.log.LogAttrs(context.Background(), level, line, attrs...)
	tell(c, func(h HookGap) { h.OnGap(e) })
}

func (c *Client) polled(e following.PollEvent) {
	event := PollEvent(e)
	tell(c, func(h HookPoll) { h.OnPoll(event) })
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/tap"
	"github.com/fds-sdk/fds-go/webhook"
)

// tracer shows what goes over the network: all of it for --trace; brief: a record of the log for
// each request, and for what a connection to the broker begins and ends with.
type tracer struct {
	*program
	brief    bool
	log      *slog.Logger // of what is brief
	json     slog.Handler // nil: text
	out      *oneAtATime
	requests atomic.Int64
	connects sync.Map // by owner, the *secrets of the last CONNECT
}

// tap returns what sees requests and packets, if that is asked for.
func (p *program) tap(log *slog.Logger) []any {
	if !p.trace && !p.verbose {
		return nil
	}
	t := &tracer{program: p, brief: !p.trace, log: log, out: &oneAtATime{out: p.err}}
	if p.jsonErr {
		t.json = p.jsonHandler(levelTrace)
	}
	hooks := []any{&tap.Tap{
		Packet: t.packet,
		Wrap:   func(inner http.RoundTripper) http.RoundTripper { return tracedTransport{t, inner} },
	}}
	if p.verbose {
		hooks = append(hooks, narrator{log})
	}
	return hooks
}

// narrator logs what happens to owners and the SDK's own log does not tell.
type narrator struct{ log *slog.Logger }

// OnConnect is told of each attempt to connect.
func (n narrator) OnConnect(owner fds.OwnerKey, took time.Duration, err error) {
	n.say("connect attempted", owner, err, slog.Duration("took", took.Round(time.Millisecond)))
}

// OnHandled is told of each message that was shown.
func (n narrator) OnHandled(owner fds.OwnerKey, took time.Duration, err error) {
	n.say("message handled", owner, err, slog.Duration("took", took))
}

// OnDiscarded is told of each message that was not.
func (n narrator) OnDiscarded(owner fds.OwnerKey, reason error) {
	n.say("message discarded", owner, reason)
}

// OnGap is told what happens to gaps.
func (n narrator) OnGap(e fdsclient.GapEvent) {
	n.say("gap "+string(e.Change), e.Owner, e.Err, slog.Int("fetched", e.Fetched))
}

// OnAnswer is told what senders of webhooks are answered.
func (n narrator) OnAnswer(a webhook.Answer) {
	n.say("delivery answered", a.Owner, a.Err, slog.Int("status", a.Status), slog.Int("messages", a.Messages), slog.Duration("took", a.Took))
}

func (n narrator) say(what string, owner fds.OwnerKey, err error, more ...slog.Attr) {
	if owner != (fds.OwnerKey{}) {
		more = append(more, slog.Any("owner", owner))
	}
	if err != nil {
		more = append(more, slog.Any("error", err))
	}
	n.log.LogAttrs(context.Background(), slog.LevelDebug, what, more...)
}

// redactor knows the provider in use.
func (t *tracer) redactor() *redactor {
	s := &t.settings
	return newRedactor(s.Provider.APIURL, s.Application.SubscriptionClaim, s.Provider.Dialect)
}

// traced is what is shown at once.
type traced struct {
	sign   string // ">", sent; "<", received; "*", about it
	id     string // of which request, or whose connection
	lines  []string
	hidden *secrets

	msg   string // for JSON; "": nothing is told there
	attrs []slog.Attr
}

func (t *tracer) event(e traced) {
	if t.json != nil {
		if e.msg == "" {
			return
		}
		r := slog.NewRecord(time.Now(), levelTrace, e.msg, 0)
		for _, a := range e.attrs {
			r.AddAttrs(e.hidden.attr(a))
		}
		_ = t.json.Handle(context.Background(), r) // nothing depends on it
		return
	}
	var b strings.Builder
	now := time.Now().Format("15:04:05.000")
	for _, line := range e.lines {
		fmt.Fprintf(&b, "%s %s %s %s\n", now, e.sign, e.id, terminal.Escape(e.hidden.without(line)))
	}
	_, _ = t.out.Write([]byte(b.String()))
}

// attr takes out what is secret in a member.
func (s *secrets) attr(a slog.Attr) slog.Attr {
	switch value := a.Value.Any().(type) {
	case string:
		return slog.String(a.Key, s.without(value))
	case error:
		return slog.String(a.Key, s.without(value.Error()))
	case []slog.Attr:
		var all []any
		for _, one := range value {
			all = append(all, s.attr(one))
		}
		return slog.Group(a.Key, all...)
	}
	return a
}

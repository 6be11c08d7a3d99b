package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
)

// logger returns the log of a command, on standard error: from that level up, or
// everything with --verbose. Without --verbose an owner's error is told once a
// minute, though several parts of the SDK log it, and records of one message are
// held back when there are many: ten thousand owners may lose one broker.
func (p *program) logger(level slog.Level) *slog.Logger {
	h := &logHandler{out: &oneAtATime{out: p.err}, level: level, sentence: p.sentence, tells: p.tellsItself(), ending: &p.ending}
	if p.verbose {
		h.level, h.times = slog.LevelDebug, true
	} else {
		h.flood = &flood{say: p.tell, counts: make(map[string]int), told: make(map[string]bool)}
	}
	if p.jsonErr {
		h.json = p.jsonHandler(h.level)
	}
	return slog.New(h)
}

// oneAtATime keeps lines of several goroutines apart.
type oneAtATime struct {
	mu  sync.Mutex
	out io.Writer
}

func (w *oneAtATime) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(line)
}

// logHandler writes records as sentences: "fdsdemo: warning: grant lapsed: why
// (subscription ...)".
type logHandler struct {
	out   io.Writer
	level slog.Level
	times bool
	flood *flood       // nil: nothing is held back
	json  slog.Handler // which writes records in the place of sentences; may be nil

	sentence func(error) string
	tells    func(message string, err error) bool // see program; may be nil
	ending   *atomic.Bool                         // what is logged now is only what follows from the end
	attrs    []string
	group    string
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level && (h.flood == nil || !h.ending.Load())
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	if h.json != nil {
		with.json = h.json.WithAttrs(attrs)
	}
	with.attrs = append([]string(nil), h.attrs...)
	for _, a := range attrs {
		with.attrs = appendAttr(with.attrs, h.group, a)
	}
	return &with
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	with := *h
	if h.json != nil {
		with.json = h.json.WithGroup(name)
	}
	with.group += name + "."
	return &with
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	level := strings.ToLower(r.Level.String())
	if r.Level == slog.LevelWarn {
		level = "warning"
	}
	message := inFile(r.Message)
	line := "fdsdemo: " + level + ": " + message
	if h.times {
		line = r.Time.Format("15:04:05.000 ") + line
	}
	attrs := append([]string(nil), h.attrs...)
	var whose []string
	var why string
	at, told := -1, false
	r.Attrs(func(a slog.Attr) bool {
		if ids, text, ok := ownersIn(a, h.times); ok {
			whose, at, attrs = ids, len(attrs), append(attrs, text)
			return true
		}
		if err, ok := a.Value.Any().(error); ok && a.Key == "error" && err != nil {
			told = told || h.tells != nil && h.tells(r.Message, err)
			why = h.sentence(err)
			line += ": " + why
			if errors.Is(err, fds.ErrSignInRequired) { // whatever could not be done without
				why = fds.ErrSignInRequired.Error()
			}
		} else if a.Value.Kind() != slog.KindAny || a.Value.Any() != nil {
			attrs = appendAttr(attrs, h.group, a)
		}
		return true
	})
	if told {
		return nil
	}
	if len(whose) == 1 && !h.times && strings.Contains(line, whose[0]) { // it is told already
		attrs = slices.Delete(attrs, at, at+1)
	}
	if len(attrs) > 0 {
		line += " (" + strings.Join(attrs, ", ") + ")"
	}
	if h.flood != nil && !h.flood.pass(level+": "+message, whose, why) {
		return nil
	}
	if h.json != nil {
		return h.json.Handle(ctx, r)
	}
	_, err := io.WriteString(h.out, terminal.Escape(line)+"\n")
	return err
}

// ownersIn returns the subscription IDs out of what the log has under the key owner or
// owners, and how it is written: with the issuer where the log is a long one.
func ownersIn(a slog.Attr, long bool) (ids []string, text string, ok bool) {
	value := a.Value.Resolve()
	switch names, several := value.Any().([]string); {
	case a.Key == "owners" && several:
		for _, name := range names {
			id, _, _ := strings.Cut(name, " ")
			ids = append(ids, id)
		}
		if long {
			return ids, "subscriptions " + strings.Join(names, ", "), true
		}
		return ids, "subscriptions " + strings.Join(ids, ", "), true
	case a.Key == "owner" && value.Kind() == slog.KindGroup:
		var id, issuer string
		for _, inner := range value.Group() {
			switch inner.Key {
			case "subscription_id":
				id = inner.Value.String()
			case "issuer":
				issuer = inner.Value.String()
			}
		}
		if text = "subscription " + id; long {
			text += " at " + issuer
		}
		return []string{id}, text, true
	}
	return nil, "", false
}

func appendAttr(to []string, prefix string, a slog.Attr) []string {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range value.Group() {
			to = appendAttr(to, prefix, inner)
		}
		return to
	}
	if value.Kind() == slog.KindTime {
		return append(to, fmt.Sprintf("%s%s %s", prefix, a.Key, value.Time().Format(time.RFC3339)))
	}
	return append(to, fmt.Sprintf("%s%s %v", prefix, a.Key, value))
}

const (
	floodPeriod = time.Minute
	floodBurst  = 5 // records of one message in a period
)

// flood holds back records of the same message and says at the end of a period
// how many there were.
type flood struct {
	say func(format string, args ...any)

	mu     sync.Mutex
	counts map[string]int  // by message
	told   map[string]bool // by owner and error
}

func (f *flood) pass(message string, whose []string, why string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if why != "" && !f.news(whose, why) {
		return false
	}
	f.counts[message]++
	if f.counts[message] == 1 {
		time.AfterFunc(floodPeriod, func() { f.close(message) })
	}
	return f.counts[message] <= floodBurst
}

// news reports whether an error was not told of all these owners before. The caller
// holds the lock.
func (f *flood) news(owners []string, why string) bool {
	if len(owners) == 0 {
		owners = []string{""}
	}
	news := false
	for _, owner := range owners {
		key := owner + " " + why
		if f.told[key] {
			continue
		}
		news, f.told[key] = true, true
		time.AfterFunc(floodPeriod, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.told, key)
		})
	}
	return news
}

func (f *flood) close(message string) {
	f.mu.Lock()
	n := f.counts[message]
	delete(f.counts, message)
	f.mu.Unlock()
	if n > floodBurst {
		f.say("fdsdemo: %s: %d more in the last minute", message, n-floodBurst)
	}
}

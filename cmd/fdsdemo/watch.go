package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/push"
)

func (p *program) watchCommand() *cobra.Command {
	var owners []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "watch",
		Short: "Show live messages until Ctrl-C",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			var ids []fds.SubscriptionID
			for _, text := range owners {
				id, err := parseOwner(text)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			return untilSignal(c.Context(), p.watch(c.Context(), ids, asJSON))
		},
	}
	c.Flags().StringArrayVar(&owners, "owner", nil, "only the owner of this subscription `ID`; may be repeated")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return c
}

func (p *program) watch(ctx context.Context, ids []fds.SubscriptionID, asJSON bool) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	w := &watcher{end: end, tell: p.tell, phases: make(map[fds.OwnerKey]push.State)}
	client, err := p.open(ctx, slog.LevelWarn, w)
	if err != nil {
		return err
	}
	defer client.Close()
	owners, err := choose(ctx, client, ids)
	if err != nil {
		return err
	}
	var keys []fds.OwnerKey
	for _, o := range owners {
		keys = append(keys, o.Key())
	}
	w.begin(keys)
	p.tell("Watching %s. Ctrl-C ends.", count(len(keys), "owner"))

	out := &lineWriter{out: p.out}
	handler := func(ctx context.Context, m push.Message) error {
		line := messageLine(m)
		if !asJSON {
			line = p.eyesLine(m)
		}
		if err := out.write(ctx, line); err != nil {
			if ctx.Err() == nil {
				p.ending.Store(true)
				end(fmt.Errorf("cannot write to standard output: %w", err))
			}
			return err
		}
		return nil
	}
	if len(ids) > 0 {
		err = client.RunOwners(ctx, keys, handler)
	} else {
		err = client.Run(ctx, handler)
	}
	if err != nil {
		return err
	}
	return context.Cause(ctx) // of end; a signal is no failure, see untilSignal
}

// untilSignal is for commands that a signal ends as it should: whatever came of
// it is no failure.
func untilSignal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// lineWriter writes whole lines for handlers that run at once.
type lineWriter struct {
	mu  sync.Mutex
	out interface{ Write([]byte) (int, error) }
}

// write returns when the line is written, or when ctx ends while whoever reads
// standard output does not.
func (w *lineWriter) write(ctx context.Context, line []byte) error {
	written := make(chan error, 1)
	go func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err := ctx.Err(); err != nil {
			written <- err
			return
		}
		_, err := w.out.Write(line)
		written <- err
	}()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watcher follows the connections of watch. While none has come up yet, it ends
// the command when waiting cannot help, or when patience has run out; later it
// ends it only when every connection has stopped for good.
type watcher struct {
	end  context.CancelCauseFunc
	tell func(format string, args ...any)

	mu     sync.Mutex
	phases map[fds.OwnerKey]push.State
	had    bool // one has been connected
	told   bool // that all are
	timer  *time.Timer
}

func (w *watcher) begin(owners []fds.OwnerKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range owners {
		w.phases[key] = push.State{Owner: key, Phase: push.Connecting}
	}
	w.timer = time.AfterFunc(patience, w.giveUp)
}

// OnConnection is told every change of an owner's connection.
func (w *watcher) OnConnection(key fds.OwnerKey, state push.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phases[key] = state
	if state.Phase == push.Stopped && state.Err == nil {
		delete(w.phases, key) // signed out, or the command ends
	}
	connected, lost := 0, 0
	var why error
	for _, s := range w.phases {
		switch {
		case s.Phase == push.Connected:
			connected++
		case s.Phase == push.TakenOver, s.Phase == push.Stopped, !w.had && hopeless(s):
			lost++
			why = s.Err
		}
	}
	if connected > 0 && !w.had {
		w.had = true
		w.timer.Stop()
	}
	if all := connected == len(w.phases) && connected > 0; all != w.told {
		if w.told = all; all {
			w.tell("Connected: %s.", count(connected, "owner"))
		}
	}
	if lost > 0 && lost == len(w.phases) {
		w.end(why)
	}
}

// hopeless says whether a connection will not come up until a person has changed
// something.
func hopeless(s push.State) bool {
	return s.Phase == push.NeedsCertificate || s.Phase == push.Denied || s.Err != nil && (untrusted(s.Err) || noCommonTLS(s.Err))
}

// OnPoll is told each read of an owner who is polled: one that comes to its end is
// what a connection is elsewhere.
func (w *watcher) OnPoll(e fdsclient.PollEvent) {
	state := push.State{Owner: e.Owner, Phase: push.Connected, Since: time.Now()}
	if e.Err != nil {
		state.Phase, state.Err = push.BackingOff, e.Err
	}
	w.OnConnection(e.Owner, state)
}

func (w *watcher) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.had {
		return
	}
	for _, s := range w.phases {
		if s.Err != nil {
			w.end(fmt.Errorf("no connection within %v: %w", patience, s.Err))
			return
		}
	}
	w.end(fmt.Errorf("no connection within %v; the broker does not answer", patience))
}

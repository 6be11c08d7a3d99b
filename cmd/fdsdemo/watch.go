package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

func (p *program) watchCommand() *cobra.Command {
	var owners []string
	var show watchFilter
	var how printing
	var takeOver bool
	c := &cobra.Command{
		Use:   "watch",
		Short: "Show live messages until Ctrl-C",
		Long: "Shows live messages until Ctrl-C, on a terminal in a view of the whole screen. Each is acknowledged once\nits line is written, or the view holds it.\n\n" +
			"An owner has one connection: the broker disconnects whoever is connected elsewhere as the same owner,\nand what it has queued comes here. The first time that an owner is watched from this machine's state\nfolder that needs --take-over, or a yes at the terminal. --poll takes nothing from anybody: it reads the\nWeb API every now and then, and remembers for itself what it has shown.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if p.looks && takeOver {
				return wrongUsage("choose one of --poll, --take-over: what is polled is taken from nobody")
			}
			return untilSignal(c.Context(), p.watch(c.Context(), owners, &show, takeOver, &how))
		},
	}
	c.Flags().BoolVar(&takeOver, "take-over", false, "disconnect whoever is connected elsewhere as one of the owners, where this state folder has not watched it before")
	c.Flags().BoolVar(&p.looks, "poll", false, "look without taking messages away: read the Web API, at poll.interval of the configuration or every "+lookEvery.String())
	p.addOwners(c, &owners, "only the owner,")
	show.add(c)
	how.addStream(c)
	c.Flags().BoolVar(&p.plain, "plain", false, plainUsage)
	return c
}

func (p *program) watch(ctx context.Context, named []string, show *watchFilter, takeOver bool, how *printing) error {
	signals := ctx
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var view *screen
	if how.format == "lines" && !how.asked && !show.ends() && p.hasScreen() {
		view = p.newScreen("fdsdemo watch", show.words())
	}
	w := &watcher{tell: p.tell, log: p.logger(slog.LevelWarn), retrying: p.tellRetrying, owners: make(map[fds.OwnerKey]condition)}
	w.end = func(err error) {
		p.ending.Store(true)
		end(err)
	}
	if !p.verbose {
		p.tells = w.tells
	}
	client, err := p.open(ctx, slog.LevelWarn, w)
	if err != nil {
		return err
	}
	defer p.close(signals, client)
	if err := show.checkDialect(p.settings.Provider.Dialect, p.settings.Poll.Interval > 0); err != nil {
		return err
	}
	if p.settings.Certificates == nil && p.settings.Provider.BrokerURL != "" && p.settings.Poll.Interval == 0 {
		return wrongUsage("push.certificates is missing; the broker knows owners by their certificates (M2), so name the folder of those: %s", p.invocation("config set push.certificates FOLDER"))
	}
	owners, err := p.choose(ctx, client, named)
	if err != nil {
		return err
	}
	if err := stateFault(ctx, p.settings.State); err != nil {
		return fmt.Errorf("watch cannot remember what it has handled: %w; set push.state_folder to a folder of this user's own, or look without it: %s", err, p.invocation("watch --poll"))
	}
	mayHave, err := p.mayConnect(ctx, client, owners, takeOver)
	if err != nil {
		return err
	}
	var keys []fds.OwnerKey
	for _, o := range owners {
		keys = append(keys, o.Key())
	}
	if show.duration > 0 {
		over := time.AfterFunc(show.duration, func() { w.end(cmp.Or(w.silence(show.duration), errShown)) })
		defer over.Stop()
	}
	interval := p.settings.Poll.Interval
	w.endsLapsed = interval == 0 && !p.settings.KeepWithoutGrant
	w.begin(keys, interval > 0)
	defer w.stop()
	every := ""
	if interval > 0 {
		every = fmt.Sprintf(", asking the Web API about every %v", interval)
	}
	p.tell("Watching %s%s. Ctrl-C ends.", count(len(keys), "owner"), every)

	var reporting sync.WaitGroup
	defer reporting.Wait()
	reporting.Go(func() { w.report(ctx, client) })
	defer end(nil)
	handler := p.printed(ctx, end, show, how)
	if view != nil {
		view.client, view.watched = client, w.watched
		handler = p.onScreen(view, show)
		reporting.Go(func() { end(view.show(ctx)) })
	}
	switch {
	case len(named) > 0:
		err = client.RunOwners(ctx, keys, handler)
	case mayHave == nil:
		err = client.Run(ctx, handler)
	default:
		to := fdsclient.Delivery{Handler: handler}
		err = client.RunWhere(ctx, fdsclient.Selection{Where: mayHave, Of: func(fds.OwnerKey) fdsclient.Delivery { return to }})
	}
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); !isAny(err, errShown, errLeft) {
		return err // of end; a signal is no failure, see untilSignal
	}
	return nil
}

// errShown ends watch when it has shown what it was to show.
var errShown = errors.New("all that was asked for is shown")

// printed returns a handler that writes the line of a message that is to be shown. It ends the
// command, whose context running is, when that was the last, or when it cannot be written. A
// message that comes after the last one stays with the broker.
func (p *program) printed(running context.Context, end context.CancelCauseFunc, show *watchFilter, how *printing) delivery.Handler {
	p.began = time.Now()
	out := &lineWriter{out: p.out, head: how.head()}
	return func(ctx context.Context, m delivery.Message) error {
		if !show.wants(m, p.settings.Provider.Dialect) {
			return nil
		}
		line, err := how.message(ctx, p, m)
		if err != nil { // of jq: the message stays with the broker
			if ctx.Err() == nil {
				p.ending.Store(true)
				end(err)
			}
			return err
		}
		ok, last := show.take()
		if !ok {
			<-running.Done() // which is at hand
			return errShown
		}
		err = out.write(ctx, line)
		if err != nil && ctx.Err() == nil {
			p.ending.Store(true)
			end(&outputError{err})
		} else if last {
			p.ending.Store(true)
			end(errShown)
		}
		return err
	}
}

// onScreen returns a handler that has the view show a message, if that is to be shown.
func (p *program) onScreen(view *screen, show *watchFilter) delivery.Handler {
	return func(ctx context.Context, m delivery.Message) error {
		if !show.wants(m, p.settings.Provider.Dialect) {
			return nil
		}
		return view.Handle(ctx, m)
	}
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
	mu   sync.Mutex
	head []byte // to be written before the first line
	out  interface{ Write([]byte) (int, error) }
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
		if w.head != nil {
			line, w.head = append(w.head, line...), nil
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

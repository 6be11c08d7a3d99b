package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const firstMessage = 30 * time.Second // the tour's live messages begin within

// addTour makes the tour what happens without a command.
func (p *program) addTour(root *cobra.Command) {
	var t tour
	root.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return wrongUsage("there is no command %q; see: fdsdemo --help%s", args[0], meant(args[0], commandsOf(c)))
		}
		return nil
	}
	root.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case c.Flags().Changed("duration") && t.duration <= 0:
			return wrongUsage("--duration %v is not positive", t.duration)
		case c.Flags().Changed("config"), c.Flags().Changed("context"):
			return wrongUsage("the tour brings its own provider and reads no configuration; name a command, see: fdsdemo --help")
		}
		t.program = p
		return untilSignal(c.Context(), t.run(c.Context()))
	}
	root.Flags().DurationVar(&t.duration, "duration", 0, "end the tour so long after the first live message, such as 5s (default: at Ctrl-C)")
	root.Flags().BoolVar(&t.browser, "browser", false, "sign in with the system's browser instead of approving automatically")
	root.Flags().BoolVar(&p.plain, "plain", false, plainUsage)
}

type tour struct {
	*program
	duration time.Duration
	browser  bool
	view     *screen // nil: messages are lines
}

func (t *tour) run(ctx context.Context) error {
	if t.hasScreen() {
		t.view = t.newScreen("fdsdemo tour", "")
	}
	t.section("An information provider")
	box, err := fdstest.Start(fdstest.Options{Devices: 20, LifeInterval: 300 * time.Millisecond, Logger: t.logger(slog.LevelError)})
	if err != nil {
		return err
	}
	defer box.Close()
	t.tell("It runs inside this program, on this machine only, with a certificate")
	t.tell("authority of its own. Its owners and their devices are made up.")
	t.tell("  authorization server  %s", box.Issuer())
	t.tell("  Web API               %s/fds/v2/", box.APIURL())
	t.tell("  MQTT broker           %s", box.BrokerURL())

	t.settings.Provider.Dialect, t.settings.Provider.APIURL = box.Dialect(), box.APIURL()
	certificates := newCertificates(box)
	watched := new(phaseHook)
	client, err := fdsclient.New(fdsclient.Config{
		Provider: fdsclient.Provider{Issuer: box.Issuer(), APIURL: box.APIURL(), BrokerURL: box.BrokerURL(), Roots: box.Roots, Dialect: box.Dialect()},
		Application: fdsclient.Application{
			Name: defaultName, ClientID: box.PublicApplication().ID, SubscriptionClaim: box.SubscriptionClaim(),
		},
		Store:        tokenstore.OpenMemory(),
		State:        new(statestore.Memory),
		Certificates: certificates.get,
		Pull:         pull.Settings{RetryFor: -1}, // as the commands
		Logger:       t.logger(slog.LevelWarn),
		Hooks:        []any{watched},
	})
	if err != nil {
		return err
	}
	defer t.close(ctx, client)

	err = t.show(ctx, client, box, watched)
	if err == nil || ctx.Err() != nil { // over, or ended by a signal
		t.next()
	}
	return err
}

func (t *tour) show(ctx context.Context, client *fdsclient.Client, box *fdstest.Provider, watched *phaseHook) error {
	owners, err := t.signIn(ctx, client, box)
	if err != nil {
		return err
	}
	if err := t.devices(ctx, owners[0]); err != nil {
		return err
	}
	return t.live(ctx, client, watched, owners, box)
}

func (t *tour) section(title string) {
	if t.jsonErr {
		t.tell("%s", title)
		return
	}
	fmt.Fprintln(t.err, "\n"+t.errStyle.Strong(title))
}

// signIn goes the whole way: metadata, browser, code, tokens.
func (t *tour) signIn(ctx context.Context, client *fdsclient.Client, box *fdstest.Provider) ([]*fdsclient.Owner, error) {
	t.section("Sign in")
	options := fdsclient.SignInOptions{ShowURL: func(string) {}}
	if t.browser {
		t.tell("Your browser opens the provider's page. It will warn of the certificate: the")
		t.tell("box's authority is its own, made a moment ago, and no browser knows it. The")
		t.tell("connection does not leave this machine; go on past the warning, choose an")
		t.tell("owner and approve.")
		options.ShowURL = t.showURL
	} else {
		t.tell("The OAuth 2.0 authorization code flow with PKCE. The tour plays the person at")
		t.tell("the browser and approves by itself, for the first owner; with --browser you do.")
		options.OpenBrowser = func(ctx context.Context, url string) error { return box.Approve(ctx, url) }
	}
	owners, err := client.SignIn(ctx, options)
	if err != nil {
		return nil, err
	}
	for _, o := range owners {
		id := o.Key().SubscriptionID
		t.tell("Signed in: %s, %s.", ownerName(box, id), id)
	}
	t.tell("The grant is kept in memory and ends with the tour.")
	return owners, nil
}

func ownerName(box *fdstest.Provider, id fds.SubscriptionID) string {
	for _, o := range box.Owners() {
		if o.SubscriptionID == id {
			return o.Name
		}
	}
	return "an owner"
}

// live shows messages until ctx ends or, with a duration, so long after the
// first.
func (t *tour) live(ctx context.Context, client *fdsclient.Client, watched *phaseHook, owners []*fdsclient.Owner, box *fdstest.Provider) error {
	t.section("Live messages")
	t.tell("Over MQTT 5, with the owner's own client certificate. A message is acknowledged")
	switch {
	case t.duration > 0:
		t.tell("once it is shown here. This goes on for %v.", t.duration)
	case t.view != nil:
		t.tell("once it is shown here. The key q ends the tour, or Ctrl-C.")
	default:
		t.tell("once it is shown here. Ctrl-C ends the tour.")
	}
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	late := time.AfterFunc(firstMessage, func() { end(watched.silence()) })
	defer late.Stop()
	var first sync.Once
	shown := t.printed(running, end, new(watchFilter), &printing{format: "lines"})
	if t.view != nil {
		t.view.client, t.view.named = client, func(id fds.SubscriptionID) string { return ownerName(box, id) }
		t.view.watched = func() (keys []fds.OwnerKey) {
			for _, o := range owners {
				keys = append(keys, o.Key())
			}
			return keys
		}
		shown = t.view.Handle
		var showing sync.WaitGroup
		defer showing.Wait()
		defer end(nil)
		showing.Go(func() { end(t.view.show(running)) })
	}
	err := client.Run(running, func(ctx context.Context, m delivery.Message) error {
		if err := shown(ctx, m); err != nil {
			return err
		}
		first.Do(func() {
			late.Stop()
			if t.duration > 0 {
				time.AfterFunc(t.duration, func() { end(errTourDone) })
			}
		})
		return nil
	})
	if cause := context.Cause(running); err == nil && ctx.Err() == nil && !isAny(cause, errTourDone, errLeft) {
		err = cause
	}
	return err
}

var errTourDone = errors.New("the tour is over")

// phaseHook remembers why there was no connection.
type phaseHook struct {
	mu  sync.Mutex
	err error
}

// OnConnection is told every change of a connection.
func (h *phaseHook) OnConnection(_ fds.OwnerKey, s push.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = s.Err
}

func (h *phaseHook) silence() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return fmt.Errorf("no message within %v: %w", firstMessage, h.err)
	}
	return fmt.Errorf("no message within %v", firstMessage)
}

func (t *tour) next() {
	t.section("Next")
	t.tell("Run the box by itself, and lead the other commands to it:")
	for _, command := range []string{
		"provider --dir box", "--config box/fdsdemo.yaml login", "--config box/fdsdemo.yaml owners",
		"--config box/fdsdemo.yaml get statuses", "--config box/fdsdemo.yaml watch --json",
	} {
		t.tell("  %s %s", programName(), command)
	}
	t.tell("The box also delivers to an endpoint of the application, which is a command too:")
	for _, command := range []string{"provider --dir box --webhook " + defaultWebhook, "--config box/fdsdemo.yaml webhook"} {
		t.tell("  %s %s", programName(), command)
	}
	t.tell("With an fdsdemo.yaml of your own they work with a real provider; see:")
	t.tell("  %s --help", programName())
}

// certificates issues an owner's certificate when it is first asked for, as the
// broker's administrator would have done.
type certificates struct {
	box   *fdstest.Provider
	mu    sync.Mutex
	known map[fds.SubscriptionID]*tls.Certificate
}

func newCertificates(box *fdstest.Provider) *certificates {
	return &certificates{box: box, known: make(map[fds.SubscriptionID]*tls.Certificate)}
}

func (c *certificates) get(_ context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.known[owner.SubscriptionID]; known != nil {
		return known, nil
	}
	for _, o := range c.box.Owners() {
		if o.SubscriptionID == owner.SubscriptionID {
			issued, err := c.box.OwnerCertificate(o)
			if err != nil {
				return nil, err
			}
			c.known[o.SubscriptionID] = &issued.TLS
			return &issued.TLS, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", fds.ErrNoCertificate, owner)
}

// devices prints a table of the owner's devices: what they are, and how they
// are at the moment.
func (t *tour) devices(ctx context.Context, owner *fdsclient.Owner) error {
	t.section("Devices")
	t.tell("Read from the Web API: specifications, with the latest statuses beside them.")
	if !t.jsonErr {
		fmt.Fprintln(t.err)
	}
	status := make(map[string]string)
	for d, err := range owner.Pull().Statuses(ctx, pull.Query{}) {
		if err != nil {
			return err
		}
		r := rowOf(d.Item)
		var told []field
		for _, f := range r.specific {
			if len(told) < 2 && !f.nested && !isUUID(f.text) {
				f.text = f.show(t.outStyle)
				told = append(told, f)
			}
		}
		status[d.ID()] = words(told, 2)
	}
	table := terminal.Table{Columns: []string{"DEVICE", "TYPE", "KIND", "STATUS"}, Indent: 2}
	for d, err := range owner.Pull().Specifications(ctx, pull.Query{}) {
		if err != nil {
			return err
		}
		table.Rows = append(table.Rows, []string{
			terminal.Escape(d.ID()), terminal.Escape(string(d.Type())), subtype(rowOf(d.Item)), status[d.ID()],
		})
	}
	if len(table.Rows) == 0 {
		return errors.New("the provider lists no devices")
	}
	return t.print(table)
}

// subtype is the first text among what is specific to a device's type, such as
// what a dispenser dispenses.
func subtype(r row) string {
	for _, f := range r.specific {
		if f.text != "" && strings.Trim(f.text, "0123456789.-") != "" {
			return f.text
		}
	}
	return ""
}

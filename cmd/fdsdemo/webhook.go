package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/webhook"
)

func (p *program) webhookCommand() *cobra.Command {
	var listen string
	var how printing
	c := &cobra.Command{
		Use:   "webhook",
		Short: "Take what a provider delivers to this machine until Ctrl-C",
		Long: "Listens for what the provider delivers to the owners who are signed in, by HTTPS, and prints each\nmessage as watch does. A delivery is acknowledged once its lines are written. What is refused is told\non standard error, with the reason, once in a while.\n\n" +
			"The provider has to reach the address, and to know what the command prints first: for which\naudience and to which of its clients the access tokens must have been issued. The configuration has\nthat in its section webhook.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("listen") {
				if why := listenFault(listen); why != "" {
					return wrongUsage("--listen %s", why)
				}
			}
			return untilSignal(c.Context(), p.webhook(c.Context(), listen, &how))
		},
	}
	c.Flags().StringVar(&listen, "listen", "", "`address` and port to listen at (default that of the configuration, or "+defaultListen+")")
	how.addStream(c)
	return c
}

func (p *program) webhook(ctx context.Context, listen string, how *printing) error {
	signals := ctx
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	tally := &tallied{answers: make(map[int]int)}
	client, err := p.open(ctx, slog.LevelWarn, tally)
	if err != nil {
		return err
	}
	defer p.close(signals, client)
	if !p.endpoint.given {
		return wrongUsage("the configuration has no section webhook: agree with the provider on an audience and ask for its client IDs, then set webhook.audience, webhook.senders and webhook.certificate_file")
	}
	owners, err := p.choose(ctx, client, nil)
	if err != nil {
		return err
	}
	receiver, err := client.Webhook(p.endpoint.settings, p.printed(ctx, end, &watchFilter{}, how))
	if err != nil {
		return err
	}
	defer receiver.Close() // what it could not keep is logged
	if listen == "" {
		listen = p.endpoint.listen
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("%w; choose another address with --listen", err)
	}
	defer listener.Close()
	if !p.endpoint.settings.Introspection {
		awaitKeys(ctx, receiver)
	}
	p.tellEndpoint(listener.Addr(), len(owners))

	var renewing sync.WaitGroup
	defer renewing.Wait()
	renewing.Go(func() {
		if err := client.Run(ctx, nil); err != nil {
			end(err)
		}
	})
	defer end(nil)
	err = receiver.Serve(ctx, listener)
	p.tell("%s", tally.summary())
	if err != nil {
		return err
	}
	return context.Cause(ctx) // of end; a signal is no failure, see untilSignal
}

// awaitKeys waits until the issuer's keys are known, or why they are not, which the log says: what
// comes before that is not refused for it.
func awaitKeys(ctx context.Context, receiver *webhook.Receiver) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for s := receiver.State(); s.KeysAt.IsZero() && s.KeysErr == nil; s = receiver.State() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// tellEndpoint says where deliveries are taken, and what the provider has to know.
func (p *program) tellEndpoint(at net.Addr, owners int) {
	s := p.endpoint.settings
	path := s.Path
	if path == "" {
		path = "/"
	}
	claim := p.settings.Application.SubscriptionClaim
	if claim == "" {
		claim = "subscription_id"
	}
	p.tell("Listening at https://%s%s for %s. Ctrl-C ends.", at, path, count(owners, "owner"))
	p.tell("The provider must reach that, each time with an access token")
	p.tell("  of the issuer     %s", p.settings.Provider.Issuer)
	p.tell("  for the audience  %s", s.Audience)
	p.tell("  issued to         %s", strings.Join(s.Senders, ", "))
	p.tell("  for the owner     in the claim %s", claim)
	p.tell("  that is           %s", pick(s.Introspection, "known to the issuer, which is asked (RFC 7662)", "a JWT (RFC 9068)"))
	if s.CertificateBound {
		p.tell("  bound to          the sender's client certificate (RFC 8705)")
	}
	if n := len(p.endpoint.secrets); n > 0 {
		p.tell("and sign each delivery (Standard Webhooks) by %s.", pick(n == 1, "the secret", fmt.Sprintf("one of %d secrets", n)))
	}
	if s.Folder == "" {
		p.tell("What was handled is remembered until this ends; set webhook.folder to know a repetition after that.")
	}
}

// tallied counts what was answered.
type tallied struct {
	mu                   sync.Mutex
	answers              map[int]int // by status
	messages, suppressed int
}

var _ webhook.HookAnswer = (*tallied)(nil)

// OnAnswer is told of every answer.
func (t *tallied) OnAnswer(a webhook.Answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answers[a.Status]++
	t.messages += a.Messages
	t.suppressed += a.Suppressed
}

// summary says what was taken and what was not.
func (t *tallied) summary() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	const taken = 200
	var refused []string
	all := 0
	for _, status := range slices.Sorted(maps.Keys(t.answers)) {
		if n := t.answers[status]; status != taken {
			all += n
			refused = append(refused, fmt.Sprintf("%d with %d", n, status))
		}
	}
	text := fmt.Sprintf("Taken: %s, %s", deliveries(t.answers[taken]), count(t.messages, "message"))
	if t.suppressed > 0 {
		text += fmt.Sprintf(", and %d that had been handled before", t.suppressed)
	}
	text += "."
	if all > 0 {
		text += fmt.Sprintf(" Not taken: %s, %s.", deliveries(all), strings.Join(refused, ", "))
	}
	return text
}

func deliveries(n int) string { return pick(n == 1, "1 delivery", fmt.Sprintf("%d deliveries", n)) }

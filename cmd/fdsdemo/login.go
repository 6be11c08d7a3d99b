package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fdsclient"
)

func (p *program) loginCommand() *cobra.Command {
	var noBrowser bool
	c := &cobra.Command{
		Use:   "login",
		Short: "Sign in through the browser; prints the subscription IDs",
		Args:  noArguments,
		RunE:  func(c *cobra.Command, _ []string) error { return p.login(c.Context(), noBrowser) },
	}
	c.Flags().BoolVar(&noBrowser, "no-browser", false, "open no browser; the URL is printed on standard error")
	return c
}

func (p *program) login(ctx context.Context, noBrowser bool) error {
	client, err := p.open(ctx, slog.LevelWarn)
	if err != nil {
		return err
	}
	defer client.Close()

	options := fdsclient.SignInOptions{}
	if noBrowser {
		options.OpenBrowser = func(context.Context, string) error { return nil }
	}
	var shown atomic.Bool
	tries := attempts{retrying: p.tellRetrying}
	var owners []*fdsclient.Owner
	var failure error
	err = tries.do(ctx, func(ctx context.Context, answered func()) error {
		options.ShowURL = func(url string) {
			shown.Store(true)
			answered() // from here on it waits for a person
			p.showURL(url)
		}
		owners, failure = client.SignIn(ctx, options)
		if shown.Load() {
			return nil // a person has been asked: whatever failed, they are not asked again by themselves
		}
		return failure
	})
	if err == nil {
		err = failure
	}
	if err != nil {
		return err
	}
	for _, o := range owners {
		if _, err := fmt.Fprintln(p.out, o.Key().SubscriptionID); err != nil {
			return fmt.Errorf("signed in, but the subscription ID cannot be written to standard output: %w", err)
		}
	}
	return nil
}

// showURL prints the URL where a person signs in; scripts look for this line.
func (p *program) showURL(url string) {
	fmt.Fprintln(p.err, "Open this URL to sign in: "+terminal.Escape(url))
}

func (p *program) tellRetrying(err error) {
	p.tell("fdsdemo: trying again for up to %v: %s", patience, sentence(err))
}

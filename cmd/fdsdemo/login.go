package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
)

func (p *program) loginCommand() *cobra.Command {
	var how loginFlags
	c := &cobra.Command{
		Use:   "login",
		Short: "Sign in through the browser; prints the subscription IDs",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if alternatives := how.clash(); alternatives != "" {
				return wrongUsage("choose one of %s; see: %s --help", alternatives, c.CommandPath())
			}
			if len(how.as) > 0 && !how.approve {
				return wrongUsage("--owner goes with --approve: at a browser the person chooses; see: %s --help", c.CommandPath())
			}
			return p.login(c.Context(), how)
		},
	}
	c.Flags().BoolVar(&how.noBrowser, "no-browser", false, "open no browser; the URL is printed on standard error, for one browser of this machine")
	c.Flags().BoolVar(&how.approve, "approve", false, "play the person at the browser, who approves for the first owner, or for those of --owner; only at the box of fdsdemo provider, which asks for no password")
	p.addOwners(c, &how.as, "with --approve: whom to approve for,")
	c.Flags().BoolVar(&how.paste, "paste", false, "sign in with a browser on another machine: paste the address at which it ends, which cannot be reached from there")
	c.Flags().BoolVar(&how.device, "device", false, "sign in on another device, where the provider offers that (RFC 8628)")
	c.Flags().BoolVar(&how.application, "application", false, "sign the application itself in, without a user, where the provider has agreed to that")
	c.Flags().BoolVar(&how.redirectURI, "redirect-uri", false, "print the redirect URIs to register with the provider, and sign nobody in")
	return c
}

// loginFlags say how to sign in; by default with the browser on this machine.
type loginFlags struct {
	noBrowser, approve, paste, device, application, redirectURI bool

	as []string // whom to approve for; none: the first
}

// clash names the flags of which only one may be given and more are, or is empty.
func (how loginFlags) clash() string {
	ways := 0
	for _, given := range []bool{how.approve, how.paste, how.device, how.application, how.redirectURI} {
		if given {
			ways++
		}
	}
	switch {
	case ways > 1:
		return "--approve, --paste, --device, --application, --redirect-uri"
	case how.redirectURI && how.noBrowser:
		return "--no-browser, --redirect-uri"
	case how.approve && how.noBrowser:
		return "--approve, --no-browser"
	}
	return ""
}

func (p *program) login(ctx context.Context, how loginFlags) error {
	if how.redirectURI {
		return p.printRedirectURIs(ctx)
	}
	p.tells = func(_ string, err error) bool { return errors.Is(err, fds.ErrOwner) } // see tellUntold
	client, err := p.open(ctx, slog.LevelWarn)
	if err != nil {
		return err
	}
	defer p.close(ctx, client)

	for i, text := range how.as {
		id, begins, err := p.ownerNamed(text)
		if err != nil {
			return err
		}
		if how.as[i] = strings.ToLower(text); !begins {
			how.as[i] = id.String()
		}
	}
	options := p.signIn
	if how.noBrowser {
		options.OpenBrowser = func(context.Context, string) error { return nil }
	}
	if how.paste {
		options.OpenBrowser = nil
		options.ReadRedirect = p.readRedirect()
	}
	var shown atomic.Bool
	tries := p.attempts()
	var owners []*fdsclient.Owner
	var failure error
	err = tries.do(ctx, nil, func(ctx context.Context, answered func()) error {
		options.ShowURL = func(url string) {
			shown.Store(true)
			answered() // from here on it waits for a person
			if !how.approve {
				p.showURL(url)
			}
		}
		switch {
		case how.approve:
			ctx, end := context.WithCancelCause(ctx)
			defer end(nil)
			options.OpenBrowser = func(ctx context.Context, url string) error {
				err := p.approve(ctx, url, how.as...)
				if err != nil {
					end(err) // nobody else finishes this sign-in
				}
				return err
			}
			owners, failure = client.SignIn(ctx, options)
		case how.device:
			owners, failure = client.SignInDevice(ctx, func(code fdsclient.DeviceCode) {
				shown.Store(true)
				answered()
				p.showDeviceCode(code)
			})
		case how.application:
			owners, failure = client.SignInApplication(ctx)
		default:
			owners, failure = client.SignIn(ctx, options)
		}
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
	if p.forgets {
		p.tell("fdsdemo: warning: tokens.store is memory, so that this sign-in ends with this command; set keyring or file to keep it")
	}
	p.tellUntold(ctx, owners)
	for _, o := range owners {
		if err := p.write(fmt.Appendln(nil, o.Key().SubscriptionID)); err != nil {
			return fmt.Errorf("signed in, but %w", err)
		}
	}
	return nil
}

// tellUntold warns of owners who signed in together and whose data cannot be told apart.
func (p *program) tellUntold(ctx context.Context, owners []*fdsclient.Owner) {
	grant, err := owners[0].Grant(ctx)
	if err != nil || grant.Untold == nil { // who uses the grant is told
		return
	}
	p.tell("fdsdemo: warning: %s signed in together, and nothing says which of them an item of the Web API belongs to: set provider.dialect.subscription_member or subscription_parameter to the provider's name for it; until then get shows nothing of one of them, watch fetches nothing after an outage, and get --grant shows all of them together",
		names(append(grant.Owners, grant.Others...)))
}

// printRedirectURIs prints what to register: without a port it stands for all.
func (p *program) printRedirectURIs(ctx context.Context) error {
	c, err := p.load(ctx, slog.LevelWarn)
	if err != nil {
		return err
	}
	path := c.client.Application.RedirectPath
	if path == "" {
		path = fdsclient.RedirectPath(c.client.Provider.Issuer)
	}
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		hosts := []string{host}
		if ports := c.client.Application.RedirectPorts; len(ports) > 0 {
			hosts = nil
			for _, port := range ports {
				hosts = append(hosts, fmt.Sprintf("%s:%d", host, port))
			}
		}
		for _, host := range hosts {
			if err := p.write([]byte("http://" + host + path + "\n")); err != nil {
				return err
			}
		}
	}
	return nil
}

// showURL prints the URL where a person signs in; scripts look for this line.
func (p *program) showURL(url string) {
	p.say("Open this URL to sign in: "+url, slog.String("url", url))
}

func (p *program) showDeviceCode(code fdsclient.DeviceCode) {
	p.say("Open this URL on any device: "+code.VerificationURI, slog.String("url", code.VerificationURI))
	p.say("Enter this code there: "+code.UserCode, slog.String("code", code.UserCode))
	if code.VerificationURIComplete != "" {
		p.say("Or open this, and compare the code: "+code.VerificationURIComplete, slog.String("url", code.VerificationURIComplete))
	}
}

// readRedirect reads the address that a person pastes. It is called again after a wrong
// one, of which the log tells less when there are several.
func (p *program) readRedirect() func(context.Context) (string, error) {
	lines := bufio.NewReader(io.LimitReader(os.Stdin, maxPasted))
	again := false
	return func(context.Context) (string, error) {
		if again {
			p.tell("That is not the address of this sign-in.")
		}
		again = true
		p.tell("Paste the address that the browser ends at, which it cannot open there:")
		line, err := lines.ReadString('\n')
		if err != nil && line == "" {
			return "", errors.New("no address was pasted: standard input has ended")
		}
		return line, nil
	}
}

const maxPasted = 64 << 10

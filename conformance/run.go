package conformance

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/proxy"
	"github.com/fds-sdk/fds-go/internal/tap"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// run is what the checks of one run share. It is used by one goroutine.
type run struct {
	config Config
	client *fdsclient.Client

	results map[string]*Result // of the checks that are over
	stopped string             // why nothing else can work, or ""
	secrets []string           // texts that no Result may show

	owner     *fdsclient.Owner   // whose grant reads the Web API; nil: nobody has signed in
	ownerless string             // why there is none
	spares    []*fdsclient.Owner // who may be connected as, in order; with Intrusive all stored owners
	// expendable are those of spares whose grant may be lost: it is no other owner's.
	expendable []*fdsclient.Owner

	web    webState
	broker brokerState
}

// Run checks a provider. The error is about Config or ctx; what is wrong with the provider is in
// the Report, and a report is returned also when ctx ends.
func Run(ctx context.Context, config Config) (*Report, error) {
	return runChecks(ctx, config, checks())
}

func runChecks(ctx context.Context, config Config, checks []*check) (*Report, error) {
	if config.CheckTimeout == 0 {
		config.CheckTimeout = defaultCheckTimeout
	}
	config.Client.Hooks, config.Client.State = slices.DeleteFunc(slices.Clone(config.Client.Hooks), func(hook any) bool { return !tap.Is(hook) }), new(statestore.Memory)
	if config.Client.Store == nil {
		store, err := tokenstore.OpenKeyring(tokenstore.KeyringConfig{Service: cmp.Or(config.Client.Application.Name, "fds-go")})
		if err != nil {
			return nil, err
		}
		config.Client.Store = store
	}
	client, err := fdsclient.New(config.Client)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }() // of what it could not keep the log tells
	r := &run{config: config, client: client, results: make(map[string]*Result)}
	defer r.closeWeb()
	r.secretOf(config.Client.Application)
	r.secret(config.ExpiredToken.Reveal())
	report := &Report{Provider: config.Client.Provider.Issuer, Started: time.Now()}
	for _, c := range checks {
		tell := r.stopped == "" && config.OnResult != nil
		result := r.try(ctx, c)
		r.results[c.id] = &result
		report.Results = append(report.Results, result)
		if tell {
			config.OnResult(result)
		}
		if ctx.Err() != nil && r.stopped == "" && len(report.Results) < len(checks) {
			r.stopped = "the run was ended before it was over"
		}
		report.Stopped = r.stopped
	}
	return report, context.Cause(ctx)
}

// checks are the rows of a report, in the order in which they run.
func checks() []*check {
	return slices.Concat(setupChecks(), webChecks(), brokerChecks())
}

// secret notes a text that no Result may show.
func (r *run) secret(text string) {
	if text != "" && !slices.Contains(r.secrets, text) {
		r.secrets = append(r.secrets, text)
		// The longest first: a secret may hold another one.
		slices.SortFunc(r.secrets, func(a, b string) int { return len(b) - len(a) })
	}
}

// secretOf notes an application's secret, in every form in which it is sent.
func (r *run) secretOf(a fdsclient.Application) {
	secret := a.ClientSecret.Reveal()
	if secret == "" {
		return
	}
	for _, form := range []string{secret, url.QueryEscape(secret)} {
		r.secret(form)
		r.secret(base64.StdEncoding.EncodeToString([]byte(form)))
	}
	for _, pair := range []string{a.ClientID + ":" + secret, url.QueryEscape(a.ClientID) + ":" + url.QueryEscape(secret)} {
		r.secret(base64.StdEncoding.EncodeToString([]byte(pair))) // of the header Authorization
	}
}

// roots returns the authorities that the configuration trusts; nil: the system's.
func (r *run) roots(ctx context.Context) (*x509.CertPool, error) {
	if r.config.Client.Provider.Roots == nil {
		return nil, nil
	}
	return r.config.Client.Provider.Roots(ctx)
}

// dial opens a network connection to host:port, as the client's own are opened.
func (r *run) dial(ctx context.Context, address string) (net.Conn, error) {
	if dial := r.config.Client.Provider.Dial; dial != nil {
		return dial(ctx, "tcp", address)
	}
	through, err := r.proxyTo(address)
	if err != nil {
		return nil, err
	}
	direct := new(net.Dialer).DialContext
	if through == nil {
		return direct(ctx, "tcp", address)
	}
	return through.Dial(ctx, direct, address)
}

// proxyTo returns the proxy on the way to host:port; nil: none. The setting of push is for the
// broker alone.
func (r *run) proxyTo(address string) (*proxy.Proxy, error) {
	if broker, err := url.Parse(r.config.Client.Provider.BrokerURL); err == nil && (server{url: broker}).address() == address {
		return proxy.Choose(r.config.Client.Push.Proxy, address)
	}
	return proxy.Choose("", address)
}

// tlsConfig returns how the client speaks TLS to a host.
func (r *run) tlsConfig(ctx context.Context, host string) (*tls.Config, error) {
	roots, err := r.roots(ctx)
	if err != nil {
		return nil, fmt.Errorf("root certificates: %w", err)
	}
	config := tlspolicy.ClientConfig(roots, false)
	config.ServerName = host
	return config, nil
}

// certificate returns an owner's certificate for the broker.
func (r *run) certificate(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
	if r.config.Client.Certificates == nil {
		return nil, fmt.Errorf("%w: the configuration names no certificates", fds.ErrNoCertificate)
	}
	return usableCertificate(r.config.Client.Certificates(ctx, owner))
}

// usableCertificate makes an error of a certificate that is none.
func usableCertificate(certificate *tls.Certificate, err error) (*tls.Certificate, error) {
	if err == nil && (certificate == nil || len(certificate.Certificate) == 0) {
		return nil, errors.New("the configuration returned a certificate with nothing in it")
	}
	return certificate, err
}

// token returns the owner's access token, which no Result will show.
func (r *run) token(ctx context.Context, owner *fdsclient.Owner) (fdsclient.Token, error) {
	token, err := owner.Token(ctx)
	if err == nil {
		r.secret(token.Reveal())
	}
	return token, err
}

// copyOf returns a client that is like the run's own, but keeps grants in a memory of its own,
// with the grants given; change may alter its configuration. The caller closes it.
func (r *run) copyOf(ctx context.Context, change func(*fdsclient.Config), grants ...tokenstore.Grant) (*fdsclient.Client, error) {
	config := r.config.Client
	memory := tokenstore.OpenMemory()
	for _, g := range grants {
		r.secret(g.RefreshToken.Reveal())
		r.secret(g.AccessToken.Reveal())
		if _, err := memory.Save(ctx, g); err != nil {
			return nil, err
		}
	}
	config.Store, config.Logger = memory, slog.New(slog.DiscardHandler) // its failures are meant
	if change != nil {
		change(&config)
	}
	return fdsclient.New(config)
}

// grantOf returns the stored grant of an owner.
func (r *run) grantOf(ctx context.Context, owner *fdsclient.Owner) (tokenstore.Grant, error) {
	info, err := owner.Grant(ctx)
	if err != nil {
		return tokenstore.Grant{}, err
	}
	if info.Lapsed != nil {
		return tokenstore.Grant{}, info.Lapsed
	}
	for entry, err := range r.config.Client.Store.List(ctx) {
		if err != nil {
			return tokenstore.Grant{}, err
		}
		if entry.Issuer != owner.Key().Issuer || entry.ClientID != r.config.Client.Application.ClientID ||
			!slices.ContainsFunc(entry.Subscriptions, func(as string) bool {
				id, err := fds.ParseSubscriptionID(as) // as the provider spells it
				return err == nil && id == owner.Key().SubscriptionID
			}) {
			continue
		}
		grant, err := r.config.Client.Store.Load(ctx, entry.Key)
		if err == nil {
			r.secret(grant.RefreshToken.Reveal())
			r.secret(grant.AccessToken.Reveal())
			return grant, nil
		}
		if !errors.Is(err, fds.ErrNoGrant) {
			return tokenstore.Grant{}, err
		}
	}
	return tokenstore.Grant{}, fmt.Errorf("%w: %s", fds.ErrNoGrant, owner.Key())
}

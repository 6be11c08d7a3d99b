package fdstest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
	"github.com/fds-sdk/fds-go/fdstest/internal/broker"
	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

// Provider is a running information provider. Its methods may be used at once
// from several goroutines.
type Provider struct {
	issuer, apiURL, brokerURL string
	mutualTLSURL              string // "" without a second port of the authorization server
	claim                     string
	paging                    Paging
	dialect                   fds.Dialect
	log                       *slog.Logger
	network                   *Network // nil: TCP
	ca                        *root
	foreignCA                 func() (*root, error)
	public, confidential      Application

	authority *authority.Server
	broker    *broker.Broker
	world     *world.World
	api       *webapi.API
	http      httpFaults
	conns     connections
	mqtt      brokerFaults
	items     itemFaults
	weak      weaknesses
	senders   senders
	keys      keyLog
	keeper    *keeper     // nil: nothing is kept
	ports     []int       // of the authorization server, the Web API, the broker and, if there is one, for client certificates
	filled    atomic.Bool // with what was kept

	mu           sync.Mutex
	owners       []Owner
	ownerByID    map[fds.SubscriptionID]Owner
	applications map[string]Application

	close func()
}

// Start starts a provider. The caller closes it.
func Start(opts Options) (*Provider, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("fdstest: start: %w", err)
	}
	p := &Provider{log: opts.Logger, network: opts.Network, claim: opts.SubscriptionClaim, paging: opts.WebAPI.Paging, dialect: opts.dialect(), ownerByID: make(map[fds.SubscriptionID]Owner), applications: make(map[string]Application)}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.claim == "" {
		p.claim = "subscription_id"
	}
	p.foreignCA = sync.OnceValues(func() (*root, error) { return newRoot("Another authority") })
	var err error
	if p.keeper, err = openKeeper(opts.Dir); err != nil {
		return nil, fmt.Errorf("fdstest: start: %w", err)
	}
	if err := p.start(p.keeper.portsOf(opts)); err != nil {
		p.keeper.close()
		return nil, fmt.Errorf("fdstest: start: %w", err)
	}
	return p, nil
}

func (p *Provider) start(opts Options) (err error) {
	if p.ca, err = p.keeper.root(); err != nil {
		return fmt.Errorf("make the certificate authority: %w", err)
	}
	server, err := p.ca.issue(CertificateRequest{
		CommonName: "localhost",
		NotAfter:   time.Now().Add(serverLifetime),
		Usages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		Hosts:      []string{"127.0.0.1", "::1", "localhost"},
	})
	if err != nil {
		return fmt.Errorf("issue the servers' certificate: %w", err)
	}
	p.keys.add(server)

	var listeners []net.Listener
	defer func() {
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
		}
	}()
	type port struct {
		name   string
		number int
	}
	ports := []port{{"the authorization server", opts.AuthorityPort}, {"the Web API", opts.APIPort}, {"the broker", opts.BrokerPort}}
	if opts.mutualTLS() {
		ports = append(ports, port{"the authorization server, for client certificates,", opts.MutualTLSPort})
	}
	for _, port := range ports {
		l, err := p.listen(port.number)
		if err != nil {
			return portFault(port.name, port.number, err)
		}
		listeners = append(listeners, l)
		p.ports = append(p.ports, l.Addr().(*net.TCPAddr).Port)
	}
	p.issuer = "https://" + listeners[0].Addr().String()
	p.apiURL = "https://" + listeners[1].Addr().String()
	p.brokerURL = "mqtts://" + listeners[2].Addr().String()
	if len(listeners) > 3 {
		p.mutualTLSURL = "https://" + listeners[3].Addr().String()
	}

	if err := p.build(opts, server.TLS); err != nil {
		return err
	}
	p.run(opts, server.TLS, listeners)
	return nil
}

// build makes the servers and fills them.
func (p *Provider) build(opts Options, server tls.Certificate) (err error) {
	var methods []string
	for _, method := range opts.AuthMethods {
		methods = append(methods, string(method))
	}
	p.authority, err = authority.New(authority.Config{
		Issuer:               p.issuer,
		Audience:             p.apiURL,
		AccessTokenLifetime:  opts.AccessTokenLifetime,
		RefreshTokenLifetime: opts.RefreshTokenLifetime,
		SubscriptionClaim:    p.claim,
		SubscriptionIn:       authority.Place(opts.SubscriptionIn),
		NoRotation:           opts.NoRotation,
		RefreshGrace:         opts.RefreshGrace,
		OpaqueTokens:         opts.OpaqueTokens,

		AuthMethods:            methods,
		MutualTLSURL:           p.mutualTLSURL,
		Roots:                  p.ca.pool(),
		CertificateBoundTokens: opts.CertificateBoundTokens,

		DPoP:              authority.Support(opts.DPoP),
		DPoPTokenNonce:    slices.Contains(opts.DPoPNonces, TokenEndpoint),
		DPoPAPINonce:      slices.Contains(opts.DPoPNonces, APIEndpoint),
		DPoPNonceLifetime: opts.DPoPNonceLifetime,

		PushedRequests:        authority.Support(opts.PushedRequests),
		PushedRequestLifetime: opts.PushedRequestLifetime,
		Resources:             opts.Resources,
		DeviceGrant:           opts.DeviceGrant,
		DeviceInterval:        opts.DeviceInterval,
		DeviceCodeLifetime:    opts.DeviceCodeLifetime,
		Introspection:         opts.Introspection,

		Keep: p.keepingGrants(),

		Logger: p.log.With("server", "authorization"),
	})
	if err != nil {
		return err
	}
	p.broker, err = broker.New(broker.Config{
		TLS:              &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{server}, ClientCAs: p.ca.pool()},
		Provider:         isPublisher,
		Logger:           p.log.With("server", "broker"),
		SessionExpiryMax: opts.SessionExpiryMax,
		ServerKeepAlive:  opts.ServerKeepAlive,
		SessionChanges:   p.keeper.sessionChanges,
	})
	if err != nil {
		return err
	}
	p.world = world.New(world.Config{
		Seed: opts.Seed, Devices: opts.Devices, NumericIDs: opts.WebAPI.NumericIDs, Publish: p.publishFromWorld,
		SubscriptionMember: p.dialect.SubscriptionMember, Spelling: p.spellingOf, Alter: p.items.alter, Kept: p.keepOwner,
	})
	timeRange := webapi.TimeRange{From: "from", To: "to"}
	if opts.TimeRange != nil {
		timeRange = webapi.TimeRange(*opts.TimeRange)
		if timeRange.Layout == "" {
			timeRange.Layout = time.RFC3339
		}
	}
	p.api = webapi.New(webapi.Config{
		TimeRange: timeRange,
		Dialect:   opts.WebAPI.dialect(),
		Verify: func(r *http.Request, scheme, token string) ([]fds.SubscriptionID, *webapi.Refusal) {
			if opts.VerifyToken != nil {
				ids, err := opts.VerifyToken(r.Context(), token)
				if err != nil {
					return nil, &webapi.Refusal{Scheme: "Bearer", Code: "invalid_token", Description: err.Error()}
				}
				return ids, nil
			}
			ids, refusal := p.authority.VerifyRequest(r, scheme, token)
			return ids, (*webapi.Refusal)(refusal)
		},
		Admit:   p.weak.admit,
		Schemes: p.authority.Schemes(),
		Nonce:   p.authority.APINonce,
		World:   p.world,
		Logger:  p.log.With("server", "api"),
	})
	p.public, p.confidential = defaultApplications()
	if p.keeper != nil && p.keeper.found != nil {
		if err := p.restore(); err != nil {
			return err
		}
		p.filled.Store(true)
		return p.keepProvider() // the ports may be others
	}
	for _, a := range []Application{p.public, p.confidential} {
		if err := p.AddClient(a); err != nil {
			return err
		}
	}
	owners := opts.Owners
	if owners == nil {
		owners = demoOwners()
	}
	for _, o := range owners {
		if _, err := p.AddOwner(o); err != nil {
			return err
		}
	}
	p.filled.Store(true)
	return p.keepProvider()
}

// run starts the servers and the world, and sets close, which ends them.
func (p *Provider) run(opts Options, server tls.Certificate, listeners []net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	plain := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{server}}
	// Any certificate passes the handshake, which proves its key: whose it must be
	// depends on the application (RFC 8705 section 2).
	asking := plain.Clone()
	asking.ClientAuth = tls.RequestClientCert
	apiTLS := plain
	if opts.mutualTLS() {
		apiTLS = asking
	}
	webs := []*webServer{
		serveWeb(ctx, p.weak.listener(p.conns.listener(listeners[0]), false), p.weak.policy(plain, false), &p.http, p.log, authorityEndpointsOf, p.authority),
		serveWeb(ctx, p.weak.listener(p.conns.listener(listeners[1]), true), p.weak.policy(apiTLS, true), &p.http, p.log, apiEndpointsOf, p.api),
	}
	if len(listeners) > 3 {
		webs = append(webs, serveWeb(ctx, p.weak.listener(p.conns.listener(listeners[3]), false), p.weak.policy(asking, false), &p.http, p.log, authorityEndpointsOf, http.HandlerFunc(p.authority.ServeMutualTLS)))
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.broker.Serve(listeners[2]); !errors.Is(err, broker.ErrClosed) {
			p.log.Error("broker ended", "error", err)
		}
	})
	var life sync.WaitGroup // what is over before all is kept for the last time
	if !opts.Quiet {
		life.Go(func() { p.world.Run(ctx, opts.LifeInterval) })
	}
	if p.keeper != nil {
		life.Go(func() { p.keepChanges(ctx) })
	}
	p.close = sync.OnceFunc(func() {
		cancel()
		p.conns.bury()
		for _, web := range webs {
			web.close()
		}
		life.Wait()
		p.senders.close()
		p.endKeeping()
		p.broker.Close()
		running.Wait()
		p.keeper.close()
	})
	p.log.Info("provider started", "issuer", p.issuer, "api", p.apiURL, "broker", p.brokerURL, "owners", len(p.Owners()))
}

// Close ends all connections and servers, frees the ports, and returns when
// nothing runs any more, within about two seconds. Further calls do nothing.
func (p *Provider) Close() { p.close() }

// TB is the part of testing.TB that New needs.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// New starts a provider for a test, which fails when it cannot, and closes it at
// the test's end.
func New(t TB, opts Options) *Provider {
	t.Helper()
	p, err := Start(opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(p.Close)
	return p
}

// Issuer returns the authorization server's issuer identifier, an https URL.
func (p *Provider) Issuer() string { return p.issuer }

// APIURL returns the Web API's URL, without /fds/v2/.
func (p *Provider) APIURL() string { return p.apiURL }

// BrokerURL returns the broker's URL, mqtts://127.0.0.1:PORT.
func (p *Provider) BrokerURL() string { return p.brokerURL }

// CAPEM returns the root certificate that all of the provider's certificates come
// from.
func (p *Provider) CAPEM() []byte { return slices.Clone(p.ca.pem) }

// RootCAs returns a new pool with that root certificate alone, for a tls.Config.
func (p *Provider) RootCAs() *x509.CertPool { return p.ca.pool() }

// Roots returns such a pool too, and is the function that fdsclient.Provider and push.Config
// take as their Roots.
func (p *Provider) Roots(context.Context) (*x509.CertPool, error) { return p.ca.pool(), nil }

// SubscriptionClaim returns the name of the claim that carries the subscription
// IDs.
func (p *Provider) SubscriptionClaim() string { return p.claim }

// SetTokenLifetimes changes the lifetimes of tokens issued from now on; 0 leaves
// one as it is.
func (p *Provider) SetTokenLifetimes(access, refresh time.Duration) {
	p.authority.SetLifetimes(access, refresh)
}

// RotateDPoPNonces replaces the nonces for DPoP proofs at all endpoints, and lets
// no earlier one serve: the next proof is answered with use_dpop_nonce.
func (p *Provider) RotateDPoPNonces() { p.authority.RotateNonces() }

// Secrets lists what must appear in no log, no error and no file that is not
// meant for it: the tokens, codes and client secrets that the provider has
// issued or been sent, code verifiers, Basic credentials, client assertions, DPoP
// proofs, device codes, and of each private key that it made the first line of
// the PEM body. state and nonce are not in it, since they are part of the URL
// that a person opens; user codes and request URIs are, although a person gets to
// see them, so that a search of logs finds them.
func (p *Provider) Secrets() []string { return append(p.authority.Secrets(), p.keys.list()...) }

// keyLog remembers private keys for Secrets.
type keyLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *keyLog) add(c Certificate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, firstKeyLine(c.KeyPEM))
}

func (l *keyLog) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

package fdstest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
	"github.com/fds-sdk/fds-go/fdstest/internal/broker"
	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

// Options say what a provider is like. The zero value is a good one.
type Options struct {
	// AccessTokenLifetime is at least a millisecond; default 10 minutes.
	// SetTokenLifetimes changes it later.
	AccessTokenLifetime time.Duration
	// RefreshTokenLifetime is that of each refresh token from its issue; default
	// 30 days.
	RefreshTokenLifetime time.Duration
	// SubscriptionClaim is the claim of access and ID tokens that carries the
	// subscription IDs (W7), as a string or, for several, an array of strings;
	// default "subscription_id".
	SubscriptionClaim string
	// NoRotation keeps a refresh token through its uses.
	NoRotation bool

	// Owners are there from the start; see AddOwner for what may be left out.
	// nil means Northside Hospital, Harbour Airport and Old Town School, an empty
	// slice none.
	Owners []Owner
	// Devices is how many devices each owner gets: default 40, at most 10,000. A
	// negative number gives none, to be filled with AddDevice and its kin.
	Devices int
	// Seed decides what the made-up sites are like, for the same subscription
	// IDs.
	Seed uint64
	// Quiet keeps the owners' devices still, except in Tick and Step. Otherwise
	// one device moves every LifeInterval.
	Quiet bool
	// LifeInterval is the time between two movements; default half a second.
	LifeInterval time.Duration

	// The ports on 127.0.0.1; 0 lets the system choose.
	AuthorityPort, APIPort, BrokerPort int

	// SessionExpiryMax bounds how long the broker keeps a session after its
	// connection, in whole seconds; default 24 hours. A negative value keeps
	// none.
	SessionExpiryMax time.Duration
	// ServerKeepAlive, in whole seconds, replaces the keep-alive of MQTT clients;
	// 0 leaves it to them.
	ServerKeepAlive time.Duration

	// Logger gets what happens at the provider, without tokens and payloads; nil:
	// no logs.
	Logger *slog.Logger
}

func (o Options) check() error {
	var faults []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"AccessTokenLifetime", o.AccessTokenLifetime}, {"RefreshTokenLifetime", o.RefreshTokenLifetime}} {
		if d.value < 0 || d.value > 0 && d.value < time.Millisecond {
			faults = append(faults, fmt.Errorf("%s is %v; it must be at least 1ms, or 0 for the default", d.name, d.value))
		}
	}
	for _, p := range []struct {
		name  string
		value int
	}{{"AuthorityPort", o.AuthorityPort}, {"APIPort", o.APIPort}, {"BrokerPort", o.BrokerPort}} {
		if p.value < 0 || p.value > 65535 {
			faults = append(faults, fmt.Errorf("%s is %d; a port is at most 65535, or 0 to let the system choose", p.name, p.value))
		}
	}
	return errors.Join(faults...)
}

// Provider is a running information provider. Its methods may be used at once
// from several goroutines.
type Provider struct {
	issuer, apiURL, brokerURL string
	claim                     string
	log                       *slog.Logger
	ca                        *root
	foreignCA                 func() (*root, error)
	public, confidential      Application

	authority *authority.Server
	broker    *broker.Broker
	world     *world.World
	api       *webapi.API
	http      httpFaults
	mqtt      brokerFaults
	keys      keyLog

	mu        sync.Mutex
	owners    []Owner
	ownerByID map[fds.SubscriptionID]Owner

	close func()
}

// Start starts a provider. The caller closes it.
func Start(opts Options) (*Provider, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("fdstest: start: %w", err)
	}
	p := &Provider{log: opts.Logger, claim: opts.SubscriptionClaim, ownerByID: make(map[fds.SubscriptionID]Owner)}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.claim == "" {
		p.claim = "subscription_id"
	}
	p.foreignCA = sync.OnceValues(func() (*root, error) { return newRoot("Another authority") })
	if err := p.start(opts); err != nil {
		return nil, fmt.Errorf("fdstest: start: %w", err)
	}
	return p, nil
}

func (p *Provider) start(opts Options) (err error) {
	if p.ca, err = newRoot("FDS provider in a box"); err != nil {
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
	for _, port := range []struct {
		name   string
		number int
	}{{"the authorization server", opts.AuthorityPort}, {"the Web API", opts.APIPort}, {"the broker", opts.BrokerPort}} {
		l, err := listen(port.number)
		if err != nil {
			return fmt.Errorf("open the port of %s: %w", port.name, err)
		}
		listeners = append(listeners, l)
	}
	p.issuer = "https://" + listeners[0].Addr().String()
	p.apiURL = "https://" + listeners[1].Addr().String()
	p.brokerURL = "mqtts://" + listeners[2].Addr().String()

	if err := p.build(opts, server.TLS); err != nil {
		return err
	}
	p.run(opts, server.TLS, listeners)
	return nil
}

// build makes the servers and fills them.
func (p *Provider) build(opts Options, server tls.Certificate) (err error) {
	p.authority, err = authority.New(authority.Config{
		Issuer:               p.issuer,
		Audience:             p.apiURL,
		AccessTokenLifetime:  opts.AccessTokenLifetime,
		RefreshTokenLifetime: opts.RefreshTokenLifetime,
		SubscriptionClaim:    p.claim,
		NoRotation:           opts.NoRotation,
		Logger:               p.log.With("server", "authorization"),
	})
	if err != nil {
		return err
	}
	p.broker, err = broker.New(broker.Config{
		TLS:              &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{server}, ClientCAs: p.ca.pool()},
		Logger:           p.log.With("server", "broker"),
		SessionExpiryMax: opts.SessionExpiryMax,
		ServerKeepAlive:  opts.ServerKeepAlive,
	})
	if err != nil {
		return err
	}
	p.world = world.New(world.Config{Seed: opts.Seed, Devices: opts.Devices, Publish: p.publishFromWorld})
	p.api = webapi.New(webapi.Config{
		Verify: func(bearer string) ([]fds.SubscriptionID, bool) {
			ids, _, ok := p.authority.Verify(bearer)
			return ids, ok
		},
		World:  p.world,
		Logger: p.log.With("server", "api"),
	})
	p.public, p.confidential = defaultApplications()
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
	return nil
}

// run starts the servers and the world, and sets close, which ends them.
func (p *Provider) run(opts Options, server tls.Certificate, listeners []net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	authorityWeb := serveWeb(ctx, listeners[0], server, &p.http, p.log, authorityEndpointsOf, p.authority)
	apiWeb := serveWeb(ctx, listeners[1], server, &p.http, p.log, apiEndpointsOf, p.api)
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.broker.Serve(listeners[2]); !errors.Is(err, broker.ErrClosed) {
			p.log.Error("broker ended", "error", err)
		}
	})
	if !opts.Quiet {
		running.Go(func() { p.world.Run(ctx, opts.LifeInterval) })
	}
	p.close = sync.OnceFunc(func() {
		cancel()
		authorityWeb.close()
		apiWeb.close()
		p.broker.Close()
		running.Wait()
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

// Issuer gives the authorization server's issuer identifier, an https URL.
func (p *Provider) Issuer() string { return p.issuer }

// APIURL gives the Web API's URL, without /fds/v2/.
func (p *Provider) APIURL() string { return p.apiURL }

// BrokerURL gives the broker's URL, mqtts://127.0.0.1:PORT.
func (p *Provider) BrokerURL() string { return p.brokerURL }

// CAPEM gives the root certificate that all of the provider's certificates come
// from.
func (p *Provider) CAPEM() []byte { return slices.Clone(p.ca.pem) }

// RootCAs gives a new pool with that root certificate alone.
func (p *Provider) RootCAs() *x509.CertPool { return p.ca.pool() }

// SubscriptionClaim gives the name of the claim that carries the subscription
// IDs.
func (p *Provider) SubscriptionClaim() string { return p.claim }

// SetTokenLifetimes changes the lifetimes of tokens issued from now on; 0 leaves
// one as it is.
func (p *Provider) SetTokenLifetimes(access, refresh time.Duration) {
	p.authority.SetLifetimes(access, refresh)
}

// Secrets lists what must appear in no log, no error and no file that is not
// meant for it: the tokens, codes and client secrets that the provider has
// issued or been sent, code verifiers, Basic credentials, and of each private key
// that it made the first line of the PEM body. state and nonce are not in it,
// since they are part of the URL that a person opens.
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

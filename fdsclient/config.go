package fdsclient

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// Config is what New needs: an application's registration with one provider, and
// where things are kept. Provider.Issuer and Application.ClientID are required.
type Config struct {
	Provider    Provider
	Application Application

	// Store keeps the grants. Nil means the operating system's keyring, under
	// the application's name; there is no fallback when it is missing, because
	// where secrets lie is not a thing to be decided silently.
	Store tokenstore.Store

	// Certificates returns each owner's client certificate for push. Without it
	// Run renews grants and connects no one.
	Certificates CertificateSource

	// State remembers what a run needs besides grants. Nil means a folder named
	// for the application in the user's state folder.
	State statestore.Store

	Push Push
	Pull Pull
	Poll Poll // in the place of push, where the provider has no broker

	// Logger receives events; nil means slog.Default().
	Logger *slog.Logger

	// Hooks are told what happens to grants and connections: each implements
	// one or more of the Hook interfaces. They are called from the goroutine
	// that does the work and must be fast and safe for concurrent use.
	Hooks []any
}

// Pull says how owners' data is read from the Web API.
type Pull struct {
	// RetryFor is how long a request of Owner.Pull is repeated; see pull.Config.
	// Backfills space their attempts by Push.Gaps.Retry instead.
	RetryFor time.Duration
	MaxPages int // bound of one list's pages; default 10,000
	// Limit bounds the requests of all owners together. Nil: 16 at once. Share one
	// among the Clients of a provider.
	Limit *pull.Limit
}

const pullsAtOnce = 16

// Provider is an information provider.
type Provider struct {
	// Issuer is the issuer identifier of its authorization server: an https
	// URL without query or fragment (RFC 8414 section 2).
	Issuer string

	// Endpoints override what the server's metadata say. With both
	// Authorization and Token given no metadata are fetched.
	Endpoints Endpoints

	APIURL    string // https URL of the Web API; /fds/v2/ is appended
	BrokerURL string // mqtts or wss URL of the broker; see push.Config.BrokerURL
	// BrokerFallbacks are more URLs of the same broker, tried in turn.
	BrokerFallbacks []string
	// AllowedServers are the hosts to which the broker may refer clients; none:
	// referrals are not followed. See push.Config.
	AllowedServers []string

	RootCAs *x509.CertPool // trusted for all of its servers; nil: the system's
	// Roots returns them anew before each request and each dial, in the place of
	// RootCAs, so that an authority may change while the process runs; see
	// RootsFile. It must not wait for long.
	Roots        func(context.Context) (*x509.CertPool, error)
	ExactlyTLS12 bool // pin TLS 1.2; default 1.2 or newer (W2, M1)
	// Dial opens the network connections to all of its servers, for networks that need a way
	// of their own, such as that of a test. TLS is always put on top, and no proxy is used.
	// Nil: TCP, also through the proxy that the environment names, or as Push.Proxy says.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Dialect fds.Dialect

	// AssumedLifetime is how long an access token is taken to live when the
	// provider does not say; default 5 minutes.
	AssumedLifetime time.Duration
	// RefreshInterval is the longest time between two renewals of a grant whose
	// refresh token may lapse at a moment that the provider does not tell;
	// default 24 hours.
	RefreshInterval time.Duration

	// ReplaysRefreshTokens says that the provider returns the answer to a renewal again
	// when the refresh token before comes once more. Then that one, which is kept until
	// the next has worked, is tried when the provider refuses the next for good. On any
	// other provider it would end the grant.
	ReplaysRefreshTokens bool

	// FinalErrors are further error codes of the token endpoint after which a grant is
	// of no more use, besides invalid_grant, its OpenID kin (login_required,
	// consent_required, interaction_required, account_selection_required) and
	// bad_refresh_token: what this provider says in their place. They match
	// fds.ErrSignInRequired.
	FinalErrors []string

	// Resources are the APIs that tokens are asked for (RFC 8707): absolute URIs
	// without fragment. Empty: the parameter is not sent.
	Resources []string
}

// Endpoints of an authorization server, https URLs. One that is given is used
// also where the metadata have an alias in mtls_endpoint_aliases.
type Endpoints struct {
	Authorization       string
	Token               string
	Revocation          string // RFC 7009; without it a sign-out deletes and revokes nothing
	JWKS                string // keys of ID tokens (OpenID Connect Core section 10.1.1); needed where the metadata name none
	PushedAuthorization string // RFC 9126
	DeviceAuthorization string // RFC 8628
	Introspection       string // RFC 7662; asked for the subscription ID when no token has it
}

// Application is this application's registration with the provider.
type Application struct {
	Name       string     // for people, the keyring and the User-Agent; default "fds-go"
	ClientID   string     // as registered
	AuthMethod AuthMethod // default: by what is given and what the provider supports
	Scopes     []string   // default openid, offline_access

	// The application proves who it is with one of these, or is a public client
	// with none (W4).
	ClientSecret Secret
	// Certificate returns the client certificate for TLS (RFC 8705), which FDS
	// recommends; CertificateFiles makes one of two files. It is asked before each
	// token request and every half minute; when it returns another one, connections
	// and tokens are renewed with that.
	Certificate func(context.Context) (*tls.Certificate, error)
	// Key signs assertions (RFC 7523): RSA or ECDSA P-256. ParsePrivateKey reads
	// one from PEM.
	Key   crypto.Signer
	KeyID string // names Key to the provider, when it knows several
	// KeyAlgorithm is RS256, PS256 or ES256; default: ES256 for an ECDSA key, for
	// RSA what the provider lists first of PS256 and RS256, else RS256.
	KeyAlgorithm string
	// AssertionAudience is the audience of assertions; default the issuer, which
	// is also the safe choice. Some servers want their token endpoint's URL.
	AssertionAudience string

	// DPoP binds each grant's tokens to a key of its own (RFC 9449). A sign-in
	// whose tokens are not bound is refused.
	DPoP bool
	// PushRequests sends authorization requests to the provider before the
	// browser opens (RFC 9126). It is done anyway where the provider demands it.
	PushRequests bool

	// RedirectURL is the application's own https redirect URI, for BeginSignIn
	// and FinishSignIn. Without it the redirect goes to the loopback. Each provider
	// needs one of its own, or it could have another provider's code sent there as if
	// it were its own (RFC 9700 section 4.4.2): New refuses one that an open Client of
	// another provider has in this process; where processes share a host, see to it.
	RedirectURL string
	// RedirectPath is the path of the loopback redirect URI. The default is that of
	// the function RedirectPath, one for each issuer: register http://127.0.0.1 and
	// http://[::1] with it, for any port. Setting "/callback" keeps a registration of
	// earlier versions working. What is lost is the defence against another provider
	// that sends its user on to this one, to be given the code (RFC 9700 section
	// 4.4); this provider has to name itself in its redirects instead (RFC 9207), and
	// a warning is logged where it does not promise to.
	RedirectPath string
	// RedirectPorts are tried in order for the loopback; empty: any free port.
	RedirectPorts []int
	// Page is what the browser shows at the end of a sign-in on the loopback,
	// executed with a PageData; nil: a plain page of ours. It can load nothing
	// from elsewhere: the page's address holds the code.
	Page *template.Template

	// SymmetricIDTokens takes ID tokens that are signed by HS256 with the ClientSecret,
	// of 32 bytes or more, besides those signed with the provider's keys. By default a
	// token that anyone with the secret could have made is refused.
	SymmetricIDTokens bool

	// SubscriptionClaim is the claim that holds the subscription ID, a string,
	// or IDs, an array of strings (W7; FDS does not name it); default
	// "subscription_id".
	SubscriptionClaim string
}

// Push settings of all owners' connections. See push.Config for each field; the
// zero value stands for its defaults.
type Push struct {
	// Topics below fds/v2/<subscription_id>/ are what is wanted, also of what is fetched
	// or polled; default "#", everything. See Gaps and Provider.Dialect.
	Topics        []string
	SessionExpiry time.Duration // how long the broker keeps messages for us
	KeepAlive     time.Duration
	MaxPacketSize int // bytes
	// MaxBytes is what the messages of all owners that wait for handlers may take in memory,
	// beside one for each owner; see push.Budget. Default 64 MiB.
	MaxBytes int
	// Proxy and ALPN are the way to the broker; see push.Config. By default the proxy
	// of the environment is used; "none" uses none.
	Proxy string
	ALPN  []string
	// CertificateCheck is about how often Config.Certificates is asked whether an owner
	// has another certificate, connected or waiting for one; see push.Config. Default
	// 30 s, so that a new one is taken up within a minute.
	CertificateCheck time.Duration
	// TakenOverRetry makes an owner that was taken over by another process try
	// again after that long, at least a minute. 0: it stays stopped until it signs
	// in again, unless the broker gave no reason (push.TakenOverError.Suspected):
	// then it is tried again every few minutes.
	TakenOverRetry time.Duration
	// MaxAttempts is how often a message is handed over before DeadLetter gets it;
	// both or neither. By default it is handed over until it succeeds.
	MaxAttempts int
	DeadLetter  func(ctx context.Context, m delivery.Message, err error) error
	SlowHandler time.Duration // how long a handler may take until that is reported; default 1 minute
	Gaps        Gaps          // how what an outage lost is made good
	// KeepWithoutGrant keeps the connection of an owner whose user has withdrawn consent,
	// or whom the provider took out of the grant, as long as Run and the broker do. By
	// default it ends, with the reason in Owner.Connection: where consent was withdrawn,
	// messages wait in the broker's session for a new sign-in; of who was taken out of a
	// grant that goes on for others, the session ends too. An owner who is polled, or signed
	// out, is not kept.
	KeepWithoutGrant bool
	Limiter          push.Limiter  // rate of connects of all owners; default 200 a second, 50 at once
	Rescan           time.Duration // how often Run looks for owners that came or went in another process; default 30 s
}

// validate returns a copy with its defaults, or an error that names every fault.
func (c Config) validate() (Config, error) {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	checkURL := func(name, value, scheme string) {
		if why := authserver.URLFault(value, scheme); why != "" {
			fault("%s %q %s", name, authserver.WithoutUser(value), why)
		}
	}

	p := &c.Provider
	if p.Issuer == "" {
		fault("Provider.Issuer is missing: the https URL of the provider's authorization server")
	} else {
		checkURL("Provider.Issuer", p.Issuer, "https")
		if strings.ContainsAny(p.Issuer, "?#") {
			fault("Provider.Issuer %q must have no query and no fragment", authserver.WithoutUser(p.Issuer))
		}
	}
	for name, value := range map[string]string{
		"Provider.Endpoints.Authorization":       p.Endpoints.Authorization,
		"Provider.Endpoints.Token":               p.Endpoints.Token,
		"Provider.Endpoints.Revocation":          p.Endpoints.Revocation,
		"Provider.Endpoints.JWKS":                p.Endpoints.JWKS,
		"Provider.Endpoints.PushedAuthorization": p.Endpoints.PushedAuthorization,
		"Provider.Endpoints.DeviceAuthorization": p.Endpoints.DeviceAuthorization,
		"Provider.Endpoints.Introspection":       p.Endpoints.Introspection,
		"Provider.APIURL":                        p.APIURL,
	} {
		if value != "" {
			checkURL(name, value, "https")
		}
	}
	if p.BrokerURL != "" {
		scheme := "mqtts"
		if strings.HasPrefix(p.BrokerURL, "wss:") {
			scheme = "wss"
		}
		checkURL("Provider.BrokerURL", p.BrokerURL, scheme)
	}
	if p.RootCAs != nil && p.Roots != nil {
		fault("Provider.RootCAs and Provider.Roots are both set; one is enough")
	}
	if p.AssumedLifetime < 0 {
		fault("Provider.AssumedLifetime %v is negative", p.AssumedLifetime)
	} else if p.AssumedLifetime == 0 {
		p.AssumedLifetime = 5 * time.Minute
	}
	if p.RefreshInterval < 0 {
		fault("Provider.RefreshInterval %v is negative", p.RefreshInterval)
	} else if p.RefreshInterval == 0 {
		p.RefreshInterval = 24 * time.Hour
	}
	for _, code := range p.FinalErrors {
		if why := authserver.FinalErrorFault(code); why != "" {
			fault("Provider.FinalErrors: %q %s", code, why)
		}
	}
	for _, resource := range p.Resources {
		if u, err := url.Parse(resource); err != nil || !u.IsAbs() || strings.Contains(resource, "#") {
			fault("Provider.Resources %q is not an absolute URI without fragment (RFC 8707 section 2)", resource)
		}
	}
	p.Dialect = p.Dialect.WithDefaults()
	for _, text := range p.Dialect.Faults() {
		fault("Provider.%s", text)
	}
	at := time.Date(2026, 11, 24, 13, 14, 15, 0, time.UTC)
	if back, err := time.Parse(p.Dialect.TimeLayout, at.Format(p.Dialect.TimeLayout)); err != nil || back.Format(time.DateOnly) != at.Format(time.DateOnly) {
		fault("Provider.Dialect.TimeLayout %q does not give a date that can be read back; write it as package time does", p.Dialect.TimeLayout)
	}
	c.Push.Gaps.complete(fault)
	c.Poll.complete(p, fault)

	for _, why := range c.Application.complete() {
		fault("%s", why)
	}
	if c.Application.RedirectPath == "" {
		c.Application.RedirectPath = RedirectPath(p.Issuer)
	}

	c.Hooks = slices.Clone(c.Hooks)
	for i, hook := range c.Hooks {
		if why := hookFault(hook); why != "" {
			fault("Hooks[%d] %s", i, why)
		}
	}
	c.Provider.BrokerFallbacks = slices.Clone(c.Provider.BrokerFallbacks)
	c.Provider.AllowedServers = slices.Clone(c.Provider.AllowedServers)
	c.Provider.Resources = slices.Clone(c.Provider.Resources)
	c.Provider.FinalErrors = slices.Clone(c.Provider.FinalErrors)
	c.Push.ALPN = slices.Clone(c.Push.ALPN)
	if c.Push.Topics = slices.Clone(c.Push.Topics); len(c.Push.Topics) == 0 {
		c.Push.Topics = []string{"#"}
	}
	root := fds.NewSubscriptionID().Root()
	for _, topic := range c.Push.Topics {
		if _, err := root.Filter(topic); err != nil {
			fault("Push.Topics: %v", err)
		}
	}
	if c.Push.MaxBytes < 0 {
		fault("Push.MaxBytes is %d; it must be positive, or 0 for the default", c.Push.MaxBytes)
	}
	if c.Pull.MaxPages < 0 {
		fault("Pull.MaxPages is %d; it must be positive, or 0 for the default", c.Pull.MaxPages)
	}
	if c.Pull.Limit == nil {
		c.Pull.Limit = pull.NewLimit(pullsAtOnce, 0)
	}
	if c.Push.Rescan <= 0 {
		c.Push.Rescan = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if len(faults) > 0 {
		slices.Sort(faults)
		return c, fmt.Errorf("fdsclient: %w: %s", fds.ErrConfig, strings.Join(faults, "; "))
	}
	return c, nil
}

// complete fills in the defaults and returns the faults.
func (a *Application) complete() (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	switch {
	case a.Name == "":
		a.Name = "fds-go"
	case !utf8.ValidString(a.Name) || strings.ContainsFunc(a.Name, unicode.IsControl):
		fault("Application.Name %q holds a character that cannot be shown", a.Name)
	}
	if a.ClientID == "" {
		fault("Application.ClientID is missing: the ID under which the provider registered the application")
	}
	for _, why := range a.methodFaults() {
		fault("%s", why)
	}
	a.RedirectPorts = slices.Clone(a.RedirectPorts)
	if a.Scopes = slices.Clone(a.Scopes); a.Scopes == nil {
		a.Scopes = []string{"openid", "offline_access"}
	}
	if a.RedirectURL != "" {
		if why := authserver.URLFault(a.RedirectURL, "https"); why != "" {
			fault("Application.RedirectURL %q %s", authserver.WithoutUser(a.RedirectURL), why)
		} else if strings.Contains(a.RedirectURL, "#") {
			fault("Application.RedirectURL %q must have no fragment (RFC 6749 section 3.1.2)", a.RedirectURL)
		}
	}
	if path := a.RedirectPath; path != "" && (path[0] != '/' || strings.ContainsAny(path, "?#% \\") || strings.Contains(path, "//")) {
		fault("Application.RedirectPath %q is not a plain path such as /callback", path)
	}
	for _, port := range a.RedirectPorts {
		if port < 1 || port > 65535 {
			fault("Application.RedirectPorts: %d is no port", port)
		}
	}
	if a.SymmetricIDTokens && len(a.ClientSecret.Reveal()) < authserver.MinSymmetricSecret {
		fault("Application.SymmetricIDTokens needs a ClientSecret of at least %d bytes (RFC 7518 section 3.2)", authserver.MinSymmetricSecret)
	}
	if a.SubscriptionClaim == "" {
		a.SubscriptionClaim = "subscription_id"
	}
	return faults
}

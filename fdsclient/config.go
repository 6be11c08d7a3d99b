package fdsclient

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"html/template"
	"log/slog"
	"net"
	"time"

	"github.com/fds-sdk/fds-go/fds"
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

	// Certificates returns the client certificate of an owner (M2); a CertificateFolder's method
	// Certificate is one. It is asked before every connect and about every
	// Push.CertificateCheck, connected or waiting for one, so it may return another one once
	// that has changed; keys may live elsewhere, behind a crypto.Signer. Without one for the
	// owner its error is to match fds.ErrNoCertificate; where there is one that only a person
	// can mend, fds.ErrCertificate. Every other error counts as one that passes, and it is
	// asked again soon. Without Certificates Run renews grants and connects no one.
	Certificates func(ctx context.Context, owner fds.OwnerKey) (*tls.Certificate, error)

	// State remembers what a run needs besides grants. Nil means a folder named
	// for the application in the user's state folder.
	State statestore.Store

	// Push are the settings of all owners' connections. Topics hold for what is fetched or
	// polled too, see Gaps and Provider.Dialect; so do MaxAttempts, DeadLetter and
	// SlowHandler, while what the handler fails on is fetched again as Gaps.Retry spaces it,
	// or later where it asks for that (delivery.RetryAfter).
	// Budget and Limit are shared by all owners; by default 64 MiB, and 200 connects a second,
	// 50 at once. An owner that was taken over stays stopped until it signs
	// in again, unless TakenOverRetry is set or the broker gave no reason
	// (push.TakenOverError.Suspected).
	Push push.Settings
	// Pull are the settings of Owner.Pull and of what Run fetches, whose attempts Gaps.Retry
	// spaces in the place of RetryFor. Limit bounds the requests of all owners; default 16 at
	// once. Share one among the Clients of a provider.
	Pull pull.Settings
	Gaps Gaps // how what an outage lost is made good
	Poll Poll // in the place of push, where the provider has no broker

	// KeepWithoutGrant keeps the connection of an owner whose user has withdrawn consent,
	// or whom the provider took out of the grant, as long as Run and the broker do. By
	// default it ends, with the reason in Owner.Connection: where consent was withdrawn,
	// messages wait in the broker's session for a new sign-in; of who was taken out of a
	// grant that goes on for others, the session ends too. An owner who is polled, or signed
	// out, is not kept.
	KeepWithoutGrant bool
	Rescan           time.Duration // how often Run looks for owners that came or went in another process; default 30 s

	// Logger receives events; nil means slog.Default().
	Logger *slog.Logger

	// Hooks are told what happens to grants, connections and messages: each implements one or
	// more of the interfaces that the package's documentation lists. They are called from the
	// goroutine that does the work and must be fast and safe for concurrent use.
	Hooks []any
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

	// Roots returns, before each request and each dial, the authorities that are trusted for
	// all of its servers, so that one may change while the process runs; see RootsFile. It must
	// not wait for long. Nil: the system's.
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
	ClientSecret fds.Secret
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

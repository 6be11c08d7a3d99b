package authority

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"
)

// The paths of the endpoints below the issuer.
const (
	AuthorizationPath       = "/authorize"
	ConsentPath             = "/consent"
	TokenPath               = "/token"
	RevocationPath          = "/revoke"
	IntrospectionPath       = "/introspect"
	PushedRequestPath       = "/par"
	DeviceAuthorizationPath = "/device_authorization"
	DevicePath              = "/device" // where a person enters a user code
	KeysPath                = "/keys"
	OAuthMetadataPath       = "/.well-known/oauth-authorization-server"
	OpenIDDiscoveryPath     = "/.well-known/openid-configuration"
	stylePath               = "/style.css"
)

// Support reports whether the server knows something that clients may use.
type Support int

// The degrees of support.
const (
	Unsupported Support = iota
	Optional
	Required
)

// Place is where subscription IDs appear; several are joined by |.
type Place int

// The places.
const (
	InAccessToken Place = 1 << iota
	InIDToken
	InTokenAnswer
	InIntrospection
)

// Config says how a Server behaves. Issuer and Audience are required.
type Config struct {
	Issuer               string        // an https URL without query and fragment (RFC 8414 section 2)
	Audience             string        // of access tokens: the Web API's URL
	AccessTokenLifetime  time.Duration // default 10 minutes
	RefreshTokenLifetime time.Duration // of each refresh token from its issue; default 30 days
	SubscriptionClaim    string        // the claim that holds the subscription IDs; default "subscription_id"
	SubscriptionIn       Place         // where that claim appears; default everywhere but in the token answer
	Subject              string        // the person's "sub"; default "person"
	NoRotation           bool          // keep a refresh token through its uses
	RefreshGrace         time.Duration // how long a used refresh token may be used once more
	OpaqueTokens         bool          // access tokens are no JWTs

	AuthMethods            []string       // default none and client_secret_basic and _post
	MutualTLSURL           string         // where ServeMutualTLS is served; "": nowhere
	Roots                  *x509.CertPool // of the certificates of tls_client_auth
	CertificateBoundTokens bool           // offered (RFC 8705 section 3)

	DPoP              Support
	DPoPTokenNonce    bool          // proofs at the token endpoint need a nonce
	DPoPAPINonce      bool          // those at the Web API do
	DPoPNonceLifetime time.Duration // default 5 minutes

	PushedRequests        Support
	PushedRequestLifetime time.Duration // default a minute

	Resources []string // besides Audience; nil: the parameter is ignored

	DeviceGrant        bool
	DeviceInterval     time.Duration // default 5 seconds; negative: that, without saying so
	DeviceCodeLifetime time.Duration // default 10 minutes

	Introspection bool

	// Keep is called after every change to what State returns, and before the client
	// learns of it; an error is answered with server_error. nil: nothing is kept.
	Keep func() error

	Logger *slog.Logger // nil: no logs
}

func (cfg Config) check() error {
	issuer, err := url.Parse(cfg.Issuer)
	switch {
	case err != nil || issuer.Scheme != "https" || issuer.Host == "" || issuer.RawQuery != "" || issuer.Fragment != "" || issuer.Path != "":
		return fmt.Errorf("issuer %.200q must be an https URL with a host and nothing after it", cfg.Issuer)
	case cfg.Audience == "":
		return errors.New("the audience of access tokens is missing")
	case cfg.AccessTokenLifetime < 0 || cfg.RefreshTokenLifetime < 0:
		return errors.New("a token lifetime is negative")
	case slices.Contains(reservedNames, cfg.SubscriptionClaim):
		return fmt.Errorf("the subscription claim cannot be %q, tokens and their answers use that for something else", cfg.SubscriptionClaim)
	}
	return nil
}

func (cfg Config) withDefaults() Config {
	cfg.AccessTokenLifetime = cmp.Or(cfg.AccessTokenLifetime, 10*time.Minute)
	cfg.RefreshTokenLifetime = cmp.Or(cfg.RefreshTokenLifetime, 30*24*time.Hour)
	cfg.SubscriptionClaim = cmp.Or(cfg.SubscriptionClaim, "subscription_id")
	cfg.SubscriptionIn = cmp.Or(cfg.SubscriptionIn, InAccessToken|InIDToken|InIntrospection)
	cfg.Subject = cmp.Or(cfg.Subject, "person")
	if cfg.AuthMethods == nil {
		cfg.AuthMethods = defaultAuthMethods
	}
	cfg.DPoPNonceLifetime = cmp.Or(cfg.DPoPNonceLifetime, 5*time.Minute)
	cfg.PushedRequestLifetime = cmp.Or(cfg.PushedRequestLifetime, time.Minute)
	cfg.DeviceInterval = cmp.Or(cfg.DeviceInterval, defaultDeviceInterval)
	cfg.DeviceCodeLifetime = cmp.Or(cfg.DeviceCodeLifetime, 10*time.Minute)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

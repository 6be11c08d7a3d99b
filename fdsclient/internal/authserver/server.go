package authserver

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/netpeer"
)

// Settings are a provider and an application's registration with it, complete and
// checked; package fdsclient says what each means. They are not changed once a
// Server is made of them.
type Settings struct {
	Issuer          string
	Endpoints       Endpoints
	Roots           func(context.Context) (*x509.CertPool, error)
	ExactlyTLS12    bool
	Dial            netpeer.Dial                              // nil: TCP, or through the environment's proxy
	Wrap            func(http.RoundTripper) http.RoundTripper // what is put around ClientCerts to see its requests; nil: nothing
	AssumedLifetime time.Duration                             // of an access token whose expiry is not said
	Resources       []string

	ClientID          string
	AuthMethod        string // "" means by what is given and what the server supports
	Scopes            []string
	ClientSecret      fds.Secret
	Certificate       func(context.Context) (*tls.Certificate, error)
	Key               crypto.Signer
	KeyID             string
	KeyAlgorithm      string
	AssertionAudience string
	DPoP              bool
	PushRequests      bool
	SymmetricIDTokens bool // ID tokens may be signed by HS256 with the ClientSecret
	SubscriptionClaim string
	UserAgent         string

	FinalErrors []string // further codes of the token endpoint that end a grant

	Refused    func(Refusal) error // makes the error for an answer that refuses
	OnError    func(error)         // a new certificate cannot be used
	OnReplaced func()              // the certificate in use was replaced by another one

	Transport http.RoundTripper // nil: the Server's ClientCerts
}

// Endpoints of an authorization server that override its metadata, https URLs or "".
type Endpoints struct {
	Authorization       string
	Token               string
	Revocation          string
	JWKS                string
	PushedAuthorization string
	DeviceAuthorization string
	Introspection       string
}

// Server speaks with the provider's authorization server. It is safe for
// concurrent use.
type Server struct {
	// ClientCerts is the transport of all requests to the provider, those to its Web
	// API among them.
	ClientCerts *ClientCerts

	settings  *Settings
	http      *http.Client
	patient   *http.Client // for requests that spend what cannot be had again
	discovery *discovery

	noIntrospection atomic.Bool // the server does not let this application ask about renewed tokens
}

// New makes a Server; it opens no connection.
func New(settings Settings) *Server {
	s := &Server{settings: &settings, ClientCerts: newClientCerts(&settings)}
	transport := settings.Transport
	if transport == nil {
		transport = s.ClientCerts
	}
	s.http, s.patient = newAuthHTTP(transport, authTimeout), newAuthHTTP(transport, spendTimeout)
	s.discovery = &discovery{server: s}
	return s
}

// Metadata returns the server's metadata with the endpoints of the settings laid over
// them. They are fetched at most once an hour, and when that fails the old ones
// serve on.
func (s *Server) Metadata(ctx context.Context) (*Metadata, error) { return s.discovery.get(ctx) }

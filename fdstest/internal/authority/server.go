package authority

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// The paths of the endpoints below the issuer.
const (
	AuthorizationPath   = "/authorize"
	ConsentPath         = "/consent"
	TokenPath           = "/token"
	RevocationPath      = "/revoke"
	KeysPath            = "/keys"
	OAuthMetadataPath   = "/.well-known/oauth-authorization-server"
	OpenIDDiscoveryPath = "/.well-known/openid-configuration"
	stylePath           = "/style.css"
)

const (
	defaultAccessTokenLifetime  = 10 * time.Minute
	defaultRefreshTokenLifetime = 30 * 24 * time.Hour
	codeLifetime                = time.Minute      // RFC 6749 section 4.1.2 recommends ten minutes at most
	pendingLifetime             = 10 * time.Minute // a person's time to decide
	maxPending                  = 4096             // consent pages open at once; the oldest gives way
	maxOwnersOfGrant            = 64               // a token must fit in a request header
	sweepEvery                  = time.Minute
)

// Config says how a Server behaves. Issuer and Audience are required.
type Config struct {
	Issuer               string        // an https URL without query and fragment (RFC 8414 section 2)
	Audience             string        // of access tokens: the Web API's URL
	AccessTokenLifetime  time.Duration // default 10 minutes
	RefreshTokenLifetime time.Duration // of each refresh token from its issue; default 30 days
	SubscriptionClaim    string        // the claim that holds the subscription IDs; default "subscription_id"
	Subject              string        // the person's "sub"; default "person"
	NoRotation           bool          // keep a refresh token through its uses
	Logger               *slog.Logger  // nil: no logs
}

// Owner is a resource owner whom a person may choose.
type Owner struct {
	Name     string
	Spelling string // the subscription ID as tokens spell it
}

// Server is an authorization server. Its methods may be used at once from
// several goroutines.
type Server struct {
	issuer   string
	audience string
	subject  string
	claim    string
	rotate   bool
	log      *slog.Logger
	key      signingKey
	mux      *http.ServeMux
	origin   *http.CrossOriginProtection
	secrets  secretLog
	hooks    hookList

	mu              sync.Mutex
	accessLifetime  time.Duration
	refreshLifetime time.Duration
	clients         map[string]Client
	owners          []Owner
	spellings       map[fds.SubscriptionID]string // of the owners
	pending         map[digest]*pendingRequest
	codes           map[digest]*authorizationCode
	refreshTokens   map[digest]*refreshToken
	accessTokens    map[digest]*accessToken
	swept           time.Time
}

// New makes a server without clients and owners.
func New(cfg Config) (*Server, error) {
	issuer, err := url.Parse(cfg.Issuer)
	switch {
	case err != nil || issuer.Scheme != "https" || issuer.Host == "" || issuer.RawQuery != "" || issuer.Fragment != "" || issuer.Path != "":
		return nil, fmt.Errorf("authority: configuration: issuer %.200q must be an https URL with a host and nothing after it", cfg.Issuer)
	case cfg.Audience == "":
		return nil, errors.New("authority: configuration: the audience of access tokens is missing")
	case cfg.AccessTokenLifetime < 0 || cfg.RefreshTokenLifetime < 0:
		return nil, errors.New("authority: configuration: a token lifetime is negative")
	case slices.Contains(registeredClaims, cfg.SubscriptionClaim):
		return nil, fmt.Errorf("authority: configuration: the subscription claim cannot be %q, tokens use that for something else", cfg.SubscriptionClaim)
	}
	key, err := newSigningKey()
	if err != nil {
		return nil, fmt.Errorf("authority: make the signing key: %w", err)
	}
	s := &Server{
		issuer:          cfg.Issuer,
		audience:        cfg.Audience,
		subject:         cmp.Or(cfg.Subject, "person"),
		claim:           cmp.Or(cfg.SubscriptionClaim, "subscription_id"),
		rotate:          !cfg.NoRotation,
		log:             cfg.Logger,
		key:             key,
		mux:             http.NewServeMux(),
		origin:          http.NewCrossOriginProtection(),
		accessLifetime:  cmp.Or(cfg.AccessTokenLifetime, defaultAccessTokenLifetime),
		refreshLifetime: cmp.Or(cfg.RefreshTokenLifetime, defaultRefreshTokenLifetime),
		clients:         make(map[string]Client),
		spellings:       make(map[fds.SubscriptionID]string),
		pending:         make(map[digest]*pendingRequest),
		codes:           make(map[digest]*authorizationCode),
		refreshTokens:   make(map[digest]*refreshToken),
		accessTokens:    make(map[digest]*accessToken),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.mux.HandleFunc("GET "+OAuthMetadataPath, s.serveMetadata)
	s.mux.HandleFunc("GET "+OpenIDDiscoveryPath, s.serveMetadata)
	s.mux.HandleFunc("GET "+KeysPath, s.serveKeys)
	s.mux.HandleFunc("GET "+AuthorizationPath, s.serveAuthorization)
	s.mux.HandleFunc("POST "+AuthorizationPath, s.serveAuthorization)
	s.mux.HandleFunc("POST "+ConsentPath, s.serveConsent)
	s.mux.HandleFunc("GET "+stylePath, serveStyle)
	s.mux.HandleFunc("POST "+TokenPath, s.serveToken)
	s.mux.HandleFunc("POST "+RevocationPath, s.serveRevocation)
	return s, nil
}

// ServeHTTP answers at every endpoint. The caller provides TLS and time-outs.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store") // RFC 6749 section 5.1; metadata and keys set their own
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// AddOwner offers a resource owner on the consent page, after those that are
// there. The spelling must be a UUID of version 4, and new.
func (s *Server) AddOwner(o Owner) error {
	id, err := fds.ParseSubscriptionID(o.Spelling)
	if err != nil {
		return fmt.Errorf("authority: add owner: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.spellings[id]; known {
		return fmt.Errorf("authority: add owner: %s is there already", id)
	}
	s.spellings[id] = o.Spelling
	s.owners = append(s.owners, o)
	return nil
}

// SetLifetimes changes the lifetimes of tokens issued from now on. A value that
// is not positive leaves its lifetime as it is.
func (s *Server) SetLifetimes(access, refresh time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if access > 0 {
		s.accessLifetime = access
	}
	if refresh > 0 {
		s.refreshLifetime = refresh
	}
}

// digest keys what a secret stands for: a look-up by the secret itself would
// tell its beginning by the time it takes.
type digest [sha256.Size]byte

func digestOf(secret string) digest { return sha256.Sum256([]byte(secret)) }

// newSecret makes 256 random bits, spelt for URLs and headers.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}

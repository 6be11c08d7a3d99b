package authority

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/dpop"
	"github.com/fds-sdk/fds-go/fdstest/internal/replay"
)

const (
	codeLifetime     = time.Minute      // RFC 6749 section 4.1.2 recommends ten minutes at most
	pendingLifetime  = 10 * time.Minute // a person's time to decide
	maxPending       = 4096             // consent pages, pushed requests and device codes at once, of each; the oldest gives way
	maxOwnersOfGrant = 64               // a token must fit in a request header
	sweepEvery       = time.Minute
)

// Owner is a resource owner whom a person may choose.
type Owner struct {
	Name     string
	Spelling string // the subscription ID as tokens spell it
}

// Server is an authorization server. Its methods may be used at once from
// several goroutines.
type Server struct {
	cfg        Config // with its defaults
	issuer     string
	audience   string
	claim      string
	log        *slog.Logger
	keys       keyRing
	mux        *http.ServeMux
	origin     *http.CrossOriginProtection
	secrets    secretLog
	hooks      hookList
	replays    chan struct{} // holds a token while a renewal is at work whose answer may be given again
	assertions *replay.Cache // their jti
	proofs     *dpop.Checker // of this server's endpoints
	apiProofs  *dpop.Checker // of the Web API

	mu              sync.Mutex
	accessLifetime  time.Duration
	refreshLifetime time.Duration
	clients         map[string]Client
	owners          []Owner
	spellings       map[fds.SubscriptionID]string // of the owners
	pending         map[digest]*pendingRequest
	pushed          map[digest]*pushedRequest
	devices         map[digest]*deviceCode // by device code
	codes           map[digest]*authorizationCode
	refreshTokens   map[digest]*refreshToken
	accessTokens    map[digest]*accessToken
	senderTokens    map[digest]senderToken
	swept           time.Time
}

// New makes a server without clients and owners.
func New(cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("authority: configuration: %w", err)
	}
	key, err := newSigningKey()
	if err != nil {
		return nil, fmt.Errorf("authority: make the signing key: %w", err)
	}
	cfg = cfg.withDefaults()
	s := &Server{
		cfg:             cfg,
		issuer:          cfg.Issuer,
		audience:        cfg.Audience,
		claim:           cfg.SubscriptionClaim,
		log:             cfg.Logger,
		keys:            keyRing{current: key},
		mux:             http.NewServeMux(),
		origin:          http.NewCrossOriginProtection(),
		replays:         make(chan struct{}, 1),
		assertions:      replay.New(2 * maxAssertionLifetime),
		proofs:          dpop.NewChecker(cfg.DPoPNonceLifetime),
		apiProofs:       dpop.NewChecker(cfg.DPoPNonceLifetime),
		accessLifetime:  cfg.AccessTokenLifetime,
		refreshLifetime: cfg.RefreshTokenLifetime,
		clients:         make(map[string]Client),
		spellings:       make(map[fds.SubscriptionID]string),
		pending:         make(map[digest]*pendingRequest),
		pushed:          make(map[digest]*pushedRequest),
		devices:         make(map[digest]*deviceCode),
		codes:           make(map[digest]*authorizationCode),
		refreshTokens:   make(map[digest]*refreshToken),
		accessTokens:    make(map[digest]*accessToken),
		senderTokens:    make(map[digest]senderToken),
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
	if cfg.PushedRequests != Unsupported {
		s.mux.HandleFunc("POST "+PushedRequestPath, s.servePushedRequest)
	}
	if cfg.DeviceGrant {
		s.mux.HandleFunc("POST "+DeviceAuthorizationPath, s.serveDeviceAuthorization)
		s.mux.HandleFunc("GET "+DevicePath, s.serveDevicePage)
		s.mux.HandleFunc("POST "+DevicePath, s.serveUserCode)
	}
	if cfg.Introspection {
		s.mux.HandleFunc("POST "+IntrospectionPath, s.serveIntrospection)
	}
	return s, nil
}

// ServeHTTP answers at every endpoint. The caller provides TLS, which asks for
// no client certificate, and time-outs.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store") // RFC 6749 section 5.1; metadata and keys set their own
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// ServeMutualTLS answers at the endpoints that mtls_endpoint_aliases names (RFC
// 8705 section 5), and nowhere else. The caller asks for client certificates.
func (s *Server) ServeMutualTLS(w http.ResponseWriter, r *http.Request) {
	if _, aliased := s.aliases()[r.URL.Path]; !aliased {
		http.Error(w, "this port serves the endpoints of mtls_endpoint_aliases only", http.StatusNotFound)
		return
	}
	s.ServeHTTP(w, r)
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

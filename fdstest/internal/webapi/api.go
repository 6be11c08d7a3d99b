package webapi

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

// MaxBody bounds the body of a request, in bytes; a longer one is 413.
const MaxBody = 64 << 10

// Config says who may read what.
type Config struct {
	// Verify returns the subscriptions that a token covers, which came under an
	// authorization scheme with the request, or says why it covers none. nil
	// refuses every token.
	Verify func(r *http.Request, scheme, token string) ([]fds.SubscriptionID, *Refusal)

	// Admit returns the subscriptions that a request reads whatever its token, or none,
	// by which the token counts. It may change the request. nil: the token counts.
	Admit func(r *http.Request) []fds.SubscriptionID

	// Schemes are the authorization schemes, each with the parameters of its
	// challenge, if any: "Bearer", `DPoP algs="ES256"`. Default "Bearer".
	Schemes []string

	// Nonce returns the DPoP-Nonce header of every answer (RFC 9449 section 9), ""
	// for none. nil: none.
	Nonce func() string

	// TimeRange names the parameters that bound statuses, statistics and events by
	// date-time; one without a name is not known. Default "from" and "to".
	TimeRange TimeRange

	// Dialect is how lists are asked for and answered.
	Dialect Dialect

	// World holds the items; default one without owners.
	World *world.World

	// Logger gets a line a request at debug level; default none.
	Logger *slog.Logger
}

// TimeRange names two query parameters, and the layout of their values, as
// package time has it; default time.RFC3339.
type TimeRange struct{ From, To, Layout string }

// Refusal says why a token does not serve: error and error_description of the
// challenge under one of the schemes (RFC 6750 section 3).
type Refusal struct{ Scheme, Code, Description string }

// API serves /fds/v2/. It is safe for concurrent use.
type API struct {
	cfg            Config
	notImplemented atomic.Int64 // HTTP code

	mu       sync.Mutex
	requests []*Request // what it points to also belongs to mu
}

var _ http.Handler = (*API)(nil)

// New makes the API.
func New(cfg Config) *API {
	if cfg.Verify == nil {
		cfg.Verify = func(*http.Request, string, string) ([]fds.SubscriptionID, *Refusal) {
			return nil, &Refusal{Scheme: "Bearer", Code: "invalid_token", Description: "no token is accepted"}
		}
	}
	if len(cfg.Schemes) == 0 {
		cfg.Schemes = []string{"Bearer"}
	}
	if cfg.Nonce == nil {
		cfg.Nonce = func() string { return "" }
	}
	if cfg.TimeRange == (TimeRange{}) {
		cfg.TimeRange = TimeRange{From: "from", To: "to"}
	}
	if cfg.TimeRange.Layout == "" {
		cfg.TimeRange.Layout = time.RFC3339
	}
	if cfg.Dialect.IDsSeparator == "" {
		cfg.Dialect.IDsSeparator = ","
	}
	if cfg.World == nil {
		cfg.World = world.New(world.Config{})
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	a := &API{cfg: cfg}
	a.notImplemented.Store(http.StatusOK)
	return a
}

func (a *API) locked(do func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do()
}

// SetNotImplemented sets the HTTP code under which "not_implemented" is said:
// 204 without a body, any other with the error object; at first 200. A code that
// is none, or below 200, counts as 200.
func (a *API) SetNotImplemented(code int) {
	if code < 200 || code > 599 {
		code = http.StatusOK
	}
	a.notImplemented.Store(int64(code))
}

// Server returns an HTTPS server with bounds fit for handler: 10 s for a header of
// at most 64 KiB, 30 s for a request, 2 minutes for an answer, TLS 1.2 or newer.
// The caller sets the certificate and the rest.
func Server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12},
	}
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	record := a.record(r)
	owners, challenges := a.authorize(r)
	a.locked(func() { record.Owners = owners })

	var ans answer
	if len(challenges) > 0 {
		ans = unauthorized(challenges...)
	} else {
		ans = a.answer(w, r, owners)
	}
	ans = a.compressed(r, ans)
	a.locked(func() { record.Status = ans.status })
	a.cfg.Logger.DebugContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path, "status", ans.status, "owners", len(owners))
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	for name, values := range ans.header {
		header[name] = values
	}
	if nonce := a.cfg.Nonce(); nonce != "" {
		header.Set("DPoP-Nonce", nonce)
	}
	header.Set("Date", a.cfg.World.Now().UTC().Format(http.TimeFormat))
	ans.send(w)
}

// authorize returns the subscriptions of the request's token, or the challenges of
// a 401 (RFC 6750 section 3: without a token no error is named).
func (a *API) authorize(r *http.Request) (owners []fds.SubscriptionID, challenges []string) {
	if a.cfg.Admit != nil {
		if owners := a.cfg.Admit(r); len(owners) > 0 {
			return owners, nil
		}
	}
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return nil, a.challenges(Refusal{})
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	if len(values) > 1 || !isToken68(token) {
		return nil, a.challenges(Refusal{Scheme: "Bearer", Code: "invalid_token", Description: "the Authorization header is not one scheme and one token"})
	}
	owners, refusal := a.cfg.Verify(r, scheme, token)
	if refusal != nil {
		return nil, a.challenges(*refusal)
	}
	return owners, nil
}

// challenges returns one for each scheme, and the error to that which it is about.
func (a *API) challenges(refusal Refusal) []string {
	var all []string
	for _, scheme := range a.cfg.Schemes {
		name, parameters, _ := strings.Cut(scheme, " ")
		challenge := name + ` realm="fds"`
		if parameters != "" {
			challenge += ", " + parameters
		}
		if name == refusal.Scheme {
			challenge += `, error="` + refusal.Code + `", error_description="` + inQuotes(refusal.Description) + `"`
		}
		all = append(all, challenge)
	}
	return all
}

// inQuotes keeps what error_description may hold (RFC 6750 section 3).
func inQuotes(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"' || c == '\\':
			return '\''
		case c < 0x20 || c > 0x7e:
			return '?'
		}
		return c
	}, s)
}

// isToken68 checks the form of a bearer token (RFC 6750 section 2.1, b64token).
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~+/", c) >= 0:
		default:
			return false
		}
	}
	return true
}

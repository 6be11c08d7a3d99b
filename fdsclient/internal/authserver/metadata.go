package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/netpeer"
)

// Metadata is what we read of an authorization server's metadata (RFC 8414
// section 2, OpenID Connect Discovery section 3, RFC 9207 section 3). One member
// that cannot be read costs no other: it counts as missing. Endpoints stand as they
// were written, and are judged when they are used.
type Metadata struct {
	Issuer                string
	AuthorizationEndpoint string
	TokenEndpoint         string
	RevocationEndpoint    string
	JWKSURI               string
	IntrospectionEndpoint string
	DeviceEndpoint        string // RFC 8628 section 4
	PushEndpoint          string // RFC 9126 section 5
	PushRequired          bool
	AuthMethods           []string
	AuthAlgorithms        []string
	ProofAlgorithms       []string // RFC 9449 section 5.1
	ChallengeMethods      []string
	IDTokenAlgorithms     []string
	IssInResponse         bool

	aliases    map[string]any // RFC 8705 section 5
	configured bool           // the endpoints are those of the settings, and nothing was fetched
}

var metadataMembers = []string{
	"issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint", "jwks_uri", "introspection_endpoint",
	"device_authorization_endpoint", "pushed_authorization_request_endpoint", "require_pushed_authorization_requests",
	"mtls_endpoint_aliases", "token_endpoint_auth_methods_supported", "token_endpoint_auth_signing_alg_values_supported",
	"dpop_signing_alg_values_supported", "code_challenge_methods_supported", "id_token_signing_alg_values_supported",
	"authorization_response_iss_parameter_supported",
}

func readMetadata(o *object) Metadata {
	m := Metadata{
		Issuer:                o.text("issuer"),
		AuthorizationEndpoint: o.text("authorization_endpoint"),
		TokenEndpoint:         o.text("token_endpoint"),
		RevocationEndpoint:    o.text("revocation_endpoint"),
		JWKSURI:               o.text("jwks_uri"),
		IntrospectionEndpoint: o.text("introspection_endpoint"),
		DeviceEndpoint:        o.text("device_authorization_endpoint"),
		PushEndpoint:          o.text("pushed_authorization_request_endpoint"),
		PushRequired:          o.flag("require_pushed_authorization_requests"),
		AuthMethods:           o.list("token_endpoint_auth_methods_supported", ", "),
		AuthAlgorithms:        o.list("token_endpoint_auth_signing_alg_values_supported", ", "),
		ProofAlgorithms:       o.list("dpop_signing_alg_values_supported", ", "),
		ChallengeMethods:      o.list("code_challenge_methods_supported", ", "),
		IDTokenAlgorithms:     o.list("id_token_signing_alg_values_supported", ", "),
		IssInResponse:         o.flag("authorization_response_iss_parameter_supported"),
	}
	if json.Unmarshal(o.raw("mtls_endpoint_aliases"), &m.aliases) != nil {
		m.aliases = nil
	}
	return m
}

// judge says why an endpoint cannot be used. What it is used for fails then, and
// nothing else.
func (m *Metadata) judge(name, address string) error {
	why := URLFault(address, "https")
	switch {
	case address == "":
		why = "is missing"
	case why == "" && strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' }):
		// It may be shown to a person, on a terminal that obeys some of them.
		why = "holds characters that no URL has"
	case why == "" && strings.Contains(address, "#"):
		why = "must have no fragment (RFC 6749 section 3.1)"
	}
	if why == "" {
		return nil
	}
	return lasting{fmt.Errorf("fdsclient: metadata of %s: %w: %s %q %s; tell the provider, or give Provider.Endpoints", m.Issuer, fds.ErrUnavailable, name, Describe(netpeer.WithoutUser(address)), why)}
}

// metadataAge is how long fetched metadata are used before they are fetched
// again; when that fails the old ones serve on.
const metadataAge = time.Hour

// discovery fetches a provider's metadata once and keeps them.
type discovery struct {
	server *Server

	mu      sync.Mutex // guards what follows; never held over the network
	known   *Metadata
	fetched time.Time
	flight  chan struct{} // closed when the fetch under way has ended
	err     error
}

// get returns the metadata with the configured endpoints laid over them.
func (d *discovery) get(ctx context.Context) (*Metadata, error) {
	settings := d.server.settings
	if e := settings.Endpoints; e.Authorization != "" && e.Token != "" {
		return d.override(Metadata{Issuer: settings.Issuer, configured: true})
	}
	d.mu.Lock()
	if d.known != nil && time.Since(d.fetched) < metadataAge {
		defer d.mu.Unlock()
		return d.known, nil
	}
	wait := d.flight
	if wait == nil {
		wait = make(chan struct{})
		d.flight = wait
		go d.fetch(context.WithoutCancel(ctx), wait)
	}
	d.mu.Unlock()

	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("fdsclient: metadata of %s: %w", settings.Issuer, context.Cause(ctx))
	case <-wait:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known != nil {
		return d.known, nil // an old one, when the fetch has failed
	}
	return nil, d.err
}

func (d *discovery) fetch(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, authTimeout)
	defer cancel()
	found, err := d.discover(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.flight = err, nil
	if err == nil {
		d.known, d.fetched = found, time.Now()
	} else if d.known != nil {
		d.fetched = time.Now().Add(time.Minute - metadataAge) // try again in a minute
	}
	close(done)
}

// discover asks the well-known place of RFC 8414 section 3.1, then that of
// OpenID Connect Discovery section 4: whatever is wrong with what lies at the one,
// the other may be right.
func (d *discovery) discover(ctx context.Context) (*Metadata, error) {
	issuer, err := url.Parse(d.server.settings.Issuer)
	if err != nil {
		return nil, err // validated before
	}
	path := strings.TrimSuffix(issuer.EscapedPath(), "/")
	origin := issuer.Scheme + "://" + issuer.Host
	var errs []error
	standing := true // both answers
	addresses := []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	}
	for n, address := range addresses {
		found, err := d.within(ctx, len(addresses)-n, address)
		if err == nil {
			return d.override(found)
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if last, ok := err.(lasting); ok {
			err = last.error
		} else {
			standing = false
		}
		errs = append(errs, err)
	}
	if errs[0].Error() == errs[1].Error() { // the same unreachable host
		return nil, errs[0]
	}
	err = fmt.Errorf("%w; %w", errs[0], errs[1])
	if standing {
		err = lasting{err}
	}
	return nil, err
}

// lasting is what is wrong with an answer that the server gives as long as nobody changes it.
type lasting struct{ error }

func (e lasting) Unwrap() error { return e.error }

// Lasting is documented with fdsclient.Retryable.
func (e lasting) Lasting() bool { return true }

// within is read in its share of the time that is left, so that a place which returns no
// answer takes none from the other.
func (d *discovery) within(ctx context.Context, share int, address string) (Metadata, error) {
	if end, ok := ctx.Deadline(); ok {
		bounded, cancel := context.WithTimeout(ctx, time.Until(end)/time.Duration(share))
		defer cancel()
		ctx = bounded
	}
	return d.read(ctx, address)
}

func (d *discovery) read(ctx context.Context, address string) (Metadata, error) {
	var none Metadata
	settings := d.server.settings
	request, err := d.server.newRequest(ctx, http.MethodGet, address, nil)
	if err != nil {
		return none, fmt.Errorf("fdsclient: metadata: %w", err)
	}
	response, err := d.server.http.Do(request)
	if err != nil {
		return none, unavailable("metadata of "+settings.Issuer, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		err := fmt.Errorf("fdsclient: metadata at %s: %w: HTTP status %d; check the issuer, or give the endpoints", address, fds.ErrUnavailable, response.StatusCode)
		switch code := response.StatusCode; {
		case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
			return none, err
		}
		return none, lasting{err}
	}
	o := readObject(response.Body, metadataMembers...)
	found := readMetadata(&o)
	switch {
	case errors.Is(o.fault, errCut), errors.Is(o.fault, errTooLarge):
		err := fmt.Errorf("fdsclient: metadata at %s: %w: %w", address, fds.ErrUnavailable, o.fault)
		if o.fault == errCut || errors.Is(o.fault, errTooLarge) { // and not the connection that brought it
			err = lasting{err}
		}
		return none, err
	case o.fault != nil || found.Issuer == "" || found.TokenEndpoint == "" && settings.Endpoints.Token == "":
		return none, lasting{fmt.Errorf("fdsclient: metadata at %s: %w: it is not the JSON of RFC 8414 with issuer and token_endpoint; check the issuer, or give the endpoints", address, fds.ErrUnavailable)}
	case found.Issuer != settings.Issuer:
		return none, lasting{fmt.Errorf("fdsclient: metadata at %s: %w: they name %q, configured is %q", address, fds.ErrIssuer, Describe(found.Issuer), settings.Issuer)}
	}
	return found, nil
}

// override lays the configured endpoints over m and checks what no sign-in goes
// without.
func (d *discovery) override(m Metadata) (*Metadata, error) {
	settings := d.server.settings
	given := settings.Endpoints
	for _, e := range []struct {
		name, given string
		field       *string
	}{
		{"authorization_endpoint", given.Authorization, &m.AuthorizationEndpoint},
		{"token_endpoint", given.Token, &m.TokenEndpoint},
		{"revocation_endpoint", given.Revocation, &m.RevocationEndpoint},
		{"jwks_uri", given.JWKS, &m.JWKSURI},
		{"pushed_authorization_request_endpoint", given.PushedAuthorization, &m.PushEndpoint},
		{"device_authorization_endpoint", given.DeviceAuthorization, &m.DeviceEndpoint},
		{"introspection_endpoint", given.Introspection, &m.IntrospectionEndpoint},
	} {
		alias, _ := m.aliases[e.name].(string)
		switch {
		case e.given != "":
			*e.field = e.given
		case e.field == &m.AuthorizationEndpoint: // the browser's; RFC 8705 section 5 has its alias ignored
		case alias != "" && settings.Certificate != nil:
			*e.field = alias
		}
	}
	// A server that lists its methods without S256 would have PKCE off; one that
	// lists nothing may well do it (RFC 9700 section 2.1.1).
	if m.ChallengeMethods != nil && !slices.Contains(m.ChallengeMethods, "S256") {
		return nil, lasting{fmt.Errorf("fdsclient: metadata of %s: %w: the server does not offer PKCE with S256, which this SDK never goes without", settings.Issuer, fds.ErrUnavailable)}
	}
	if settings.DPoP && m.ProofAlgorithms != nil && !slices.Contains(m.ProofAlgorithms, "ES256") {
		return nil, lasting{fmt.Errorf("fdsclient: metadata of %s: %w: the server takes no DPoP proofs signed with ES256; turn Application.DPoP off", settings.Issuer, fds.ErrUnavailable)}
	}
	return &m, nil
}

package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

// Metadata is what we read of an authorization server's metadata (RFC 8414
// section 2, OpenID Connect Discovery section 3, RFC 9207 section 3).
type Metadata struct {
	Issuer                string         `json:"issuer"`
	AuthorizationEndpoint string         `json:"authorization_endpoint"`
	TokenEndpoint         string         `json:"token_endpoint"`
	RevocationEndpoint    string         `json:"revocation_endpoint"`
	JWKSURI               string         `json:"jwks_uri"`
	IntrospectionEndpoint string         `json:"introspection_endpoint"`
	DeviceEndpoint        string         `json:"device_authorization_endpoint"`         // RFC 8628 section 4
	PushEndpoint          string         `json:"pushed_authorization_request_endpoint"` // RFC 9126 section 5
	PushRequired          bool           `json:"require_pushed_authorization_requests"`
	Aliases               map[string]any `json:"mtls_endpoint_aliases"` // RFC 8705 section 5
	AuthMethods           []string       `json:"token_endpoint_auth_methods_supported"`
	AuthAlgorithms        []string       `json:"token_endpoint_auth_signing_alg_values_supported"`
	ProofAlgorithms       []string       `json:"dpop_signing_alg_values_supported"` // RFC 9449 section 5.1
	ChallengeMethods      []string       `json:"code_challenge_methods_supported"`
	IDTokenAlgorithms     []string       `json:"id_token_signing_alg_values_supported"`
	IssInResponse         bool           `json:"authorization_response_iss_parameter_supported"`
}

// metadataAge is how long fetched metadata are used before they are fetched
// again; when that fails the old ones serve on.
const metadataAge = time.Hour

// discovery fetches a provider's metadata once and keeps them.
type discovery struct {
	settings *Settings
	http     *http.Client

	mu      sync.Mutex // guards what follows; never held over the network
	known   *Metadata
	fetched time.Time
	flight  chan struct{} // closed when the fetch under way has ended
	err     error
}

// get gives the metadata with the configured endpoints laid over them.
func (d *discovery) get(ctx context.Context) (*Metadata, error) {
	if e := d.settings.Endpoints; e.Authorization != "" && e.Token != "" {
		return d.override(Metadata{Issuer: d.settings.Issuer})
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
		return nil, fmt.Errorf("fdsclient: metadata of %s: %w", d.settings.Issuer, context.Cause(ctx))
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
// OpenID Connect Discovery section 4.
func (d *discovery) discover(ctx context.Context) (*Metadata, error) {
	issuer, err := url.Parse(d.settings.Issuer)
	if err != nil {
		return nil, err // validated before
	}
	path := strings.TrimSuffix(issuer.EscapedPath(), "/")
	origin := issuer.Scheme + "://" + issuer.Host
	var errs []error
	for _, address := range []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	} {
		found, err := d.read(ctx, address)
		if err == nil {
			return d.override(found)
		}
		if errors.Is(err, fds.ErrIssuer) || ctx.Err() != nil {
			return nil, err
		}
		errs = append(errs, err)
	}
	if errs[0].Error() == errs[1].Error() { // the same unreachable host
		return nil, errs[0]
	}
	return nil, fmt.Errorf("%w; %w", errs[0], errs[1])
}

func (d *discovery) read(ctx context.Context, address string) (Metadata, error) {
	var found Metadata
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return found, fmt.Errorf("fdsclient: metadata: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := d.http.Do(request)
	if err != nil {
		return found, unavailable("metadata of "+d.settings.Issuer, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return found, fmt.Errorf("fdsclient: metadata at %s: %w: HTTP status %d; check the issuer, or give the endpoints", address, fds.ErrUnavailable, response.StatusCode)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return found, unavailable("metadata at "+address, err)
	}
	if err := json.Unmarshal(body, &found); err != nil {
		return found, fmt.Errorf("fdsclient: metadata at %s: %w: it is not the JSON of RFC 8414; check the issuer, or give the endpoints", address, fds.ErrUnavailable)
	}
	if found.Issuer != d.settings.Issuer {
		return found, fmt.Errorf("fdsclient: metadata at %s: %w: they name %q, configured is %q", address, fds.ErrIssuer, Describe(found.Issuer), d.settings.Issuer)
	}
	return found, nil
}

// override lays the configured endpoints over m and checks what is left.
func (d *discovery) override(m Metadata) (*Metadata, error) {
	given := d.settings.Endpoints
	for _, e := range []struct {
		name, given string
		field       *string
		needed      bool
	}{
		{"authorization_endpoint", given.Authorization, &m.AuthorizationEndpoint, false},
		{"token_endpoint", given.Token, &m.TokenEndpoint, true},
		{"revocation_endpoint", given.Revocation, &m.RevocationEndpoint, false},
		{"jwks_uri", given.JWKS, &m.JWKSURI, false},
		{"pushed_authorization_request_endpoint", given.PushedAuthorization, &m.PushEndpoint, d.settings.PushRequests || m.PushRequired},
		{"device_authorization_endpoint", given.DeviceAuthorization, &m.DeviceEndpoint, false},
		{"introspection_endpoint", given.Introspection, &m.IntrospectionEndpoint, false},
	} {
		alias, _ := m.Aliases[e.name].(string)
		switch {
		case e.given != "":
			*e.field = e.given
		case e.field == &m.AuthorizationEndpoint: // the browser's; RFC 8705 section 5 has its alias ignored
		case alias != "" && d.settings.Certificate != nil:
			*e.field = alias
		}
		if *e.field == "" && !e.needed {
			continue
		}
		if why := URLFault(*e.field, "https"); why != "" {
			return nil, fmt.Errorf("fdsclient: metadata of %s: %w: %s %q %s", d.settings.Issuer, fds.ErrUnavailable, e.name, Describe(WithoutUser(*e.field)), why)
		}
	}
	// A server that lists its methods without S256 would have PKCE off; one that
	// lists nothing may well do it (RFC 9700 section 2.1.1).
	if m.ChallengeMethods != nil && !slices.Contains(m.ChallengeMethods, "S256") {
		return nil, fmt.Errorf("fdsclient: metadata of %s: %w: the server does not offer PKCE with S256, which this SDK never goes without", d.settings.Issuer, fds.ErrUnavailable)
	}
	if d.settings.DPoP && m.ProofAlgorithms != nil && !slices.Contains(m.ProofAlgorithms, "ES256") {
		return nil, fmt.Errorf("fdsclient: metadata of %s: %w: the server takes no DPoP proofs signed with ES256; turn Application.DPoP off", d.settings.Issuer, fds.ErrUnavailable)
	}
	return &m, nil
}

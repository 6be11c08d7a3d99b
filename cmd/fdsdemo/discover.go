package main

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
	"time"

	"github.com/fds-sdk/fds-go/cmd/fdsdemo/internal/terminal"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

const (
	discoverTime     = 20 * time.Second // for both places
	maxMetadataBytes = 1 << 20
)

// offer is what an authorization server says of itself (RFC 8414 section 2), as far as a
// configuration depends on it.
type offer struct {
	Issuer       string   `json:"issuer"`
	TokenURL     string   `json:"token_endpoint"`
	DeviceURL    string   `json:"device_authorization_endpoint"`
	AuthMethods  []string `json:"token_endpoint_auth_methods_supported"`
	Challenges   []string `json:"code_challenge_methods_supported"`
	Scopes       []string `json:"scopes_supported"`
	GrantTypes   []string `json:"grant_types_supported"`
	discoveredAt string
}

// discover asks an issuer for its metadata, at the place of RFC 8414 section 3.1 and then at that
// of OpenID Connect Discovery section 4. Of an issuer that was typed the scheme may be missing, and
// a slash at the end may be missing or too many: the metadata's spelling holds.
func discover(ctx context.Context, typed, caFile string) (*offer, error) {
	issuer, err := issuerURL(typed)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, discoverTime)
	defer cancel()
	config := tlspolicy.ClientConfig(nil, false)
	if caFile != "" {
		if config.RootCAs, err = fdsclient.RootsFile(caFile)(ctx); err != nil {
			return nil, wrongUsage("provider.ca_file: %v", err)
		}
	}
	transport := netpeer.NewTransport(config, nil)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	origin, path := issuer.Scheme+"://"+issuer.Host, strings.TrimSuffix(issuer.EscapedPath(), "/")
	var reasons []error
	for _, at := range []string{origin + "/.well-known/oauth-authorization-server" + path, origin + path + "/.well-known/openid-configuration"} {
		found, err := readOffer(ctx, client, at)
		if err != nil {
			if !slices.ContainsFunc(reasons, func(r error) bool { return r.Error() == err.Error() }) {
				reasons = append(reasons, err)
			}
			continue
		}
		if strings.TrimSuffix(found.Issuer, "/") != strings.TrimSuffix(issuer.String(), "/") {
			return nil, fmt.Errorf("%w: the metadata at %s name the issuer %q, and %q was given; give that one if it is the provider's", fds.ErrIssuer, at, terminal.Short(found.Issuer), terminal.Short(issuer.String()))
		}
		return found, nil
	}
	return nil, fmt.Errorf("the issuer %s: %w", terminal.Short(issuer.String()), errors.Join(reasons...))
}

// issuerURL reads what was typed for an issuer.
func issuerURL(typed string) (*url.URL, error) {
	if !strings.Contains(typed, "://") {
		typed = "https://" + typed
	}
	issuer, err := url.Parse(typed)
	switch {
	case err != nil || issuer.Host == "" || issuer.User != nil:
		return nil, wrongUsage("the issuer %q is no URL; it is written as https://auth.example.com", terminal.Short(netpeer.WithoutUser(typed)))
	case issuer.Scheme != "https":
		return nil, wrongUsage("the issuer begins with https:// (W1)")
	case issuer.RawQuery != "" || issuer.Fragment != "":
		return nil, wrongUsage("the issuer has no query and no fragment (RFC 8414 section 2)")
	}
	return issuer, nil
}

func readOffer(ctx context.Context, client *http.Client, at string) (*offer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if asked := new(url.Error); errors.As(err, &asked) {
		err = asked.Err // without the URL, which is one of two
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fds.ErrUnavailable, tlspolicy.Shown(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: HTTP status %d at %s", fds.ErrUnavailable, response.StatusCode, at)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxMetadataBytes+1))
	found := &offer{discoveredAt: at}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", fds.ErrUnavailable, tlspolicy.Shown(err))
	case len(data) > maxMetadataBytes:
		return nil, fmt.Errorf("%w: more than %d bytes at %s", fds.ErrUnavailable, maxMetadataBytes, at)
	case json.Unmarshal(data, found) != nil || found.Issuer == "":
		return nil, fmt.Errorf("%w: at %s are no metadata of an authorization server", fds.ErrUnavailable, at)
	}
	return found, nil
}

// takesSecret reports whether an application with a secret may be known here; where nothing is said
// it may (RFC 8414 section 2 has client_secret_basic as the default).
func (o *offer) takesSecret() bool {
	return o == nil || o.AuthMethods == nil || o.takes(fdsclient.AuthClientSecretBasic) || o.takes(fdsclient.AuthClientSecretPost)
}

// takes reports whether the server says that applications may prove themselves by a method.
func (o *offer) takes(method fdsclient.AuthMethod) bool {
	return slices.Contains(o.AuthMethods, string(method))
}

// lacksFor says what the server does not offer to this application, though it says what it offers.
func (o *offer) lacksFor(proves bool) []string {
	var list []string
	if o == nil {
		return nil
	}
	if !proves && o.AuthMethods != nil && !o.takes(fdsclient.AuthNone) {
		list = append(list, "applications have to prove themselves, by "+terminal.Short(strings.Join(o.AuthMethods, ", "))+"; set application.client_secret_file, or a certificate or key")
	}
	if o.Challenges != nil && !slices.Contains(o.Challenges, "S256") {
		list = append(list, "it does not offer PKCE with S256, without which nobody can sign in here")
	}
	if o.Scopes != nil && !slices.Contains(o.Scopes, "offline_access") {
		list = append(list, "it does not list the scope offline_access, so that owners may have to sign in each time; application.scopes says what is asked for")
	}
	return list
}

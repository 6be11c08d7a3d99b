package conformance

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tap"
)

// webState is what the checks of the Web API and of the authorization server share.
type webState struct {
	metadata map[string]any // as the server wrote them; nil: there are none
	found    string         // where they were found
	why      string         // why there are none

	collection string // of the Web API, which the owner's token reads

	oddID error // why a sign-in or a renewal was refused for the subscription ID that it named, or nil

	signIn   *throwAwaySignIn         // the ordinary one; nil: none
	ends     []func()                 // of the clients that finish sign-ins
	renewals map[string]renewalResult // by subscription ID
}

// webChecks are those of W1 to W10 and of the pull model's error objects.
func webChecks() []*check {
	return slices.Concat(
		plainChecks(),
		tlsChecks(tlsSubject{
			requirement: "W2", name: "auth", what: "authorization server", duty: OfAuthorizationServer,
			servers: (*run).authServers, alpn: http1, say: sayHTTP,
		}),
		tlsChecks(tlsSubject{
			requirement: "W2", name: "api", what: "Web API", duty: OfProvider,
			needs: []need{needAPI}, servers: (*run).apiServers, alpn: http1, say: sayHTTP,
		}),
		metadataChecks(),
		accessChecks(),
		applicationChecks(),
		tokenChecks(),
		claimChecks(), // before what can revoke a grant
		codeFlowChecks(),
		signInChecks(),
		errorObjectChecks(),
		renewalChecks(),
		nameChecks(), // after what may bring an odd name
	)
}

// http1 is what is offered to web servers.
func http1(*run) []string { return []string{"http/1.1"} }

// closeWeb ends what the checks left open: the grants of throw-away sign-ins, too.
func (r *run) closeWeb() {
	r.endSignIn()
	for _, end := range r.web.ends {
		end()
	}
}

// sayHTTP is a request without credentials, by which a server shows that a connection is in use.
func sayHTTP(s server) string {
	return fmt.Sprintf("HEAD / HTTP/1.1\r\nHost: %s\r\nUser-Agent: fds-go-conformance\r\nConnection: close\r\n\r\n", s.url.Host)
}

// apiServers is where the Web API is.
func (r *run) apiServers() []server {
	return serversAt("Web API", OfProvider, r.config.Client.Provider.APIURL)
}

// authServers are those of the issuer and of the endpoints that the client uses.
func (r *run) authServers() []server {
	addresses := []string{r.config.Client.Provider.Issuer}
	for _, name := range []string{"token_endpoint", "authorization_endpoint", "revocation_endpoint", "jwks_uri"} {
		addresses = append(addresses, r.endpoint(name))
	}
	return serversAt("authorization server", OfAuthorizationServer, addresses...)
}

// serversAt returns one for each host and port.
func serversAt(what string, duty Duty, addresses ...string) []server {
	var list []server
	for _, address := range addresses {
		parsed, err := url.Parse(address)
		if err != nil || parsed.Scheme != "https" || parsed.Hostname() == "" {
			continue
		}
		one := server{what, parsed, duty}
		if !slices.ContainsFunc(list, func(other server) bool { return other.address() == one.address() }) {
			list = append(list, one)
		}
	}
	return list
}

// endpoint returns the URL that the client uses for an endpoint of the authorization server, by
// its name in the metadata; "" where there is none.
func (r *run) endpoint(name string) string {
	given := r.config.Client.Provider.Endpoints
	if address := map[string]string{
		"authorization_endpoint": given.Authorization, "token_endpoint": given.Token, "revocation_endpoint": given.Revocation,
		"jwks_uri": given.JWKS, "introspection_endpoint": given.Introspection,
	}[name]; address != "" {
		return address
	}
	if aliases, ok := r.web.metadata["mtls_endpoint_aliases"].(map[string]any); ok && r.config.Client.Application.Certificate != nil && name != "authorization_endpoint" {
		if alias, ok := aliases[name].(string); ok && alias != "" {
			return alias
		}
	}
	address, _ := r.web.metadata[name].(string)
	return address
}

// transport returns one as the client's own, with the application's certificate, if it has one.
// Its connections end with ctx.
func (r *run) transport(ctx context.Context) (http.RoundTripper, error) {
	config, err := r.tlsConfig(ctx, "")
	if err != nil {
		return nil, err
	}
	if source := r.config.Client.Application.Certificate; source != nil {
		certificate, err := usableCertificate(source(ctx))
		if err != nil {
			return nil, fmt.Errorf("Application.Certificate: %w", err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	return r.tapped(netpeer.NewTransport(config, r.within(ctx))), nil
}

// tapped is a transport that shows what it sends to the tools of this module, where they ask.
func (r *run) tapped(transport *http.Transport) http.RoundTripper {
	if wrap := tap.Of(r.config.Client.Hooks).Wrap; wrap != nil {
		return wrap(transport)
	}
	return transport
}

// within returns a dial whose connections end with ctx: what uses them waits for nobody then.
func (r *run) within(ctx context.Context) func(context.Context, string, string) (net.Conn, error) {
	return func(dialing context.Context, _, address string) (net.Conn, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		conn, err := r.dial(dialing, address)
		if err != nil {
			return nil, err
		}
		bound := &boundConn{Conn: conn}
		bound.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
		return bound, nil
	}
}

type boundConn struct {
	net.Conn
	stop func() bool
}

func (c *boundConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// apiURL returns a URL of the Web API, below /fds/v2/.
func (r *run) apiURL(path string) string {
	return strings.TrimSuffix(r.config.Client.Provider.APIURL, "/") + "/fds/v2/" + path
}

package conformance

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// plainChecks are W1: nothing is said without TLS.
func plainChecks() []*check {
	const requirement = "W1"
	plain := func(name, what string, duty Duty, servers func(*run) []server, needs ...need) *check {
		return &check{
			id: requirement + "-" + name + "-plain-http", requirement: requirement, duty: duty, needs: needs, negative: true, itself: true,
			rule:       fmt.Sprintf("The %s does not work over plain HTTP: it is closed, answers an error, or redirects to https.", what),
			remedy:     "Close the port for plain HTTP, or have it redirect everything to https; send Strict-Transport-Security.",
			weaknesses: []string{"CWE-319", "API8:2023"},
			probe: func(r *run, ctx context.Context, t *trial) {
				for _, one := range servers(r) {
					r.probePlain(ctx, t, one)
				}
			},
		}
	}
	return []*check{
		{
			id: "W1-auth-endpoints-https", requirement: requirement, duty: OfAuthorizationServer,
			rule:   "All endpoints that the authorization server's metadata name are https.",
			remedy: "Have the metadata name https URLs, as seen from outside of what stands before the server.", weaknesses: []string{"CWE-319"},
			probe: (*run).probeEndpoints,
		},
		plain("auth", "authorization server", OfAuthorizationServer, (*run).authServers),
		plain("api", "Web API", OfProvider, (*run).apiServers, needAPI),
	}
}

func (r *run) probeEndpoints(ctx context.Context, t *trial) {
	r.readMetadata(ctx)
	if r.web.metadata == nil {
		if e := r.config.Client.Provider.Endpoints; e.Authorization != "" && e.Token != "" {
			t.notApplicable("the configuration names the endpoints, and there are no metadata")
			return
		}
		t.error("the metadata cannot be read: %s", r.web.why)
		return
	}
	seen := 0
	var look func(under string, members map[string]any)
	look = func(under string, members map[string]any) {
		for _, name := range slices.Sorted(maps.Keys(members)) {
			switch value := members[name].(type) {
			case map[string]any:
				if name == "mtls_endpoint_aliases" {
					look(name+".", value)
				}
			case string:
				if name != "issuer" && name != "jwks_uri" && !strings.HasSuffix(name, "_endpoint") {
					continue
				}
				seen++
				if parsed, err := url.Parse(value); err != nil || parsed.Scheme != "https" || parsed.Host == "" {
					t.saw("read "+under+name+" of the metadata", "%q", cut(value))
					t.fail("%s in the metadata is no https URL", under+name)
				}
			}
		}
	}
	look("", r.web.metadata)
	t.saw("read the metadata at "+r.web.found, "%d endpoints", seen)
	t.pass()
}

// probePlain speaks plain HTTP to a server's own port and, where that is the one of https, to
// that of http.
func (r *run) probePlain(ctx context.Context, t *trial, one server) {
	control := r.shake(ctx, one.address(), one.url.Hostname(), offer{alpn: []string{"http/1.1"}, say: sayHTTP(one)})
	t.saw("ask "+one.address()+" over https", "%s", control.saw())
	if !control.reached || control.version == 0 {
		t.error("%s does not answer over https either: %v", one.address(), tlspolicy.Shown(control.err))
		return
	}
	ports := []string{one.address()}
	if one.url.Port() == "" || one.url.Port() == "443" {
		ports = append(ports, net.JoinHostPort(one.url.Hostname(), "80"))
	}
	for _, address := range ports {
		for _, path := range r.plainPaths(one) {
			a := r.plain(ctx, address, one.url.Hostname(), path)
			if (a.status == http.StatusForbidden || a.status == http.StatusMethodNotAllowed) && r.securely(ctx, one, path) == a.status {
				a.same = true
			}
			judgePlain(t, address, path, a)
			if t.outcome == Fail || a.err != nil {
				break // the others say the same
			}
		}
	}
}

// plainPaths are what a server is asked for: something that it has.
func (r *run) plainPaths(one server) []string {
	path := one.url.EscapedPath()
	if one.what == "Web API" {
		var paths []string
		for _, name := range collections {
			paths = append(paths, strings.TrimSuffix(path, "/")+"/fds/v2/"+name)
		}
		return paths
	}
	if found, err := url.Parse(r.web.found); err == nil && r.web.found != "" && (server{url: found}).address() == one.address() {
		return []string{found.EscapedPath()}
	}
	return []string{cmp.Or(path, "/.well-known/oauth-authorization-server")}
}

// securely returns the status of the same request over https; 0 where none came.
func (r *run) securely(ctx context.Context, one server, path string) int {
	way, err := r.transport(ctx)
	if err != nil {
		return 0
	}
	a := r.ask(ctx, way, http.MethodGet, "https://"+one.url.Host+path, nil, nil)
	return a.status
}

// plainAnswer is what plain HTTP brought.
type plainAnswer struct {
	status   int
	location string
	asks     bool   // for credentials
	same     bool   // it refuses as it does over https
	err      error  // nil: an answer was read
	garbled  []byte // an answer that is none of HTTP
}

// plain asks in plain HTTP. No credentials go along.
func (r *run) plain(ctx context.Context, address, host, path string) (a plainAnswer) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := r.dial(ctx, address)
	if err != nil {
		return plainAnswer{err: err}
	}
	defer func() { _ = conn.Close() }() // nothing of it is needed
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: fds-go-conformance\r\nConnection: close\r\n\r\n", path, hostHeader(address, host)); err != nil {
		return plainAnswer{err: err}
	}
	first, err := io.ReadAll(io.LimitReader(conn, askBytes))
	if len(first) == 0 {
		if err == nil {
			err = io.EOF
		}
		return plainAnswer{err: err}
	}
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(first)), nil)
	if err != nil {
		return plainAnswer{garbled: first[:min(len(first), 40)]}
	}
	_ = response.Body.Close()
	return plainAnswer{
		status: response.StatusCode, location: response.Header.Get("Location"),
		asks: response.StatusCode == http.StatusUnauthorized || response.Header.Get("Www-Authenticate") != "",
	}
}

func hostHeader(address, host string) string {
	if _, port, err := net.SplitHostPort(address); err == nil && port != "80" {
		return address
	}
	return host
}

func judgePlain(t *trial, address, path string, a plainAnswer) {
	tried := fmt.Sprintf("ask %s for %s in plain HTTP", address, path)
	switch target, err := url.Parse(a.location); {
	case timedOut(a.err):
		t.saw(tried, "no answer")
		t.pass()
	case a.err != nil:
		t.saw(tried, "%v", tlspolicy.Shown(a.err))
		t.pass()
	case a.garbled != nil:
		t.saw(tried, "no answer in HTTP: %q", a.garbled)
		t.pass()
	case a.status >= 300 && a.status < 400 && err == nil && target.Scheme == "https":
		t.saw(tried, "HTTP %d to %q", a.status, cut(a.location))
		t.pass()
	case a.status >= 300 && a.status < 400 && a.status != http.StatusNotModified:
		t.saw(tried, "HTTP %d to %q", a.status, cut(a.location))
		t.fail("%s redirects plain HTTP, and not to https", address)
	case a.status < 400:
		t.saw(tried, "HTTP %d", a.status)
		t.fail("%s answers in plain HTTP", address)
	case a.asks:
		t.saw(tried, "HTTP %d, which asks for credentials", a.status)
		t.fail("%s works in plain HTTP: it asks for a token there", address)
	case a.same:
		t.saw(tried, "HTTP %d, as over https", a.status)
		t.fail("%s works in plain HTTP: it refuses there as it does over https", address)
	default:
		t.saw(tried, "HTTP %d", a.status)
		t.pass()
	}
}

package netpeer

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
)

// proxyOf is http.ProxyFromEnvironment, which knows HTTPS_PROXY, HTTP_PROXY and NO_PROXY,
// and besides ALL_PROXY, for what those name no proxy for. It tells the request's Way.
func proxyOf(r *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(r)
	if proxy == nil && err == nil {
		proxy, err = allProxy(r.URL)
	}
	if way, ok := r.Context().Value(wayKey{}).(*Way); ok {
		way.proxy.Store(proxy)
		way.told.Store(true)
	}
	return proxy, err
}

// allProxy is the proxy that ALL_PROXY names; nil: none, or not for this URL.
func allProxy(target *url.URL) (*url.URL, error) {
	text := environment("ALL_PROXY")
	specific := environment(strings.ToUpper(target.Scheme) + "_PROXY")
	if text == "" || specific != "" || IsDirect(target, environment("NO_PROXY")) {
		return nil, nil
	}
	proxy, err := url.Parse(text)
	if err != nil || proxy.Host == "" {
		proxy, err = url.Parse("http://" + text)
	}
	if err != nil || proxy.Host == "" { // its text may hold a password
		return nil, fmt.Errorf("ALL_PROXY is no URL; write it as socks5://host:port or http://host:port")
	}
	return proxy, nil
}

// ProxySecrets returns what the environment's proxies are sent as credentials, so that no error
// repeats it.
func ProxySecrets() (secrets []string) {
	for _, name := range []string{"HTTPS_PROXY", "ALL_PROXY"} {
		text := environment(name)
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		proxy, err := url.Parse(text)
		if err != nil || proxy.User == nil {
			continue
		}
		password, _ := proxy.User.Password()
		secrets = append(secrets, password, base64.StdEncoding.EncodeToString([]byte(proxy.User.Username()+":"+password)))
	}
	return secrets
}

func environment(name string) string {
	return cmp.Or(os.Getenv(name), os.Getenv(strings.ToLower(name)))
}

// IsDirect reports whether no proxy of the environment is used for a URL: for this machine,
// and for what the exceptions of NO_PROXY name, as net/http reads them.
func IsDirect(target *url.URL, exceptions string) bool {
	host := strings.ToLower(strings.TrimSuffix(target.Hostname(), "."))
	address, _ := netip.ParseAddr(host)
	if host == "localhost" || address.Unmap().IsLoopback() {
		return true
	}
	port := portOf(target)
	for exception := range strings.SplitSeq(strings.ToLower(exceptions), ",") {
		exception = strings.TrimSpace(exception)
		if exception == "*" {
			return true
		}
		if network, err := netip.ParsePrefix(exception); err == nil {
			if network.Contains(address.Unmap()) {
				return true
			}
			continue
		}
		if name, only, err := net.SplitHostPort(exception); err == nil {
			if only != port {
				continue
			}
			exception = name
		}
		exception = strings.Trim(exception, "[]")
		if excepted, err := netip.ParseAddr(exception); err == nil {
			if excepted.Unmap() == address.Unmap() {
				return true
			}
			continue
		}
		name := strings.TrimPrefix(strings.TrimPrefix(exception, "*"), ".")
		if name != "" && (host == name && !strings.HasPrefix(exception, ".") && !strings.HasPrefix(exception, "*") || strings.HasSuffix(host, "."+name)) {
			return true
		}
	}
	return false
}

func portOf(u *url.URL) string {
	return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme])
}

type wayKey struct{}

// Way tells by which way a request went.
type Way struct {
	proxy atomic.Pointer[url.URL]
	told  atomic.Bool
}

// Follow returns a context by which a transport of this package tells the way of a request.
func Follow(ctx context.Context) (context.Context, *Way) {
	way := new(Way)
	return context.WithValue(ctx, wayKey{}, way), way
}

// Proxy returns the host and port of the proxy that was in the way, or ""; false: the
// transport was none of this package's.
func (w *Way) Proxy() (host string, told bool) { return HostOf(w.proxy.Load()), w.told.Load() }

// HostOf names a proxy by host and port, without its credentials; "" when it is nil.
func HostOf(proxy *url.URL) string {
	if proxy == nil {
		return ""
	}
	return net.JoinHostPort(proxy.Hostname(), portOf(proxy))
}

// ProxyError says that a proxy did not lead on.
type ProxyError struct {
	Proxy  string // host and port
	Status int    // HTTP
}

func (e *ProxyError) Error() string {
	text := fmt.Sprintf("the proxy %s does not lead on: HTTP %d", HostText(e.Proxy), e.Status)
	switch e.Status {
	case http.StatusProxyAuthRequired:
		return text + ": it wants a user name and a password; write them into HTTPS_PROXY, as http://user:password@host:port"
	case http.StatusForbidden:
		return text + ": whoever runs it has to allow this host and port"
	}
	return text
}

// HostText makes a host of a setting safe to show.
func HostText(host string) string {
	const most = 200
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, host[:min(len(host), most)])
}

// judgeConnect is Transport.OnProxyConnectResponse.
func judgeConnect(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &ProxyError{HostOf(proxy), answer.StatusCode}
}

// Package proxy opens connections through the proxy that the environment or the
// configuration names: HTTP CONNECT or SOCKS5. Its errors name the proxy that was in the
// way, and never its credentials.
package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/proxy"

	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// None is the setting that turns proxies off.
const None = "none"

// Check returns what is wrong with a setting: it must be "", None, or a proxy's URL.
func Check(setting string) error {
	if setting == "" || setting == None {
		return nil
	}
	_, err := parse(setting)
	return err
}

// Proxy is the way to an address.
type Proxy struct {
	url         *url.URL
	environment bool // which names it
}

// Choose returns the proxy for an address by the setting, nil for none: the one that the
// setting names, or for "" the one that HTTPS_PROXY, or else ALL_PROXY, names to addresses
// that NO_PROXY does not except. Lower-case names of the variables do as well; the
// environment is read each time, and addresses of this machine are never proxied by it.
func Choose(setting, address string) (*Proxy, error) {
	through, environment, err := choose(setting, address)
	if through == nil {
		return nil, err
	}
	return &Proxy{through, environment}, nil
}

// String is the proxy's host:port.
func (p *Proxy) String() string { return p.url.Host }

// Dial reaches an address through the proxy, which itself is reached by direct. Errors are
// *Error.
func (p *Proxy) Dial(ctx context.Context, direct netpeer.Dial, address string) (net.Conn, error) {
	return dial(ctx, p.url, direct, address)
}

// Forbids reports whether a proxy that the environment names has refused CONNECT to the
// port (403, 405). It is meant for the web then, and going round it breaks no rule of the
// network's, which would forbid the port itself; what one's own configuration names is not
// gone round.
func (p *Proxy) Forbids(err error) bool {
	var refused *Error
	return p.environment && errors.As(err, &refused) && refused.forbidden
}

// Error says what is wrong with the way through a proxy.
type Error struct {
	Proxy  string // host:port
	Reason string
	Err    error // may be nil

	forbidden bool // CONNECT to that port
}

func (e *Error) Error() string {
	text := "proxy " + e.Proxy + ": " + e.Reason
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// choose returns the proxy for an address; nil: none.
func choose(setting, address string) (through *url.URL, fromEnvironment bool, err error) {
	switch setting {
	case None:
		return nil, false, nil
	case "":
	default:
		through, err = parse(setting)
		return through, false, err
	}
	value, name := "", ""
	for _, name = range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		if value = os.Getenv(name); value != "" {
			break
		}
	}
	if value == "" {
		return nil, true, nil
	}
	if netpeer.IsDirect(&url.URL{Scheme: "https", Host: address}, cmp.Or(os.Getenv("NO_PROXY"), os.Getenv("no_proxy"))) {
		return nil, true, nil
	}
	if through, err = parse(value); err != nil {
		return nil, true, fmt.Errorf("the environment's %s: %w", name, err)
	}
	return through, true, nil
}

// ports are the default ones.
var ports = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// parse reads a proxy's URL, also one without a scheme, as curl does. It never repeats the
// text, which may hold a password.
func parse(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it is not a URL; write http://host:port, https://host:port, socks5://host:port or none")
	case u.Scheme == "socks": // as desktops write it
		u.Scheme = "socks5"
	}
	port, ok := ports[u.Scheme]
	switch {
	case !ok:
		return nil, errors.New("its scheme must be http, https, socks5 or socks5h")
	case u.Hostname() == "":
		return nil, errors.New("it names no host; write http://host:port")
	}
	u.Host = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port))
	return u, nil
}

// dial reaches an address through a proxy.
func dial(ctx context.Context, through *url.URL, direct netpeer.Dial, address string) (net.Conn, error) {
	reach := func(ctx context.Context, network, at string) (net.Conn, error) {
		conn, err := direct(ctx, network, at)
		if err != nil {
			return nil, unreached(ctx, through, err)
		}
		return conn, nil
	}
	if ports[through.Scheme] != "1080" {
		return connect(ctx, through, reach, address)
	}
	var credentials *proxy.Auth
	if through.User != nil {
		password, _ := through.User.Password()
		credentials = &proxy.Auth{User: through.User.Username(), Password: password}
	}
	dialer, err := proxy.SOCKS5("tcp", through.Host, credentials, reacher(reach))
	if err != nil {
		return nil, &Error{Proxy: through.Host, Reason: "it cannot be used", Err: tlspolicy.Shown(err)}
	}
	conn, err := dialer.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	if err == nil {
		return conn, nil
	}
	var named *Error
	if errors.As(err, &named) {
		return nil, named
	}
	return nil, refusedBySOCKS(ctx, through, address, err)
}

// reacher is a netpeer.Dial as golang.org/x/net/proxy wants it.
type reacher netpeer.Dial

func (r reacher) Dial(network, address string) (net.Conn, error) {
	return r(context.Background(), network, address)
}

func (r reacher) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return r(ctx, network, address)
}

// unreached words why there is no connection to the proxy itself.
func unreached(ctx context.Context, through *url.URL, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	e := &Error{Proxy: through.Host, Err: tlspolicy.Shown(err)}
	var dns *net.DNSError
	switch hint := tlspolicy.Explain(err); {
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Reason = "its host name does not resolve; check the proxy's setting for a typing error"
	case hint != "":
		e.Reason = "it cannot be reached: " + hint
	default:
		e.Reason = "it cannot be reached; check the proxy's setting, or turn it off for this address (NO_PROXY, or the setting none)"
	}
	return e
}

// refusedBySOCKS words what a SOCKS5 proxy answered, or did not.
func refusedBySOCKS(ctx context.Context, through *url.URL, address string, err error) error {
	e := &Error{Proxy: through.Host, Err: tlspolicy.Shown(err)}
	text := err.Error()
	switch {
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded): // its clock may be a little ahead of the context's
		e.Reason, e.Err = "it did not answer in time; check that it is a SOCKS5 proxy", context.DeadlineExceeded
		if errors.Is(ctx.Err(), context.Canceled) {
			e.Err = ctx.Err()
		}
	case strings.Contains(text, "authentication") || strings.Contains(text, "username"):
		e.Reason = "it does not let this client in; write its user name and password into the proxy's URL, socks5://user:password@host:port"
	case strings.Contains(text, "not allowed by ruleset"):
		e.Reason = "it does not allow a connection to " + address + "; ask its administrator"
	case strings.Contains(text, "unreachable"), strings.Contains(text, "connection refused"), strings.Contains(text, "TTL expired"), strings.Contains(text, "general SOCKS server failure"):
		e.Reason = "it cannot reach " + address + "; check host and port"
	default:
		e.Reason = "it does not answer as a SOCKS5 proxy does; check the proxy's setting"
	}
	return e
}

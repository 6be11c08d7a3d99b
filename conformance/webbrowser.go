package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/browser"
	"github.com/fds-sdk/fds-go/internal/loopback"
)

// codeRequest is an authorization request as the SDK makes it, whose secrets are this run's, so
// that it can be altered and its code used more than once.
type codeRequest struct {
	endpoint url.URL
	query    url.Values
	issuer   string
	verifier string
	bound    bool // the tokens are bound to a key (DPoP)
}

// newCodeRequest makes one, and a listener for its redirect, whose path has below at its end. The
// caller closes the listener, if browse does not.
func (r *run) newCodeRequest(ctx context.Context, below string) (*codeRequest, *loopback.Listener, error) {
	address, err := r.ownRequest(ctx)
	if err != nil {
		return nil, nil, err
	}
	request := &codeRequest{endpoint: *address, query: address.Query(), issuer: r.config.Client.Provider.Issuer, verifier: oauth2.GenerateVerifier()}
	if request.query.Get("request_uri") != "" || request.query.Get("redirect_uri") == "" {
		return nil, nil, errPushed
	}
	path := r.config.Client.Application.RedirectPath
	if path == "" {
		path = fdsclient.RedirectPath(request.issuer)
	}
	listener, err := loopback.Listen(ctx, r.config.Client.Application.RedirectPorts, path+below)
	if err != nil {
		return nil, nil, err
	}
	q := request.query
	q.Set("redirect_uri", listener.RedirectURI())
	q.Set("state", rand.Text())
	q.Set("code_challenge", oauth2.S256ChallengeFromVerifier(request.verifier))
	if q.Has("nonce") {
		q.Set("nonce", rand.Text())
	}
	request.bound = q.Has("dpop_jkt")
	q.Del("dpop_jkt")
	for _, secret := range []string{request.verifier, q.Get("state"), q.Get("nonce")} {
		r.secret(secret)
	}
	return request, listener, nil
}

// errAsked ends a sign-in of which the address alone was wanted.
var errAsked = errors.New("the address is known")

// ownRequest returns the address to which the SDK would send the person.
func (r *run) ownRequest(ctx context.Context) (*url.URL, error) {
	client, err := r.throwAway(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }() // it has nothing to keep
	var address string
	_, err = client.SignIn(ctx, fdsclient.SignInOptions{
		Parameters:   r.config.SignIn.Parameters,
		ShowURL:      func(shown string) { address = shown },
		ReadRedirect: func(context.Context) (string, error) { return "", errAsked },
	})
	if address == "" {
		return nil, fmt.Errorf("the SDK cannot begin a sign-in: %w", err)
	}
	return url.Parse(address)
}

// address is where the person is sent.
func (c *codeRequest) address() string {
	c.endpoint.RawQuery = c.query.Encode()
	return c.endpoint.String()
}

// attempt is the request as the SDK keeps one, to finish it by.
func (c *codeRequest) attempt() (fdsclient.Attempt, error) {
	proof := ""
	if c.bound {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return fdsclient.Attempt{}, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return fdsclient.Attempt{}, err
		}
		proof = base64.StdEncoding.EncodeToString(der)
	}
	encoded, err := json.Marshal(map[string]any{
		"version": 1, "url": c.address(), "issuer": c.issuer, "client_id": c.query.Get("client_id"), "redirect_uri": c.query.Get("redirect_uri"),
		"state": c.query.Get("state"), "verifier": c.verifier, "nonce": c.query.Get("nonce"), "proof_key": proof, "expires": time.Now().Add(fdsclient.AttemptLifetime),
	})
	if err != nil {
		return fdsclient.Attempt{}, err
	}
	return fdsclient.DecodeAttempt(encoded)
}

// closing is the page at the end of a throw-away sign-in.
var closing = loopback.Page{Status: http.StatusOK, HTML: []byte("<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>Checked</title><p>This part of the check is over. You may close this page.</p></html>")}

// browse has the person go to an address, and returns where the browser came back. It closes the
// listener.
func (r *run) browse(ctx context.Context, listener *loopback.Listener, address string) (*url.URL, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	options := r.config.SignIn
	elsewhere := options.ReadRedirect != nil
	start := listener.StartURL()
	if options.ShowURL != nil {
		shown := start
		if elsewhere {
			shown = address
		}
		options.ShowURL(shown)
	}
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		switch {
		case options.OpenBrowser != nil:
			if err := options.OpenBrowser(ctx, start); err != nil {
				cancel(fmt.Errorf("the browser did not open: %w", reason(err)))
			}
		case !elsewhere:
			_ = browser.Open(ctx, start) // the person has the address from ShowURL
		}
	}()
	came := make(chan *url.URL, 2) // by the loopback, and pasted
	if elsewhere {
		go readPasted(ctx, options, listener.RedirectURI(), came, cancel)
	}
	err := listener.Serve(ctx, loopback.Authorization{
		URL: address, Lifetime: fdsclient.AttemptLifetime,
		Redirected: func(redirect *url.URL) (loopback.Page, bool) {
			came <- redirect
			return closing, true
		},
		Refused: func(error) loopback.Page { return loopback.Page{Status: http.StatusForbidden, HTML: closing.HTML} },
	})
	cancel(nil)
	select { // the browser may want its last page
	case <-opened:
	case <-time.After(lastPage):
	}
	select {
	case redirect := <-came:
		r.secret(redirect.Query().Get("code"))
		return redirect, nil
	default:
		return nil, err
	}
}

// lastPage is how long the program that opens the browser may take to end.
const lastPage = 2 * time.Second

// readPasted reads what the person pastes until it is the redirect. Reading from a terminal ends
// for no context.
func readPasted(ctx context.Context, options *fdsclient.SignInOptions, redirectURI string, came chan<- *url.URL, end context.CancelCauseFunc) {
	for ctx.Err() == nil {
		text, err := options.ReadRedirect(ctx)
		if err != nil {
			end(err)
			return
		}
		if parsed, err := url.Parse(strings.TrimSpace(text)); err == nil && strings.HasPrefix(strings.TrimSpace(text), redirectURI) {
			came <- parsed
			end(errors.New("the redirect was pasted"))
			return
		}
	}
}

// saysNothing reports whether an error of OAuth is not about the request, but about the person, or
// the server's state.
func saysNothing(code string) bool {
	return slices.Contains([]string{
		"access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required",
		"server_error", "temporarily_unavailable", "slow_down",
	}, code)
}

// knocked is what the authorization endpoint said to a request before anybody signs in.
type knocked struct {
	refused  bool // for good: by an error to the application, or by a page that is one
	code     bool // it issued a code
	toTarget bool // it sent the browser to redirect_uri
	failed   error
	saw      string
}

// mostHops bounds the redirects that are followed at the authorization server.
const mostHops = 6

// knock asks the authorization endpoint, and follows its redirects as long as they stay there.
func (r *run) knock(ctx context.Context, request *codeRequest) knocked {
	way, err := r.transport(ctx)
	if err != nil {
		return knocked{failed: err}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return knocked{failed: err}
	}
	target := request.query.Get("redirect_uri")
	at, err := url.Parse(request.address())
	if err != nil {
		return knocked{failed: err}
	}
	for range mostHops {
		header := http.Header{"Accept": {"text/html"}}
		for _, cookie := range jar.Cookies(at) {
			header.Add("Cookie", cookie.Name+"="+cookie.Value)
		}
		a := r.ask(ctx, way, http.MethodGet, at.String(), nil, header)
		if a.status == 0 {
			return knocked{failed: fmt.Errorf("the authorization endpoint does not answer: %w", reason(a.err))}
		}
		jar.SetCookies(at, (&http.Response{Header: a.header}).Cookies())
		if a.status < 300 || a.status >= 400 {
			k := knocked{saw: fmt.Sprintf("HTTP %d, a page of %d bytes", a.status, len(a.body)), refused: a.status >= 400 && a.status < 500}
			if a.status >= 500 || a.status == http.StatusTooManyRequests {
				k.refused = false
				k.failed = fmt.Errorf("the authorization endpoint answers HTTP %d", a.status)
			}
			return k
		}
		next, err := at.Parse(a.header.Get("Location"))
		if err != nil || a.header.Get("Location") == "" {
			return knocked{failed: errors.New("the authorization endpoint redirects to what is no URL")}
		}
		if leadsTo(next, target) {
			q := next.Query()
			r.secret(q.Get("code"))
			k := knocked{toTarget: true, code: q.Get("code") != ""}
			k.refused = !k.code && q.Get("error") != "" && !saysNothing(q.Get("error"))
			k.saw = fmt.Sprintf("HTTP %d to redirect_uri with error %q", a.status, cut(r.redacted(q.Get("error"))))
			if k.code {
				k.saw = fmt.Sprintf("HTTP %d to redirect_uri with a code", a.status)
			}
			return k
		}
		if next.Scheme != at.Scheme || next.Host != at.Host {
			return knocked{saw: fmt.Sprintf("HTTP %d to %s", a.status, cut(next.Host))} // where people sign in, perhaps
		}
		at = next
	}
	return knocked{failed: errors.New("the authorization endpoint redirects without end")}
}

// leadsTo reports whether a redirect goes to a redirect URI, with whatever query.
func leadsTo(next *url.URL, redirectURI string) bool {
	target, err := url.Parse(redirectURI)
	return err == nil && next.Scheme == target.Scheme && next.Host == target.Host && next.EscapedPath() == target.EscapedPath()
}

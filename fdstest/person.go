package fdstest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// maxPage bounds what a person reads of a page, in bytes.
const maxPage = 8 << 20

// Approve plays the person at the browser: it opens the address, chooses the
// owners, by default the first on the page, approves, and follows the redirect to
// the application's listener, which must be on the loopback interface. The address
// is what the application hands to a browser: the provider's authorization URL, or
// a page of the application's own on the loopback interface, by its IP address,
// that redirects there. It is one browser, so that a cookie which that page sets
// comes back with the redirect, unless it is SameSite=Strict: to browsers a
// provider is another site. No other address is opened. Approve returns nil once
// the application has answered, whatever it said. It must not run in the goroutine
// that serves the listener.
func (p *Provider) Approve(ctx context.Context, address string, owners ...Owner) error {
	return p.decideAndDeliver(ctx, "approve", address, owners)
}

// Deny is Approve for a person who says no.
func (p *Provider) Deny(ctx context.Context, address string) error {
	return p.decideAndDeliver(ctx, "deny", address, nil)
}

// ApproveCallback approves like Approve but does not follow the redirect: it
// returns the URL that the browser would open next. It serves applications with
// an https redirect URI, and those where a person pastes the URL back. A test that
// opens the URL itself, where the application wants its start page's cookie back,
// opens that page itself too and hands over where it leads.
func (p *Provider) ApproveCallback(ctx context.Context, address string, owners ...Owner) (callbackURL string, err error) {
	return p.decide(ctx, p.newBrowser(), "approve", address, owners)
}

// DenyCallback is ApproveCallback for a person who says no.
func (p *Provider) DenyCallback(ctx context.Context, address string) (callbackURL string, err error) {
	return p.decide(ctx, p.newBrowser(), "deny", address, nil)
}

func (p *Provider) decideAndDeliver(ctx context.Context, decision, address string, owners []Owner) error {
	browser := p.newBrowser()
	callback, err := p.decide(ctx, browser, decision, address, owners)
	if err != nil {
		return err
	}
	if err := deliver(ctx, browser, callback); err != nil {
		return fmt.Errorf("fdstest: %s: follow the redirect: %w", decision, err)
	}
	return nil
}

func (p *Provider) decide(ctx context.Context, b browser, decision, address string, owners []Owner) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("fdstest: %s: %w", decision, err) }
	authorizationURL, err := p.leave(ctx, b, address)
	if err != nil {
		return fail(err)
	}
	page, err := b.open(ctx, http.MethodGet, authorizationURL, nil)
	if err != nil {
		return fail(err)
	}
	if page.location != "" {
		return page.location, nil // the server refused the request, and says so to the application
	}
	form, err := page.readForm()
	if err != nil {
		return fail(err)
	}
	if err := form.decide(decision, owners); err != nil {
		return fail(err)
	}
	page, err = b.open(ctx, http.MethodPost, p.issuer+form.action, form.values)
	switch {
	case err != nil:
		return fail(err)
	case page.location == "":
		return fail(page.problem())
	}
	return page.location, nil
}

// maxHops bounds the redirects between an application's start page and the
// provider.
const maxHops = 5

// leave follows the application's own pages, if the address is one of them, to
// the provider, and returns the provider's URL without opening it.
func (p *Provider) leave(ctx context.Context, b browser, address string) (string, error) {
	for hops := 0; ; hops++ {
		if strings.HasPrefix(address, p.issuer+"/") {
			return address, nil
		}
		if hops == maxHops {
			return "", fmt.Errorf("the application's page has not led to the provider after %d redirects", maxHops)
		}
		here, err := url.Parse(address)
		if err != nil || !onLoopback(here) {
			return "", errors.New("the address, or where the application's page leads, is neither this provider's authorization URL" +
				" nor an http page on the loopback interface (http://127.0.0.1:PORT/...)")
		}
		page, err := b.open(ctx, http.MethodGet, address, nil)
		if err != nil {
			return "", fmt.Errorf("open the application's page: %w", err)
		}
		if page.location == "" {
			return "", fmt.Errorf("the application's page answers with status %d and redirects nowhere", page.status)
		}
		next, err := here.Parse(page.location)
		if err != nil {
			return "", errors.New("the application's page redirects to what is no URL")
		}
		address = next.String()
	}
}

func onLoopback(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && u.User == nil && ip != nil && ip.IsLoopback()
}

// deliver opens the redirect as the browser does: it comes from another site, for
// all real providers are that, so cookies with SameSite=Strict stay behind (RFC
// 6265bis section 5.2).
func deliver(ctx context.Context, b browser, callback string) error {
	u, err := url.Parse(callback)
	if err != nil {
		return errors.New("the redirect is no URL")
	}
	if !onLoopback(u) {
		return fmt.Errorf("it leads to %s://%s, which is not on the loopback interface: use ApproveCallback", u.Scheme, u.Host)
	}
	b.strict = newJar()
	_, err = b.open(ctx, http.MethodGet, callback, nil)
	return err
}

// browser is one person's. It keeps cookies, trusts the provider's authority, and
// shows redirects instead of following them. It is no http.Client, whose errors
// name addresses: those hold codes and states.
type browser struct {
	jar       http.CookieJar
	strict    http.CookieJar // those with SameSite=Strict
	transport http.RoundTripper
}

func (p *Provider) newBrowser() browser {
	return browser{newJar(), newJar(), &http.Transport{
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.ca.pool()},
		DialContext:       p.dialAsBrowser,
		DisableKeepAlives: true,
	}}
}

// dialAsBrowser reaches the provider, on its network, and an application's pages, which
// are on TCP.
func (p *Provider) dialAsBrowser(ctx context.Context, network, address string) (net.Conn, error) {
	if p.network != nil && p.issuer == "https://"+address {
		return p.network.Dial(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// page is what a person sees.
type page struct {
	status   int
	body     string
	location string // of a redirect
}

func newJar() http.CookieJar {
	jar, _ := cookiejar.New(nil) // its only error is reserved
	return jar
}

func (b browser) open(ctx context.Context, method, target string, form url.Values) (page, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return page{}, errors.New("the URL is malformed")
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, cookie := range append(b.jar.Cookies(req.URL), b.strict.Cookies(req.URL)...) {
		req.AddCookie(cookie)
	}
	resp, err := b.transport.RoundTrip(req)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	for _, cookie := range resp.Cookies() {
		jar := b.jar
		if cookie.SameSite == http.SameSiteStrictMode {
			jar = b.strict
		}
		jar.SetCookies(req.URL, []*http.Cookie{cookie})
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	return page{status: resp.StatusCode, body: string(text), location: resp.Header.Get("Location")}, err
}

// The consent page is this provider's own, so its form is known well enough for
// expressions.
var (
	pageAction  = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	pageToken   = regexp.MustCompile(`<input type="hidden" name="token" value="([^"]*)"`)
	pageOwner   = regexp.MustCompile(`<input type="checkbox" name="owner" value="([^"]*)"`)
	pageProblem = regexp.MustCompile(`role="alert">([^<]*)<`)
)

type consentForm struct {
	action string
	values url.Values
	owners []string // that can be chosen
}

func (p page) readForm() (consentForm, error) {
	action, token := pageAction.FindStringSubmatch(p.body), pageToken.FindStringSubmatch(p.body)
	if p.status != http.StatusOK || action == nil || token == nil {
		return consentForm{}, p.problem()
	}
	form := consentForm{action: html.UnescapeString(action[1]), values: url.Values{"token": {html.UnescapeString(token[1])}}}
	for _, m := range pageOwner.FindAllStringSubmatch(p.body, -1) {
		form.owners = append(form.owners, html.UnescapeString(m[1]))
	}
	return form, nil
}

// decide fills the form in.
func (f consentForm) decide(decision string, owners []Owner) error {
	f.values.Set("decision", decision)
	if decision != "approve" {
		return nil
	}
	if len(owners) == 0 {
		if len(f.owners) == 0 {
			return errors.New("the page offers no owner")
		}
		f.values.Set("owner", f.owners[0])
		return nil
	}
	for _, o := range owners {
		if !slices.Contains(f.owners, o.Spelling) {
			return fmt.Errorf("the page does not offer owner %s", o.Spelling)
		}
		f.values.Add("owner", o.Spelling)
	}
	return nil
}

// problem says why the page is not what was expected.
func (p page) problem() error {
	if m := pageProblem.FindStringSubmatch(p.body); m != nil {
		return fmt.Errorf("status %d, the page says: %.300s", p.status, html.UnescapeString(m[1]))
	}
	return fmt.Errorf("status %d, and no consent page", p.status)
}

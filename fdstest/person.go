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

// Approve plays the person at the browser: it opens the authorization URL,
// chooses the owners, by default the first on the page, approves, and follows
// the redirect to the application's listener, which must be on the loopback
// interface. It returns nil once the application has answered, whatever it
// said. It must not run in the goroutine that serves the listener.
func (p *Provider) Approve(ctx context.Context, authorizationURL string, owners ...Owner) error {
	return p.decideAndDeliver(ctx, "approve", authorizationURL, owners)
}

// Deny is Approve for a person who says no.
func (p *Provider) Deny(ctx context.Context, authorizationURL string) error {
	return p.decideAndDeliver(ctx, "deny", authorizationURL, nil)
}

// ApproveCallback approves like Approve but does not follow the redirect: it
// returns the URL that the browser would open next. It serves applications with
// an https redirect URI, and those where a person pastes the URL back.
func (p *Provider) ApproveCallback(ctx context.Context, authorizationURL string, owners ...Owner) (callbackURL string, err error) {
	return p.decide(ctx, "approve", authorizationURL, owners)
}

// DenyCallback is ApproveCallback for a person who says no.
func (p *Provider) DenyCallback(ctx context.Context, authorizationURL string) (callbackURL string, err error) {
	return p.decide(ctx, "deny", authorizationURL, nil)
}

func (p *Provider) decideAndDeliver(ctx context.Context, decision, authorizationURL string, owners []Owner) error {
	callback, err := p.decide(ctx, decision, authorizationURL, owners)
	if err != nil {
		return err
	}
	if err := p.deliver(ctx, callback); err != nil {
		return fmt.Errorf("fdstest: %s: follow the redirect: %w", decision, err)
	}
	return nil
}

func (p *Provider) decide(ctx context.Context, decision, authorizationURL string, owners []Owner) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("fdstest: %s: %w", decision, withoutURL(err)) }
	if !strings.HasPrefix(authorizationURL, p.issuer+"/") {
		return fail(errors.New("the URL is not one of this provider's"))
	}
	browser := p.newBrowser()
	page, err := open(ctx, browser, http.MethodGet, authorizationURL, nil)
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
	page, err = open(ctx, browser, http.MethodPost, p.issuer+form.action, form.values)
	switch {
	case err != nil:
		return fail(err)
	case page.location == "":
		return fail(page.problem())
	}
	return page.location, nil
}

// deliver opens the redirect as a browser does.
func (p *Provider) deliver(ctx context.Context, callback string) error {
	u, err := url.Parse(callback)
	if err != nil {
		return errors.New("the redirect is no URL")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme != "http" || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("it leads to %s://%s, which is not on the loopback interface: use ApproveCallback", u.Scheme, u.Host)
	}
	_, err = open(ctx, p.newBrowser(), http.MethodGet, callback, nil)
	return withoutURL(err)
}

// withoutURL drops the URL that net/http puts into its errors: it holds the
// code and the state.
func withoutURL(err error) error {
	if detailed := new(url.Error); errors.As(err, &detailed) {
		return detailed.Err
	}
	return err
}

// newBrowser makes a browser with cookies, which trusts the provider's
// authority and shows redirects instead of following them.
func (p *Provider) newBrowser() *http.Client {
	jar, _ := cookiejar.New(nil) // its only error is reserved
	return &http.Client{
		Jar: jar,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.ca.pool()},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// page is what a person sees.
type page struct {
	status   int
	body     string
	location string // of a redirect
}

func open(ctx context.Context, browser *http.Client, method, target string, form url.Values) (page, error) {
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
	resp, err := browser.Do(req)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
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

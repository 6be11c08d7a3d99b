package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/tlspolicy"
)

// boxPage stands on every page of a provider in a box.
const boxPage = "an FDS information provider in a box"

var (
	boxToken = regexp.MustCompile(`<input type="hidden" name="token" value="([^"]*)"`)
	boxOwner = regexp.MustCompile(`<input type="checkbox" name="owner" value="([^"]*)"`)
)

// approve plays the person at the browser, who begins at the address and chooses the owners whose
// subscription IDs begin so, by default the first, for a provider in a box of another process: a
// box asks for no password. Any other provider's page is left as it is, and nothing is opened that
// is not on this machine.
func (p *program) approve(ctx context.Context, address string, as ...string) error {
	jar, err := cookiejar.New(nil) // the redirect must bring back the cookie of the first page
	if err != nil {
		return err
	}
	var roots *x509.CertPool
	if p.settings.Provider.Roots != nil {
		if roots, err = p.settings.Provider.Roots(ctx); err != nil {
			return err
		}
	}
	browser := http.Client{
		Jar:       jar,
		Transport: &http.Transport{TLSClientConfig: tlspolicy.ClientConfig(roots, false), DisableKeepAlives: true},
		CheckRedirect: func(r *http.Request, before []*http.Request) error {
			if ip := net.ParseIP(r.URL.Hostname()); ip == nil || !ip.IsLoopback() || len(before) > 5 {
				return wrongUsage("--approve is for a provider in a box on this machine; the sign-in leads to %q", r.URL.Host)
			}
			return nil
		},
	}
	open := func(method, address string, form url.Values) (*url.URL, string, error) {
		r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, "", errors.New("the sign-in leads to what is no URL")
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := browser.Do(r)
		if withURL := new(url.Error); errors.As(err, &withURL) {
			return nil, "", withURL.Err // without the URL, which holds a code or a state
		} else if err != nil {
			return nil, "", err
		}
		defer answer.Body.Close()
		page, err := io.ReadAll(io.LimitReader(answer.Body, maxBoxPage))
		return answer.Request.URL, string(page), err
	}
	at, page, err := open(http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	token, owners := boxToken.FindStringSubmatch(page), boxOwner.FindAllStringSubmatch(page, -1)
	if !strings.Contains(page, boxPage) || token == nil || len(owners) == 0 {
		return wrongUsage("--approve is for a provider in a box; at %s there is no page on which it asks for a person's consent", at.Host)
	}
	chosen := []string{html.UnescapeString(owners[0][1])}
	if len(as) > 0 {
		chosen = nil
	}
	for _, begins := range as {
		var fit []string
		for _, one := range owners {
			value := html.UnescapeString(one[1])
			if id, err := fds.ParseSubscriptionID(value); err == nil && strings.HasPrefix(id.String(), begins) {
				fit = append(fit, value)
			}
		}
		switch len(fit) {
		case 0:
			return wrongUsage("the provider in a box at %s has no owner %s", at.Host, begins)
		case 1:
			chosen = append(chosen, fit[0])
		default:
			return wrongUsage("%d owners of the provider in a box begin with %s; write more of it", len(fit), begins)
		}
	}
	end, _, err := open(http.MethodPost, at.Scheme+"://"+at.Host+"/consent", url.Values{
		"token": {html.UnescapeString(token[1])}, "owner": chosen, "decision": {"approve"},
	})
	if err == nil && end.Host == at.Host { // it has not led back to the application
		err = fmt.Errorf("the provider in a box at %s did not take the consent; begin a new sign-in", at.Host)
	}
	return err
}

const maxBoxPage = 8 << 20 // bytes

package realtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

const (
	maxPage  = 1 << 20 // bytes read of one page
	maxSteps = 30      // pages and redirects until a sign-in is over
)

// Approve plays a person who opens address (an authorization URL, an application's page on this
// machine that redirects to one, or a device grant's verification_uri_complete) in a new browser,
// signs in as one who may read the subscriptions, and consents. Cookies of the application are kept
// for Open. It returns the URL that the browser is sent to at the end, the application's redirect
// URI with code, state and iss, without opening it (see Open). For a device grant there is none,
// and it returns "".
func (o *OIDC) Approve(ctx context.Context, address string, subscriptionIDs ...string) (callbackURL string, err error) {
	if len(subscriptionIDs) == 0 {
		subscriptionIDs = o.subscriptionIDs
	}
	return o.play(ctx, address, func(values url.Values) {
		if values.Has("login") {
			values.Set("login", strings.Join(subscriptionIDs, " "))
		}
	})
}

// Deny plays a person who says no. It returns where the browser is sent to, with
// error=access_denied.
func (o *OIDC) Deny(ctx context.Context, address string) (callbackURL string, err error) {
	return o.play(ctx, address, func(values url.Values) { values.Set("abort", "yes") })
}

// Open opens callbackURL as the browser does at the end of a sign-in, with the application's
// cookies, and returns the page that the application shows there.
func (o *OIDC) Open(ctx context.Context, callbackURL string) (page string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, callbackURL, nil)
	if err != nil {
		return "", errors.New("realtest: the callback URL is not a URL")
	}
	browser := o.HTTPClient()
	browser.Jar = o.cookies
	defer browser.CloseIdleConnections()
	response, err := browser.Do(request)
	if err != nil {
		return "", fmt.Errorf("realtest: open the callback URL: %w", withoutURL(err))
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	return string(content), err
}

// play walks through the provider's pages: it follows redirects within the provider and submits
// each form, changed by fill.
func (o *OIDC) play(ctx context.Context, address string, fill func(url.Values)) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	browser := o.HTTPClient()
	browser.Jar = jar
	defer browser.CloseIdleConnections()

	current, err := url.Parse(address)
	if err != nil {
		return "", errors.New("realtest: the authorization URL is not a URL")
	}
	if current, err = o.leave(ctx, current); err != nil {
		return "", err
	}
	var form url.Values // nil for a GET
	for range maxSteps {
		if !strings.HasPrefix(current.String(), o.Issuer+"/") {
			return current.String(), nil
		}
		response, page, err := visit(ctx, browser, current, form)
		if err != nil {
			return "", fmt.Errorf("realtest: %s: %w", current.Path, err)
		}
		switch {
		case response.StatusCode >= 300 && response.StatusCode < 400:
			location, err := response.Location()
			if err != nil {
				return "", fmt.Errorf("realtest: %s: a redirect to nowhere: %w", current.Path, err)
			}
			current, form = location, nil
		case response.StatusCode != http.StatusOK:
			return "", fmt.Errorf("realtest: %s: the provider answered %d: %.200q", current.Path, response.StatusCode, page)
		default:
			action, values, found, err := firstForm(page)
			if err != nil {
				return "", fmt.Errorf("realtest: %s: %w", current.Path, err)
			}
			if !found {
				return "", nil
			}
			next, err := current.Parse(action)
			if err != nil {
				return "", fmt.Errorf("realtest: %s: a form for nowhere: %w", current.Path, err)
			}
			fill(values)
			current, form = next, values
		}
	}
	return "", fmt.Errorf("realtest: the sign-in did not end within %d steps", maxSteps)
}

// leave opens an application's page and returns where it leads; any other address is returned as it
// is.
func (o *OIDC) leave(ctx context.Context, address *url.URL) (*url.URL, error) {
	if address.Scheme != "http" {
		return address, nil
	}
	browser := o.HTTPClient()
	browser.Jar = o.cookies
	defer browser.CloseIdleConnections()
	response, page, err := visit(ctx, browser, address, nil)
	if err != nil {
		return nil, fmt.Errorf("realtest: the application's page: %w", err)
	}
	location, err := response.Location()
	if err != nil {
		return nil, fmt.Errorf("realtest: the application's page answers %d and leads nowhere: %.200q", response.StatusCode, page)
	}
	return location, nil
}

func visit(ctx context.Context, browser *http.Client, address *url.URL, form url.Values) (*http.Response, string, error) {
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, address.String(), body)
	if err != nil {
		return nil, "", withoutURL(err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := browser.Do(request)
	if err != nil {
		return nil, "", withoutURL(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	return response, string(page), err
}

// firstForm reads the fields of a page's first form.
func firstForm(page string) (action string, values url.Values, found bool, err error) {
	document, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return "", nil, false, err
	}
	for node := range document.Descendants() {
		if node.Type != html.ElementNode || node.Data != "form" {
			continue
		}
		values = url.Values{}
		for field := range node.Descendants() {
			if field.Type == html.ElementNode && (field.Data == "input" || field.Data == "button") {
				if name := attribute(field, "name"); name != "" {
					values.Set(name, attribute(field, "value"))
				}
			}
		}
		return attribute(node, "action"), values, true, nil
	}
	return "", nil, false, nil
}

func attribute(node *html.Node, name string) string {
	for _, attribute := range node.Attr {
		if attribute.Key == name {
			return attribute.Val
		}
	}
	return ""
}

// withoutURL takes the URL, which may carry a code, out of an error of net/http.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}

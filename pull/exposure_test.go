package pull_test

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/pull"
)

// token is long enough to be told from other text.
const token = "eyJhbGciOiJub25lIn0.c3VwZXItc2VjcmV0.c2lnbmF0dXJl"

func TestAttackNoErrorShowsATokenThatTheProviderEchoes(t *testing.T) {
	echo := "you sent Bearer " + token + " again: " + token
	long := strings.Repeat("x", 70) + token // cut in the middle of it
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"error object":     body(400, `{"status":400,"message":"`+echo+`"}`),
		"object in a list": body(200, `{"status":400,"message":"`+echo+`"}`),
		"escaped":          body(400, `{"status":400,"message":"\u0065`+token[1:]+`"}`),
		"problem title":    body(403, `{"title":"`+echo+`"}`, "Content-Type", "application/problem+json"),
		"problem detail":   body(403, `{"title":"no","detail":"`+echo+`"}`, "Content-Type", "application/problem+json; charset=utf-8"),
		"plain text":       body(403, echo, "Content-Type", "text/plain"),
		"cut in plain":     body(403, strings.Repeat("x", 500)+token, "Content-Type", "text/plain"),
		"request ID":       body(503, ``, "X-Request-Id", token),
		"cut request ID":   body(503, ``, "X-Correlation-Id", strings.Repeat("x", 120)+token),
		"content type":     body(200, `[]`, "Content-Type", token),
		"cut content type": body(200, `[]`, "Content-Type", long),
		"coding":           body(200, `[]`, "Content-Encoding", token),
		"redirect":         body(302, ``, "Location", "https://"+token+".evil.example/"),
		"cut redirect":     body(302, ``, "Location", "https://"+long+".evil.example/"),
		"link":             body(200, `[]`, "Link", "<https://"+token+".evil.example/>; rel=next"),
		"transport":        noAnswer(fmt.Errorf("malformed HTTP response %q", echo)),
		"cut transport":    noAnswer(fmt.Errorf("malformed HTTP response %q", strings.Repeat("x", 170)+token)),
		"body": func(r *http.Request) (*http.Response, error) {
			return stream(r, 200, failingWith{errors.New(echo)}), nil
		},
	} {
		client := offline(t, script(answer), func(c *pull.Config) { c.Authorizer = &bearer{token: token} })
		_, list := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		_, made := client.CreateTag(t.Context(), 1)
		for _, err := range []error{list, made} {
			var failed *pull.Error
			if err == nil {
				continue // to a create some of these are answers
			}
			if !errors.As(err, &failed) {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for cause := range causes(err) {
				if strings.Contains(cause.Error(), token[:8]) {
					t.Errorf("%s: below it %T shows the token: %s", name, cause, cause)
				}
			}
			for what, text := range map[string]string{"text": err.Error(), "Message": failed.Message, "Text": failed.Text, "RequestID": failed.RequestID, "Path": failed.Path} {
				if strings.Contains(strings.ToLower(text), strings.ToLower(token[:8])) {
					t.Errorf("%s: the %s shows the token: %s", name, what, text)
				}
			}
		}
		if list == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// causes are all errors that an error wraps.
func causes(err error) iter.Seq[error] {
	return func(yield func(error) bool) {
		for all := []error{err}; len(all) > 0; all = all[1:] {
			switch wrapping := all[0].(type) {
			case interface{ Unwrap() error }:
				all = append(all, wrapping.Unwrap())
			case interface{ Unwrap() []error }:
				all = append(all, wrapping.Unwrap()...)
			}
			if all[0] != nil && !yield(all[0]) {
				return
			}
		}
	}
}

// Where the next page is says the provider.
func TestAttackAnErrorNamesThePathOfItsListAndNotTheOneThatALinkNames(t *testing.T) {
	for name, test := range map[string]struct {
		link    string
		answers []func(*http.Request) (*http.Response, error) // the last one for ever
	}{
		"refused":      {"/" + token, []func(*http.Request) (*http.Response, error){body(403, "")}},
		"no answer":    {"/" + token, []func(*http.Request) (*http.Response, error){noAnswer(errLost)}},
		"cut short":    {"/" + token, []func(*http.Request) (*http.Response, error){body(200, `[{}`)}},
		"not JSON":     {"/" + token, []func(*http.Request) (*http.Response, error){body(200, `<`, "Content-Type", "text/html")}},
		"redirected":   {"/" + token, []func(*http.Request) (*http.Response, error){body(302, ``, "Location", "/"+token)}},
		"to itself":    {"/" + token, []func(*http.Request) (*http.Response, error){body(200, `[{}]`, "Link", "</"+token+">; rel=next")}},
		"a long path":  {"/" + strings.Repeat("x", 7<<10), []func(*http.Request) (*http.Response, error){body(410, "")}},
		"odd letters":  {"/%0a%1b%5b31m", []func(*http.Request) (*http.Response, error){body(410, "")}},
		"unauthorized": {"/" + token, []func(*http.Request) (*http.Response, error){body(401, "")}},
	} {
		n := 0
		first := body(200, `[{}]`, "Link", "<"+test.link+">; rel=next")
		client := offline(t, each(&n, append([]func(*http.Request) (*http.Response, error){first}, test.answers...)...), func(c *pull.Config) {
			c.BaseURL, c.Authorizer = "https://api.example.com/a%2Fb", &bearer{token: token}
		})
		got, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
		var failed *pull.Error
		if len(got) < 1 || !errors.As(err, &failed) || failed.Path != "/a/b/fds/v2/spaces" {
			t.Errorf("%s: %d items, %+v", name, len(got), failed)
		}
	}
	// The page that a Version remembers is asked for first thing.
	n := 0
	client := offline(t, each(&n, body(200, `[{},{}]`, "Link", "</"+token+">; rel=next", "ETag", `"a"`), body(200, `[{}]`, "ETag", `"b"`), body(304, ""), body(503, "")))
	var version pull.Version
	if _, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{Version: &version})); err != nil {
		t.Fatal(err)
	}
	_, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{Version: &version}))
	var failed *pull.Error
	if !errors.As(err, &failed) || failed.Path != "/fds/v2/spaces" || n != 4 {
		t.Errorf("after %d requests: %+v", n, failed)
	}
}

type failingWith struct{ err error }

func (f failingWith) Read([]byte) (int, error) { return 0, f.err }

func TestAttackWhatARefusalSaysIsBoundedAndItsTextIsNotInTheError(t *testing.T) {
	for _, test := range []struct {
		kind, body    string
		message, text string
	}{
		{"application/problem+json", `{"title":"Out of credit","detail":"30 are left","status":403}`, "Out of credit: 30 are left", ""},
		{"application/problem+json; charset=utf-8", `{"title":"Out of credit"}`, "Out of credit", ""},
		{"application/problem+json", `{"detail":"30 are left"}`, "30 are left", ""},
		{"application/problem+json", `{"title":7,"detail":null}`, "", ""},
		{"application/problem+json", `{"title":`, "", ""},
		{"application/problem+json", `[]`, "", ""},
		{"application/problem+json", `{"title":"` + strings.Repeat("t", 5000) + `"}`, strings.Repeat("t", 256), ""},
		{"text/plain; charset=utf-8", " not today \n", "", "not today"},
		{"text/plain", strings.Repeat("t", 5000), "", strings.Repeat("t", 512)},
		{"text/plain", "\xff\xfe", "", ""},
		{"text/html", "<html>", "", ""},
		{"", "text", "", ""},
		{"application/json", `{"title":"Out of credit"}`, "", ""},
	} {
		_, err := raws(offline(t, script(body(403, test.body, "Content-Type", test.kind))).Items(t.Context(), pull.Spaces, pull.Query{}))
		var failed *pull.Error
		if !errors.As(err, &failed) || failed.Message != test.message || failed.Text != test.text {
			t.Errorf("%s %.60s: %+v", test.kind, test.body, failed)
			continue
		}
		if len(err.Error()) > 700 || test.text != "" && strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), test.message) {
			t.Errorf("%s %.60s: %v", test.kind, test.body, err)
		}
	}
}

func TestAttackARefusalIsShownOnOneLine(t *testing.T) {
	const hostile = "a\r\nb\x1b[2J\u202e\x00"
	_, err := raws(offline(t, script(body(403, `{"title":"a\r\nb\u001b[2J\u202e\u0000"}`, "Content-Type", "application/problem+json"))).Items(t.Context(), pull.Spaces, pull.Query{}))
	var failed *pull.Error
	if !errors.As(err, &failed) || failed.Message != hostile || strings.ContainsAny(err.Error(), "\r\n\x1b\u202e\x00") {
		t.Errorf("%q", err)
	}
}

// A provider may log and echo the token of a request before.
func TestAttackNoErrorShowsATokenThatWasRenewedMeanwhile(t *testing.T) {
	renewed := strings.ToUpper(token)
	var asked int
	client := offline(t, each(&asked,
		body(401, ""),
		body(400, `{"status":400,"message":"not `+token+` nor `+renewed+`"}`),
	), func(c *pull.Config) {
		c.Authorizer = &bearer{token: token, renew: func(*http.Response) (string, bool, error) { return renewed, true, nil }}
	})
	_, err := raws(client.Items(t.Context(), pull.Spaces, pull.Query{}))
	var failed *pull.Error
	if !errors.As(err, &failed) || failed.Message != "not [redacted] nor [redacted]" {
		t.Errorf("%v", err)
	}
}

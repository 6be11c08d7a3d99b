package pull_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/pull"
)

// tokenOnly answers only to the token "fresh".
func tokenOnly(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer fresh" {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"status":401,"message":"unauthorized_request"}`)
		return
	}
	answer(`[{}]`)(w, r)
}

func TestA401IsRetriedOnceWithRenewedCredentials(t *testing.T) {
	a := serve(t, tokenOnly)
	a.renew = func(response *http.Response) (string, bool, error) {
		body, err := io.ReadAll(response.Body)
		if err != nil || !strings.Contains(string(body), "unauthorized_request") || response.StatusCode != 401 || response.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("the challenge is %d %q %v, %v", response.StatusCode, body, response.Header, err)
		}
		return "fresh", true, nil
	}
	items, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{}))
	if len(items) != 1 || err != nil || a.authorized != 2 || a.challenged != 1 {
		t.Fatalf("%d items, %v; authorized %d times, challenged %d times", len(items), err, a.authorized, a.challenged)
	}
}

func TestAThird401IsTheEnd(t *testing.T) {
	a := serve(t, tokenOnly)
	a.renew = func(*http.Response) (string, bool, error) { return "stale again", true, nil }
	_, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{}))
	if !isOnly(err, fds.ErrUnauthorized) || a.authorized != 3 || a.challenged != 2 {
		t.Fatalf("%v; authorized %d times, challenged %d times", err, a.authorized, a.challenged)
	}
}

// A provider that is unavailable after each challenge has the request repeated, and
// so could have the credentials renewed again and again.
func TestTheAuthorizerIsAskedTwiceHoweverOftenARequestIsRepeated(t *testing.T) {
	for name, test := range map[string]struct {
		answers    []func(*http.Request) (*http.Response, error)
		challenged int
		class      error
	}{
		"a 503 after each 401":    {[]func(*http.Request) (*http.Response, error){status(401), status(503), status(401), status(503), status(401)}, 2, fds.ErrUnauthorized},
		"both and then a success": {[]func(*http.Request) (*http.Response, error){status(401), status(503), status(401), body(200, `[]`)}, 2, nil},
		"in one attempt":          {[]func(*http.Request) (*http.Response, error){status(503), status(401), status(401), status(503), status(401)}, 2, fds.ErrUnauthorized},
	} {
		synctest.Test(t, func(t *testing.T) {
			owner := &bearer{token: secret, renew: func(*http.Response) (string, bool, error) { return "fresh", true, nil }}
			n := 0
			client := offline(t, each(&n, append(test.answers, status(401))...), retryFor(time.Hour), func(c *pull.Config) { c.Authorizer = owner })
			_, err := pull.Collect(client.Spaces(t.Context(), pull.Query{}))
			if !isOnly(err, test.class) || owner.challenged != test.challenged || n != len(test.answers) {
				t.Errorf("%s: challenged %d times in %d requests, %v", name, owner.challenged, n, err)
			}
		})
	}
}

func TestEachPageMayBeChallengedAnew(t *testing.T) {
	owner := &bearer{token: secret, renew: func(*http.Response) (string, bool, error) { return "fresh", true, nil }}
	n := 0
	client := offline(t, each(&n, status(401), status(401), body(200, `[{}]`), status(401), status(401), body(200, `[]`)), numbered,
		func(c *pull.Config) { c.Authorizer = owner })
	items, err := pull.Collect(client.Spaces(t.Context(), pull.Query{}))
	if err != nil || len(items) != 1 || owner.challenged != 4 {
		t.Fatalf("%d items, challenged %d times, %v", len(items), owner.challenged, err)
	}
}

func TestA401IsNotRetriedWhenTheAuthorizerSeesNoUse(t *testing.T) {
	a := serve(t, tokenOnly)
	_, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{}))
	if !isOnly(err, fds.ErrUnauthorized) || a.authorized != 1 || a.challenged != 1 {
		t.Fatalf("%v; authorized %d times, challenged %d times", err, a.authorized, a.challenged)
	}
	lapsed := errors.New("sign in again")
	a.renew = func(*http.Response) (string, bool, error) { return "fresh", true, lapsed }
	_, err = pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{}))
	if !errors.Is(err, fds.ErrUnauthorized) || !errors.Is(err, lapsed) || !strings.Contains(err.Error(), "sign in again") || a.authorized != 2 {
		t.Fatalf("%v; authorized %d times", err, a.authorized)
	}
}

func TestWithoutCredentialsNothingIsSent(t *testing.T) {
	asked := false
	a := serve(t, func(http.ResponseWriter, *http.Request) { asked = true })
	a.err = errors.New("sign in again")
	_, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{}))
	if !errors.Is(err, a.err) || !isOnly(err, nil) || pull.Retryable(err) || asked {
		t.Fatalf("%v; asked %v", err, asked)
	}
}

func TestAttackAnEndlessRefusalIsReadInPart(t *testing.T) {
	gone := make(chan struct{})
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		w.WriteHeader(http.StatusUnauthorized)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, `{"status":401,"message":"`+secret); err != nil {
				return
			}
		}
	})
	size := 0
	a.renew = func(response *http.Response) (string, bool, error) {
		body, err := io.ReadAll(response.Body)
		size = len(body)
		return "", false, err
	}
	_, err := inTime(t, func() ([]fds.Space, error) { return pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{})) })
	if !isOnly(err, fds.ErrUnauthorized) || strings.Contains(err.Error(), secret) || size != 64<<10 {
		t.Fatalf("%d bytes read: %v", size, err)
	}
	wait(t, gone, "the server saw the request end")
}

func TestRedirectsWithinTheOriginAreFollowedWithCredentials(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		a := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+secret || r.Method != http.MethodGet {
				t.Errorf("HTTP %d: %s %s without credentials", status, r.Method, r.URL)
			}
			switch r.URL.Path {
			case "/fds/v2/spaces":
				w.Header().Set("Location", "/a?"+r.URL.RawQuery)
			case "/a":
				w.Header().Set("Location", "https://"+strings.ToUpper(r.Host)+"/b#fragment")
			case "/b":
				w.Header().Set("Location", "c")
			case "/c":
				answer(`[{}]`)(w, r)
				return
			}
			w.WriteHeader(status)
		})
		items, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{IDs: []string{"x"}}))
		if len(items) != 1 || err != nil || a.authorized != 4 {
			t.Errorf("HTTP %d: %d items, %v, %d requests", status, len(items), err, a.authorized)
		}
	}
}

func TestAttackCredentialsLeaveTheOriginByNoRedirect(t *testing.T) {
	elsewhere, plain := traps(t)
	for _, test := range []struct{ location, want string }{
		{elsewhere.URL + "/fds/v2/spaces", elsewhere.URL},
		{strings.TrimPrefix(elsewhere.URL, "https:"), elsewhere.URL},
		{plain.URL, plain.URL},
		{"http://HOST/fds/v2/spaces", "http://"},
		{"https://localhost:PORT/", "https://localhost:"},
		{"https://127.0.0.1/", "https://127.0.0.1"},
		{"https://evil.example\x1b[31m/", "usable"},
		{"https://user:" + secret + "@HOST/", "user name"},
		{"ftp://HOST/", "ftp://"},
		{"javascript:alert(1)", "javascript:"},
		{"", "usable"},
		{"https://%zz/", "usable"},
		{"https://" + strings.Repeat("a", 4000) + "/", "https://aaaa"},
	} {
		a := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, port, _ := strings.Cut(r.Host, ":")
			location := strings.NewReplacer("HOST", r.Host, "PORT", port).Replace(test.location)
			if r.URL.Path == "/" {
				t.Errorf("%q was followed", location)
			}
			w.Header()["Location"] = []string{location}
			w.WriteHeader(http.StatusFound)
		})
		// All the servers have one certificate, so that only the rule keeps the token here.
		_, err := pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{}))
		if !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), secret) || len(err.Error()) > 500 || a.authorized != 1 {
			t.Errorf("%.80q: %v, %d requests", test.location, err, a.authorized)
		}
	}
}

func TestAttackACircleOfRedirectsEnds(t *testing.T) {
	a := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	})
	_, err := inTime(t, func() ([]fds.Space, error) { return pull.Collect(a.client(t).Spaces(t.Context(), pull.Query{})) })
	if !isOnly(err, fds.ErrAnswer) || !strings.Contains(err.Error(), "over 3 redirects") || a.authorized != 4 {
		t.Fatalf("%v, %d requests", err, a.authorized)
	}
}

func TestTheCallersContextEndsAnOperation(t *testing.T) {
	started, gone := make(chan struct{}), make(chan struct{})
	a := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	_, err := pull.Collect(a.client(t).Spaces(ctx, pull.Query{}))
	if !errors.Is(err, context.Canceled) || !isOnly(err, nil) || pull.Retryable(err) {
		t.Fatalf("%v", err)
	}
	wait(t, gone, "the server saw the request end")
}

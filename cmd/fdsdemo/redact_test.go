package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
)

func testRedactor() *redactor {
	return newRedactor("https://api.example.com/x", "", fds.Dialect{FromParameter: "from", Paging: fds.Paging{CursorParameter: "cursor"}})
}

func TestAttackNothingOfAURLIsShownThatIsNotKnown(t *testing.T) {
	for address, want := range map[string]string{
		"https://user:password@auth.example.com/a?code=c0de-of-a-user&state=st4te&grant_type=x": "https://auth.example.com/a?code=[redacted]&state=[redacted]&grant_type=x",
		"https://auth.example.com/cb#access_token=t0ken":                                        "https://auth.example.com/cb#[redacted]",
		"https://auth.example.com/a?redirect_uri=https%3A%2F%2Fapp%2F%3Fcode%3Dc0de":            "https://auth.example.com/a?redirect_uri=https%3A%2F%2Fapp%2F%3Fcode%3D%5Bredacted%5D",
		"https://auth.example.com/a?%63ode=c0de&%zz=c0de&c0de":                                  "https://auth.example.com/a?%63ode=[redacted]&[redacted]&[redacted]",
		"https://api.example.com/x/fds/v2/events?from=2026&access_token=t0ken&page=3&cursor=c":  "https://api.example.com/x/fds/v2/events?from=2026&access_token=[redacted]&page=3&cursor=c",
		"https://api.example.com/x/fds/v2x/events?from=2026":                                    "https://api.example.com/x/fds/v2x/events?from=[redacted]",
		"http://api.example.com/x/fds/v2/events?from=2026":                                      "http://api.example.com/x/fds/v2/events?from=[redacted]",
		"mailto:t0ken@example.com":                                                              "mailto:[redacted]",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := testRedactor().url(u); got != want {
			t.Errorf("%s is shown as\n%s, want\n%s", address, got, want)
		}
	}
}

func TestAttackNothingOfAHeaderIsShownThatIsNotKnown(t *testing.T) {
	base := &url.URL{Scheme: "https", Host: "api.example.com", Path: "/x/fds/v2/events"}
	for name, c := range map[string][2]string{
		"Authorization":    {"Bearer t0ken", "Bearer [redacted]"},
		"authorization":    {"t0ken secret", "[redacted]"},
		"Dpop":             {"pr00f", "[redacted]"},
		"Set-Cookie":       {"s=1", "[redacted]"},
		"Cookie":           {"s=1", "[redacted]"},
		"X-Api-Key":        {"k", "[redacted]"},
		"Location":         {"/cb?code=c0de&iss=i", "https://api.example.com/cb?code=[redacted]&iss=i"},
		"Content-Location": {"%zz", "[redacted]"},
		"Link":             {`</x/fds/v2/events?cursor=a&sig=s3cret>; rel="next"`, `<https://api.example.com/x/fds/v2/events?cursor=a&sig=[redacted]>; rel="next"`},
		"Etag":             {`"x"`, `"x"`},
	} {
		if got := testRedactor().header(name, c[0], base); got != c[1] {
			t.Errorf("%s: %s is shown as %s, want %s", name, c[0], got, c[1])
		}
	}
}

func TestAttackNothingOfTheAuthorizationServersAnswersIsShownThatIsNotKnown(t *testing.T) {
	for body, want := range map[string]string{
		`{"access_token":"t0ken","expires_in":5,"scope":"a","new":{"scope":"t0ken"},"list":["t0ken"]}`: `{"access_token":"[redacted]","expires_in":5,"scope":"a","new":"[redacted]","list":"[redacted]"}`,
		`{"error":"invalid_grant","error_description":"no","error_uri":"https://a/?code=c0de"}`:        `{"error":"invalid_grant","error_description":"no","error_uri":"https://a/?code=[redacted]"}`,
		`{"keys":[{"kty":"RSA","d":"private","n":"x"},"t0ken"],"scope":["a",{"secret":"s"}]}`:          `{"keys":[{"kty":"RSA","d":"[redacted]","n":"[redacted]"},"t0ken"],"scope":["a",{"secret":"[redacted]"}]}`,
		`"t0ken"`:                             `"[redacted]"`,
		`["t0ken"]`:                           `"[redacted]"`,
		`{"\u0073cope":"a","a_endpoint":"x"}`: `{"scope":"a","a_endpoint":"[redacted]"}`,
	} {
		if got := testRedactor().members([]byte(body), false); got != want {
			t.Errorf("%s is shown as\n%s, want\n%s", body, got, want)
		}
	}
	if got := testRedactor().members([]byte(`{"token_endpoint":"https://a/t","grant_types_supported":["a"],"secret":"s"}`), true); got != `{"token_endpoint":"https://a/t","grant_types_supported":["a"],"secret":"[redacted]"}` {
		t.Errorf("metadata: %s", got)
	}
}

func TestAttackAServerThatRepeatsWhatIsSecretShowsNothingOfIt(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "https://auth.example.com/token?sid=the-session-of-it", nil)
	r.Header.Set("Authorization", "Bearer the-access-token")
	r.Header.Set("Dpop", "the-proof-of-it")
	hidden := testRedactor().secretsOf(r)
	hidden.addForm("grant_type=refresh_token&refresh_token=the+refresh%2Ftoken")
	const jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
	said := `{"error_description":"the-session-of-it the-access-token the-proof-of-it the refresh/token the+refresh%2Ftoken ` + jwt + ` refresh_token"}`
	if got, want := hidden.without(said), `{"error_description":"`+strings.Repeat("[redacted] ", 6)+`refresh_token"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

package webhook_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/fds-sdk/fds-go/webhook"
)

func TestAttackATokenAnywhereButInOneHeaderIsRefused(t *testing.T) {
	const query = "the token stands in the query"
	asked := func(query string) func(*site) func(*http.Request) {
		return func(*site) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = query } }
	}
	header := func(value string) func(*site) func(*http.Request) {
		return func(*site) func(*http.Request) { return with("Authorization", value) }
	}
	moved := func(move func(r *http.Request, token string)) func(*site) func(*http.Request) {
		return func(*site) func(*http.Request) {
			return func(r *http.Request) {
				token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				r.Header.Del("Authorization")
				move(r, token)
			}
		}
	}
	const none, scheme = "there is no access token in the header", "has no bearer token"
	refused(t, nil, asked("a=b&access_tokens=x"), []attack{
		{name: "no token", status: 401, why: none, change: moved(func(*http.Request, string) {})},
		{name: "the token in the query alone", status: 400, why: query, change: moved(func(r *http.Request, token string) { r.URL.RawQuery = "access_token=" + token })},
		{name: "the token in the query too", status: 400, why: query, change: asked("access_token=x")},
		{name: "an empty one in the query", status: 400, why: query, change: asked("a=b&access_token")},
		{name: "in the query in capitals", status: 400, why: query, change: asked("Access_Token=x")},
		{name: "in the query, escaped", status: 400, why: query, change: asked("%61ccess%5ftoken=x")},
		{name: "in the query behind a semicolon", status: 400, why: query, change: asked("a=b;access_token=x")},
		{name: "in the query with a broken escape", status: 400, why: query, change: asked("a=%zz&access_token=%zz")},
		{name: "in a cookie", status: 401, why: none, change: moved(func(r *http.Request, token string) { r.AddCookie(&http.Cookie{Name: "access_token", Value: token}) })},
		{name: "in a header of another name", status: 401, why: none, change: moved(func(r *http.Request, token string) { r.Header.Set("X-Access-Token", token) })},
		{name: "in Proxy-Authorization", status: 401, why: none, change: moved(func(r *http.Request, token string) { r.Header.Set("Proxy-Authorization", "Bearer "+token) })},
		{name: "two headers", status: 400, why: "more than once", change: func(s *site) func(*http.Request) { return plus("Authorization", "Bearer x") }},
		{name: "the same header twice", status: 400, why: "more than once", change: func(s *site) func(*http.Request) {
			return func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }
		}},
		{name: "the scheme Basic", status: 401, why: scheme, change: header("Basic eDp5")},
		{name: "the scheme DPoP", status: 401, why: scheme, change: func(s *site) func(*http.Request) { return with("Authorization", "DPoP "+s.token(s.claims(nil), nil)) }},
		{name: "no scheme", status: 401, why: scheme, change: func(s *site) func(*http.Request) { return with("Authorization", s.token(s.claims(nil), nil)) }},
		{name: "a tab behind the scheme", status: 401, why: scheme, change: func(s *site) func(*http.Request) {
			return with("Authorization", "Bearer\t"+s.token(s.claims(nil), nil))
		}},
		{name: "the scheme alone", status: 401, why: "it is empty", change: header("Bearer")},
		{name: "spaces behind the scheme", status: 401, why: "it is empty", change: header("Bearer    ")},
		{name: "an empty header", status: 401, why: scheme, change: header("")},
	})
}

func TestAttackARequestThatIsNoDeliveryIsRefused(t *testing.T) {
	const json = "neither a JSON object nor an array"
	method := func(m string) func(*site) func(*http.Request) {
		return func(*site) func(*http.Request) { return func(r *http.Request) { r.Method = m } }
	}
	changed := func(changes ...func(*http.Request)) func(*site) func(*http.Request) {
		return func(*site) func(*http.Request) { return both(changes...) }
	}
	length := func(n int64) func(*http.Request) { return func(r *http.Request) { r.ContentLength = n } }
	attacks := []attack{
		{name: "no Content-Length", status: 411, why: "how long", change: changed(length(-1))},
		{name: "a length over MaxBody", status: 413, why: "MaxBody is 1024", change: changed(length(1025))},
		{name: "a length beyond numbers", status: 413, why: "MaxBody", change: changed(length(1 << 62))},
		{name: "a body shorter than its length", status: 400, why: "the body ended before", change: changed(length(1024))},
		{name: "an empty body", status: 400, why: json, change: changed(length(0))},
		{name: "gzip", status: 415, why: "the body is compressed", change: changed(with("Content-Encoding", "gzip"))},
		{name: "identity, and gzip", status: 415, why: "the body is compressed", change: changed(with("Content-Encoding", "identity, gzip"))},
		{name: "identity, and gzip in a second header", status: 415, why: "the body is compressed", change: changed(with("Content-Encoding", "identity"), plus("Content-Encoding", "gzip"))},
		{name: "no type", status: 415, why: "not application/json", change: changed(without("Content-Type"))},
		{name: "a form", status: 415, why: "not application/json", change: changed(with("Content-Type", "application/x-www-form-urlencoded"))},
		{name: "text", status: 415, why: "not application/json", change: changed(with("Content-Type", "text/plain"))},
		{name: "a type that ends like JSON", status: 415, why: "not application/json", change: changed(with("Content-Type", "image/x+json"))},
		{name: "a type that is none", status: 415, why: "not application/json", change: changed(with("Content-Type", "application/json; ="))},
		{name: "UTF-16", status: 415, why: "not in UTF-8", change: changed(with("Content-Type", "application/json; charset=utf-16"))},
		{name: "webhook-id twice", status: 400, why: "webhook-id", change: changed(with("Webhook-Id", "a"), plus("Webhook-Id", "b"))},
		{name: "webhook-id empty", status: 400, why: "webhook-id", change: changed(with("Webhook-Id", ""))},
		{name: "webhook-id with a space", status: 400, why: "webhook-id", change: changed(with("Webhook-Id", "a b"))},
		{name: "webhook-id with an umlaut", status: 400, why: "webhook-id", change: changed(with("Webhook-Id", "ä"))},
		{name: "webhook-id too long", status: 400, why: "webhook-id", change: changed(with("Webhook-Id", strings.Repeat("x", 257)))},
		{name: "a text", status: 400, why: json, body: `"text"`},
		{name: "a number", status: 400, why: json, body: `1`},
		{name: "null", status: 400, why: json, body: `null`},
		{name: "two objects", status: 400, why: json, body: `{"n":1}{"n":2}`},
		{name: "an object that is cut", status: 400, why: json, body: `{"n":1`},
		{name: "an array with a number", status: 400, why: json, body: `[{"n":1},2]`},
		{name: "an array with null", status: 400, why: json, body: `[{"n":1},null]`},
		{name: "an array in an array", status: 400, why: json, body: `[[{"n":1}]]`},
		{name: "something behind an array", status: 400, why: json, body: `[{"n":1}],`},
		{name: "a form that ends as JSON", status: 400, why: json, body: `access_token=x&a={"n":1}`},
		{name: "not UTF-8", status: 400, why: json, body: "{\"n\":\"\xff\xfe\"}"},
		{name: "UTF-16 without a word", status: 400, why: json, body: "\xfe\xff\x00{\x00}"},
		{name: "a line of JSON each", status: 400, why: json, body: "{\"n\":1}\n{\"n\":2}\n"},
	}
	for _, m := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post", "POST "} {
		attacks = append(attacks, attack{name: "method " + m, status: 405, why: "no POST", change: method(m)})
	}
	refused(t, func(c *webhook.Config) { c.MaxBody = 1024 }, nil, attacks)
	refused(t, nil, nil, []attack{
		{name: "over 1,000 items", status: 413, why: "over 1,000 items", body: "[" + strings.Repeat("{},", 1000) + "{}]"},
		{name: "an array in arrays, a hundred thousand deep", status: 400, why: json, body: strings.Repeat("[", 100_000)},
		{name: "an object in objects, a hundred thousand deep", status: 400, why: json, body: strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)},
	})
}

func TestAttackNoAnswerEndsASubscriptionOrLeadsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t)
		seen := map[int]bool{}
		for n, change := range []func(*http.Request){
			nothing, without("Authorization"), bearing("x"), s.of(s.other), claiming(map[string]any{"subscription_id": stranger()})(s),
			with("Content-Type", "text/plain"), func(r *http.Request) { r.ContentLength = -1 }, func(r *http.Request) { r.ContentLength = 1 << 40 },
			func(r *http.Request) { r.Method = "GET" }, func(r *http.Request) { r.TLS = nil }, func(r *http.Request) { r.URL.RawQuery = "access_token=x" },
			with("Location", "https://evil.example"), with("X-Http-Method-Override", "GET"),
		} {
			w := s.answer(fmt.Sprintf(`{"n":%d}`, n), change)
			seen[w.Code] = true
			if w.Code == http.StatusGone || w.Code/100 == 3 || w.Code/100 == 1 || w.Header().Get("Location") != "" || w.Code == http.StatusOK && w.Body.Len() > 0 {
				t.Error(n, w.Code, w.Header(), w.Body)
			}
			if w.Code == 405 && w.Header().Get("Allow") != "POST" {
				t.Error(w.Header())
			}
		}
		if len(seen) < 8 {
			t.Error("only these were tried:", seen)
		}
	})
}

package webapi_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest/internal/webapi"
	"github.com/fds-sdk/fds-go/fdstest/internal/world"
)

var lists = []world.Kind{world.Specifications, world.Statuses, world.Statistics, world.Diagnostics, world.Spaces, world.Events, world.EventSpecifications}

func TestEveryListIsTheWorldsItemsAsAnArray(t *testing.T) {
	b := newBox(t)
	for _, kind := range lists {
		want, err := b.world.Read([]fds.SubscriptionID{b.a}, kind, world.Query{})
		if err != nil || len(want) == 0 {
			t.Fatalf("%s: the world has %d, %v", kind, len(want), err)
		}
		got := b.get(t, string(kind), "a").list(t)
		if len(got) != len(want) {
			t.Errorf("%s: %d items, want %d", kind, len(got), len(want))
		}
		if kind != world.Statistics && fmt.Sprintf("%s", got) != fmt.Sprintf("%s", want) { // a statistic ends now
			t.Errorf("%s differ", kind)
		}
	}
}

func TestBytesGivenByHandReachTheClientUntouched(t *testing.T) {
	b := newBox(t)
	raw := ` {"device_id":"H1" , "n":1.0e+02,"n":-0,"e":"\u00e9\/<>" }`
	if err := b.world.AddDevice(b.a, []byte(raw)); err != nil {
		t.Fatal(err)
	}
	if got := b.get(t, "specifications?ids=H1", "a"); got.body != "["+raw+"]" {
		t.Errorf("got %q", got.body)
	}
}

func TestWithoutAValidTokenEveryPathIs401WithAChallenge(t *testing.T) {
	b := newBox(t)
	const (
		missing   = `Bearer realm="fds"`
		unknown   = `Bearer realm="fds", error="invalid_token", error_description="it is 'unknown'??"`
		malformed = `Bearer realm="fds", error="invalid_token", error_description="the Authorization header is not one scheme and one token"`
	)
	for _, c := range []struct {
		name      string
		header    []string
		challenge string
	}{
		{"none", nil, missing},
		{"unknown token", []string{"Bearer wrong"}, unknown},
		{"another scheme", []string{"Basic a"}, unknown},
		{"no token", []string{"Bearer"}, malformed},
		{"two tokens", []string{"Bearer a b"}, malformed},
		{"two headers", []string{"Bearer a", "Bearer a"}, malformed},
		{"a token of no such form", []string{`Bearer "a"`}, malformed},
	} {
		for _, path := range []string{"/fds/v2/statuses", "/fds/v2/no_such", "/elsewhere"} {
			r := b.request(t, http.MethodGet, path, "", "")
			r.Header["Authorization"] = c.header
			got := b.do(t, r)
			got.fails(t, http.StatusUnauthorized, "unauthorized_request")
			if got.Header.Get("WWW-Authenticate") != c.challenge {
				t.Errorf("%s: challenge %q, want %q", c.name, got.Header.Get("WWW-Authenticate"), c.challenge)
			}
		}
	}
	b.get(t, "statuses?access_token=a", "").fails(t, http.StatusUnauthorized, "unauthorized_request")
	r := b.request(t, http.MethodGet, "/fds/v2/spaces", "", "")
	r.Header.Set("Authorization", "bEARER  a") // a scheme has no case (RFC 9110 section 11.1)
	b.do(t, r).list(t)
}

func TestEachSchemeHasAChallengeAndTheRightOneNamesTheError(t *testing.T) {
	nonce := "first"
	api := webapi.New(webapi.Config{
		Verify: func(_ *http.Request, scheme, _ string) ([]fds.SubscriptionID, *webapi.Refusal) {
			return nil, &webapi.Refusal{Scheme: scheme, Code: "use_dpop_nonce", Description: "take the nonce"}
		},
		Schemes: []string{"Bearer", `DPoP algs="ES256"`},
		Nonce:   func() string { return nonce },
	})
	get := func(authorization string) http.Header {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/fds/v2/statuses", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		api.ServeHTTP(w, r)
		return w.Result().Header
	}
	const bearer, dpop, why = `Bearer realm="fds"`, `DPoP realm="fds", algs="ES256"`, `, error="use_dpop_nonce", error_description="take the nonce"`
	for authorization, want := range map[string][]string{"": {bearer, dpop}, "Bearer a": {bearer + why, dpop}, "DPoP a": {bearer, dpop + why}} {
		if got := get(authorization).Values("WWW-Authenticate"); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", authorization, got, want)
		}
	}
	if nonce = "second"; get("").Get("DPoP-Nonce") != nonce {
		t.Error("the answer has not the nonce of the moment")
	}
}

func TestAnAPIWithoutVerifyRefusesEveryToken(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/fds/v2/statuses", nil)
	r.Header.Set("Authorization", "Bearer a")
	webapi.New(webapi.Config{}).ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("got %d", w.Code)
	}
}

func TestWhatIsNoTokenIsNotEvenVerified(t *testing.T) {
	var asked []string
	api := webapi.New(webapi.Config{Verify: func(_ *http.Request, _, token string) ([]fds.SubscriptionID, *webapi.Refusal) {
		asked = append(asked, token)
		return nil, nil
	}})
	for header, status := range map[string]int{"Bearer aZ09-._~+/==": 200, "Bearer ": 401, "Bearer ==": 401, "Bearer a b": 401, "Bearer a,b": 401, "Bearer =a": 401} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/fds/v2/statuses", nil)
		r.Header.Set("Authorization", header)
		api.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%q: %d, want %d", header, w.Code, status)
		}
	}
	if !slices.Equal(asked, []string{"aZ09-._~+/=="}) {
		t.Errorf("verified %q", asked)
	}
}

func TestATokenShowsTheItemsOfItsSubscriptionsOnly(t *testing.T) {
	b := newBox(t)
	for _, kind := range lists {
		if kind == world.EventSpecifications {
			continue // they are everyone's
		}
		a, c, both := b.get(t, string(kind), "a").list(t), b.get(t, string(kind), "b").list(t), b.get(t, string(kind), "ab").list(t)
		if len(both) != len(a)+len(c) || len(a) == 0 {
			t.Errorf("%s: %d of A, %d of B, %d of both", kind, len(a), len(c), len(both))
		}
		for _, item := range a {
			if slices.ContainsFunc(c, func(other json.RawMessage) bool { return bytes.Equal(item, other) }) {
				t.Fatalf("%s: A and B both see %s", kind, item)
			}
		}
		if none := b.get(t, string(kind), "none").list(t); len(none) != 0 {
			t.Errorf("%s: a token of nobody sees %d", kind, len(none))
		}
	}
	foreign := deviceOf(t, b.world, b.b, "dispenser")
	if got := b.get(t, "specifications?ids="+foreign, "a").list(t); len(got) != 0 {
		t.Errorf("A asks for B's device and gets %s", got)
	}
}

func TestIDsSelectAndDatesNarrow(t *testing.T) {
	b := newBox(t)
	one, two := deviceOf(t, b.world, b.a, "dispenser"), deviceOf(t, b.world, b.a, "people_counter")
	for path, want := range map[string]int{
		"specifications?ids=" + one:                                    1,
		"specifications?ids=" + one + "," + two:                        2,
		"specifications?ids=" + one + "%2C" + one:                      1,
		"specifications?ids=unknown":                                   0,
		"event_specifications?ids=dispenser_low":                       1,
		"spaces?ids=" + one:                                            0,
		"tag?ids=unknown":                                              0,
		"statuses?from=2000-01-01T00:00:00Z&to=2000-01-02T00:00:00Z":   0,
		"statuses?to=9999-01-01T00:00:00Z&ids=" + one:                  1,
		"events?from=9999-01-01T00:00:00%2B01:00":                      0,
		"statistics?from=2000-01-01T00:00:00Z&to=2000-01-01T00:00:00Z": 8, // 4 machines' and 4 counters', of nothing
	} {
		got := b.get(t, path, "a").list(t)
		if strings.HasPrefix(path, "statistics") {
			want = len(b.get(t, "statistics", "a").list(t))
		}
		if len(got) != want {
			t.Errorf("%s: %d items, want %d", path, len(got), want)
		}
	}
}

func TestBadParametersAre400(t *testing.T) {
	b := newBox(t)
	for path, message := range map[string]string{
		"specifications?limit=1":                   "invalid_parameter",
		"specifications?from=2026-01-01T00:00:00Z": "invalid_parameter",
		"specifications?IDS=a":                     "invalid_parameter",
		"specifications?ids=a;b":                   "invalid_parameter",
		"statuses?ids=%zz":                         "invalid_parameter",
		"spaces?access_token=a":                    "invalid_parameter",
		"spaces?ids=a&ids=b":                       "duplicate_parameter",
		"events?from=x&from=x":                     "duplicate_parameter",
		"events?ids=a&ids=a&no=1":                  "invalid_parameter",
		"events?ids=":                              "invalid_parameter_value",
		"events?ids=a,,b":                          "invalid_parameter_value",
		"statuses?from=yesterday":                  "invalid_parameter_value",
		"statistics?to=2026-01-01":                 "invalid_parameter_value",
		"events?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": "invalid_parameter_value",
	} {
		b.get(t, path, "a").fails(t, http.StatusBadRequest, message)
	}
}

func TestUnknownPathsAre404AndOtherMethods405WithAllow(t *testing.T) {
	b := newBox(t)
	for _, path := range []string{"", "specification", "statuses/", "statuses/x", "/statuses", "tags", "tag/x/entities/y", "tag//entities", "tag/x/other", "tag/%zz"} {
		r := b.request(t, http.MethodGet, "/", "a", "")
		r.URL = &url.URL{Scheme: "https", Host: r.URL.Host, Opaque: "/fds/v2/" + path}
		if got := b.do(t, r); got.StatusCode != http.StatusNotFound && !strings.Contains(path, "%zz") {
			t.Errorf("%q: %s", path, got.Status)
		} else if strings.Contains(path, "%zz") && got.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s", path, got.Status) // net/http itself refuses it
		}
	}
	b.do(t, b.request(t, http.MethodGet, "/elsewhere", "a", "")).fails(t, http.StatusNotFound, "not_found")
	for _, c := range []struct{ method, path, allow string }{
		{http.MethodPost, "statuses", "GET, HEAD"},
		{http.MethodDelete, "specifications", "GET, HEAD"},
		{http.MethodOptions, "events", "GET, HEAD"},
		{http.MethodPut, "tag", "GET, HEAD, POST"},
		{http.MethodGet, "tag/x", "DELETE"},
		{http.MethodPost, "tag/x/entities", "PUT"},
	} {
		got := b.do(t, b.request(t, c.method, "/fds/v2/"+c.path, "a", ""))
		got.fails(t, http.StatusMethodNotAllowed, "method_not_allowed")
		if got.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, got.Header.Get("Allow"), c.allow)
		}
	}
}

func TestHeadAnswersAsGetWithoutABody(t *testing.T) {
	b := newBox(t)
	head := b.do(t, b.request(t, http.MethodHead, "/fds/v2/spaces", "a", ""))
	get := b.get(t, "spaces", "a")
	if head.StatusCode != http.StatusOK || head.body != "" || head.ContentLength != int64(len(get.body)) {
		t.Errorf("%s, %d bytes, Content-Length %d, want %d", head.Status, len(head.body), head.ContentLength, len(get.body))
	}
}

func TestStatisticsOfDispensersAreNotImplementedInTheFormAskedFor(t *testing.T) {
	b := newBox(t)
	dispenser, counter := deviceOf(t, b.world, b.a, "dispenser"), deviceOf(t, b.world, b.a, "people_counter")
	const object = `{"status":204,"message":"not_implemented"}`
	for _, c := range []struct {
		code, wantCode int
		body           string
	}{{0, 200, object}, {204, 204, ""}, {501, 501, object}, {200, 200, object}} {
		b.api.SetNotImplemented(c.code)
		for _, path := range []string{"statistics?ids=" + dispenser, "diagnostics?ids=" + counter} {
			if got := b.get(t, path, "a"); got.StatusCode != c.wantCode || got.body != c.body {
				t.Errorf("%s with %d: %s %s", path, c.code, got.Status, got.body)
			}
		}
	}
	if got := b.get(t, "statistics?ids="+dispenser+","+counter, "a").list(t); len(got) != 1 {
		t.Errorf("a dispenser and a counter: %s", got)
	}
}

func TestTagsAreCreatedReadFilledAndDeleted(t *testing.T) {
	b := newBox(t)
	post := func(token, body string) response {
		t.Helper()
		return b.do(t, b.request(t, http.MethodPost, "/fds/v2/tag", token, body))
	}
	created := post("ab", `{"tag_id":"a/b ü","generic":{"n":1.0}}`)
	if want := `{"tag_id":"a/b ü","generic":{"n":1.0},"entities":[]}`; created.StatusCode != http.StatusCreated || created.body != want {
		t.Fatalf("%s %s", created.Status, created.body)
	}
	location := created.Header.Get("Location")
	put := func(token, body string) response {
		t.Helper()
		return b.do(t, b.request(t, http.MethodPut, location+"/entities", token, body))
	}
	entities := fmt.Sprintf("[%q]", deviceOf(t, b.world, b.a, "dispenser"))
	if got := put("a", entities); got.StatusCode != http.StatusOK || !strings.HasSuffix(got.body, `,"entities":`+entities+"}") {
		t.Errorf("%s %s", got.Status, got.body)
	}
	if got := b.get(t, "tag?ids="+url.QueryEscape("a/b ü"), "a").list(t); len(got) != 1 || !strings.Contains(string(got[0]), entities) {
		t.Errorf("%s", got)
	}
	put("b", "[]").fails(t, http.StatusNotFound, "not_found")
	put("a", `["unknown"]`).fails(t, http.StatusBadRequest, "unknown_entity")
	put("a", `{}`).fails(t, http.StatusBadRequest, "invalid_body")
	post("a", `{"tag_id":"a/b ü","generic":{}}`).fails(t, http.StatusConflict, "tag_exists")
	post("a", `{"tag_id":`).fails(t, http.StatusBadRequest, "invalid_body")
	post("none", `{"generic":{}}`).fails(t, http.StatusForbidden, "forbidden")
	post("a", `{"generic":"`+strings.Repeat("x", webapi.MaxBody)+`"}`).fails(t, http.StatusRequestEntityTooLarge, "request_entity_too_large")
	b.do(t, b.request(t, http.MethodPost, "/fds/v2/tag?ids=x", "a", "{}")).fails(t, http.StatusBadRequest, "invalid_parameter")
	form := b.request(t, http.MethodPost, "/fds/v2/tag", "a", "{}")
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.do(t, form).fails(t, http.StatusUnsupportedMediaType, "unsupported_media_type")

	del := func(token, query string) response {
		t.Helper()
		return b.do(t, b.request(t, http.MethodDelete, location+query, token, ""))
	}
	del("b", "").fails(t, http.StatusNotFound, "not_found")
	del("a", "?x=1").fails(t, http.StatusBadRequest, "invalid_parameter")
	if got := del("a", ""); got.StatusCode != http.StatusNoContent || got.body != "" {
		t.Errorf("%s %s", got.Status, got.body)
	}
	if got := b.get(t, "tag", "ab").list(t); len(got) != 0 {
		t.Errorf("after deletion: %s", got)
	}
}

func TestTooManyTagsAreAConflict(t *testing.T) {
	b := newBox(t)
	for range world.MaxTags {
		if _, _, err := b.world.AddTag(b.a, []byte(`{"generic":{}}`)); err != nil {
			t.Fatal(err)
		}
	}
	b.do(t, b.request(t, http.MethodPost, "/fds/v2/tag", "a", `{"generic":{}}`)).fails(t, http.StatusConflict, "too_many_tags")
}

func TestDateIsTheWorldsClock(t *testing.T) {
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	w := httptest.NewRecorder()
	webapi.New(webapi.Config{World: world.New(world.Config{Now: func() time.Time { return now }})}).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/fds/v2/statuses", nil))
	if got := w.Header().Get("Date"); got != "Tue, 06 May 2031 07:08:09 GMT" {
		t.Errorf("Date %q", got)
	}
}

func TestRequestsTellsWhatArrivedAndNoTokenLeaks(t *testing.T) {
	b := newBox(t)
	r := b.request(t, http.MethodGet, "/fds/v2/spaces?ids=x", "a", "")
	r.Header.Set("X-Extra", "1")
	b.do(t, r)
	b.get(t, "tag/x?access_token=secretsecret&Access_Token=secretsecret", "secretsecret")
	got := b.api.Requests()
	if len(got) != 2 {
		t.Fatalf("%d requests", len(got))
	}
	first := got[0]
	if first.Method != http.MethodGet || first.Path != "/fds/v2/spaces" || first.Query != "ids=x" || !first.Authorization ||
		first.Status != http.StatusOK || !slices.Equal(first.Owners, []fds.SubscriptionID{b.a}) || first.At.IsZero() ||
		!slices.Contains(first.HeaderNames, "X-Extra") || !slices.IsSorted(first.HeaderNames) {
		t.Errorf("%+v", first)
	}
	if second := got[1]; second.Status != http.StatusUnauthorized || second.Owners != nil {
		t.Errorf("%+v", second)
	}
	b.server.Close() // the log is written by then
	if text := fmt.Sprintf("%+v", got) + b.log.String(); strings.Contains(text, "secretsecret") || !strings.Contains(text, "/fds/v2/spaces") {
		t.Errorf("%s", text)
	}
}

func TestTheRecordIsBounded(t *testing.T) {
	api := webapi.New(webapi.Config{})
	for i := range webapi.MaxRequests + 3 {
		api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, fmt.Sprintf("/%d", i), nil))
	}
	if got := api.Requests(); len(got) != webapi.MaxRequests || got[0].Path != "/3" {
		t.Errorf("%d requests, the first %s", len(got), got[0].Path)
	}
}

func TestTheServerRefusesTLS11(t *testing.T) {
	b := newBox(t)
	roots := b.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	dial := func(version uint16) error {
		conn, err := tls.Dial("tcp", b.server.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: version, MaxVersion: version})
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	if err := dial(tls.VersionTLS12); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	}
	if dial(tls.VersionTLS11) == nil {
		t.Error("TLS 1.1 was taken")
	}
}

package authserver

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
)

const issuer = "https://auth.example"

// document are metadata of issuer, with more members, each with a comma before it.
func document(more string) string {
	return `{"issuer":"` + issuer + `","authorization_endpoint":"` + issuer + `/a","token_endpoint":"` + issuer + `/t"` + more + `}`
}

// places is a server with something else at each of the two places of metadata.
func places(oauth, openid scriptedAnswer) http.RoundTripper {
	return answering(func(r *http.Request) (int, string) {
		a := openid
		if strings.Contains(r.URL.Path, "oauth-authorization-server") {
			a = oauth
		}
		if a.status == 0 {
			a.status = http.StatusOK
		}
		return a.status, a.text
	})
}

func discovering(transport http.RoundTripper, settings Settings) *Server {
	settings.Issuer, settings.ClientID, settings.Transport = issuer, "app", transport
	settings.Refused = func(r Refusal) error { return publicRefusal{r} }
	return New(settings)
}

func TestWhateverLiesAtTheOnePlaceOfMetadataTheOtherMayBeRight(t *testing.T) {
	for name, first := range map[string]scriptedAnswer{
		"nothing":            {status: 404},
		"an empty object":    {text: `{}`},
		"another issuer's":   {text: strings.ReplaceAll(document(""), issuer, "https://other.example")},
		"a page":             {text: "<html>Welcome"},
		"an error":           {status: 500, text: `{"error":"x"}`},
		"one that is cut":    {text: document("")[:40]},
		"one without tokens": {text: `{"issuer":"` + issuer + `"}`},
		"a list":             {text: `[` + document("") + `]`},
		"two issuers":        {text: document(`,"issuer":"https://other.example"`)},
		"without end":        {text: document(`,"x":"` + strings.Repeat("x", maxAnswer) + `"`)},
	} {
		m, err := discovering(places(first, scriptedAnswer{text: document("")}), Settings{}).Metadata(t.Context())
		if err != nil || m.TokenEndpoint != issuer+"/t" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		_, err = discovering(places(first, scriptedAnswer{status: 404}), Settings{}).Metadata(t.Context())
		if err == nil || !strings.Contains(err.Error(), "HTTP status 404") || name != "nothing" && !strings.Contains(err.Error(), "oauth-authorization-server") {
			t.Errorf("%s and nothing: %v", name, err)
		}
		if errors.Is(err, fds.ErrIssuer) != (name == "another issuer's") {
			t.Errorf("%s and nothing: %v", name, err)
		}
	}
}

func TestOnlyWhatNoTimeHealsIsLasting(t *testing.T) {
	down, none, page := scriptedAnswer{status: 503}, scriptedAnswer{status: 404}, scriptedAnswer{text: "<html>"}
	for _, c := range []struct {
		oauth, openid scriptedAnswer
		lasting       bool
	}{
		{none, none, true}, {none, page, true}, {scriptedAnswer{status: 302}, none, true}, {scriptedAnswer{text: document("")[:40]}, none, true},
		{scriptedAnswer{text: strings.ReplaceAll(document(""), issuer, "https://other.example")}, none, true},
		{down, none, false}, {none, down, false}, {scriptedAnswer{status: 429}, none, false}, {page, scriptedAnswer{status: 408}, false},
	} {
		_, err := discovering(places(c.oauth, c.openid), Settings{}).Metadata(t.Context())
		var last interface{ Lasting() bool }
		if got := errors.As(err, &last) && last.Lasting(); err == nil || got != c.lasting || !strings.Contains(err.Error(), "openid-configuration") {
			t.Errorf("%+v and %+v: lasting %v: %v", c.oauth, c.openid, got, err)
		}
	}
	_, err := discovering(places(scriptedAnswer{text: document(`,"code_challenge_methods_supported":["plain"]`)}, none), Settings{}).Metadata(t.Context())
	if last := (lasting{}); !errors.As(err, &last) {
		t.Errorf("without PKCE: %v", err)
	}
}

func TestOneOddMemberCostsNoMetadata(t *testing.T) {
	for name, c := range map[string]struct {
		document string
		check    func(*Metadata) bool
	}{
		"a flag as a text":       {document(`,"require_pushed_authorization_requests":"true"`), func(m *Metadata) bool { return m.PushRequired }},
		"a flag that is none":    {document(`,"require_pushed_authorization_requests":[1]`), func(m *Metadata) bool { return !m.PushRequired }},
		"a list as a text":       {document(`,"token_endpoint_auth_methods_supported":"client_secret_post"`), func(m *Metadata) bool { return len(m.AuthMethods) == 1 }},
		"a list that is none":    {document(`,"token_endpoint_auth_methods_supported":{"a":1}`), func(m *Metadata) bool { return m.AuthMethods == nil }},
		"a list with others":     {document(`,"code_challenge_methods_supported":["S256",7,null]`), func(m *Metadata) bool { return len(m.ChallengeMethods) == 1 }},
		"an endpoint that is 7":  {document(`,"revocation_endpoint":7`), func(m *Metadata) bool { return m.RevocationEndpoint == "" }},
		"aliases that are none":  {document(`,"mtls_endpoint_aliases":"x"`), func(m *Metadata) bool { return m.aliases == nil }},
		"an endpoint without s":  {document(`,"revocation_endpoint":"http://auth.example/r"`), func(m *Metadata) bool { return true }},
		"a relative endpoint":    {document(`,"introspection_endpoint":"/i"`), func(m *Metadata) bool { return true }},
		"a key set in a sewer":   {document(`,"jwks_uri":"\u009b2J"`), func(m *Metadata) bool { return true }},
		"a byte order mark":      {"\xef\xbb\xbf\r\n" + document(""), func(m *Metadata) bool { return true }},
		"a member without sense": {document(`,"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000)), func(m *Metadata) bool { return true }},
	} {
		m, err := discovering(places(scriptedAnswer{text: c.document}, scriptedAnswer{status: 404}), Settings{}).Metadata(t.Context())
		if err != nil || m.TokenEndpoint != issuer+"/t" || !c.check(m) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// TestAttackAnEndpointIsJudgedWhenItIsUsed: the one for the browser is shown to a
// person, on a terminal that would obey it; the others get codes and tokens.
func TestAttackAnEndpointIsJudgedWhenItIsUsed(t *testing.T) {
	for _, bad := range []string{`http://auth.example/x`, `/x`, `https:///x`, `https://auth.example@evil.example/x`, `https://auth.example/\u009b2J`, `https://auth.example/\u202ex`, `https://auth.example/ x`, `https://\u0430uth.example/`, `https://auth.example/x#y`, `javascript:alert(1)`, ``} {
		refused := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, fds.ErrUnavailable) || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s at %s: %v", what, bad, err)
			}
		}
		asked := 0
		with := func(endpoint string) (*Server, *Metadata) {
			text := document("")
			if before := `"` + endpoint + `":"` + issuer; strings.Contains(text, before) {
				text = strings.Replace(text, before+map[string]string{"authorization_endpoint": "/a", "token_endpoint": "/t"}[endpoint], `"`+endpoint+`":"`+bad, 1)
			} else {
				text = document(`,"` + endpoint + `":"` + bad + `"`)
			}
			s := discovering(answering(func(r *http.Request) (int, string) {
				if !strings.Contains(r.URL.Path, "well-known") {
					asked++
				}
				return http.StatusOK, text
			}), Settings{})
			m, err := s.Metadata(t.Context())
			if err != nil {
				if bad != "" || endpoint != "token_endpoint" {
					t.Fatalf("%s at %s: %v", endpoint, bad, err)
				}
				return s, nil
			}
			return s, m
		}
		for _, endpoint := range []string{"authorization_endpoint", "token_endpoint"} {
			if s, m := with(endpoint); m != nil {
				_, err := s.NewAttempt(t.Context(), m, "https://app.example/callback", nil)
				refused("a sign-in", err)
			}
		}
		s, m := with("token_endpoint")
		_, err := s.Refresh(t.Context(), fds.NewSecret("r"), nil)
		refused("a renewal", err)
		if m != nil {
			m.DeviceEndpoint = issuer + "/d"
			_, err = s.DeviceCode(t.Context(), m)
			refused("a device sign-in", err)
		}
		if s, m = with("device_authorization_endpoint"); m != nil {
			if _, err = s.DeviceCode(t.Context(), m); bad != "" || !errors.Is(err, fds.ErrConfig) { // none is a matter of configuration
				refused("a device sign-in", err)
			}
		}
		if s, m = with("pushed_authorization_request_endpoint"); m != nil {
			_, err = s.push(t.Context(), m, nil)
			refused("a pushed request", err)
		}
		if bad != "" {
			s, _ = with("revocation_endpoint")
			refused("a revocation", s.Revoke(t.Context(), fds.NewSecret("r"), "refresh_token"))
			s, m = with("introspection_endpoint")
			_, _, err = s.introspect(t.Context(), m, fds.NewSecret("a"))
			refused("introspection", err)
			if _, err := s.NewAttempt(t.Context(), m, "https://app.example/callback", nil); err != nil {
				t.Errorf("an endpoint that is not used costs the sign-in: %v", err)
			}
		}
		if asked > 0 {
			t.Errorf("%s: %d requests were sent", bad, asked)
		}
	}
}

func TestAttackWhatASignInRestsOnIsNotReadLeniently(t *testing.T) {
	for _, text := range []string{`,"code_challenge_methods_supported":["plain"]`, `,"code_challenge_methods_supported":"plain"`, `,"code_challenge_methods_supported":[]`, `,"dpop_signing_alg_values_supported":"RS256"`} {
		_, err := discovering(places(scriptedAnswer{text: document(text)}, scriptedAnswer{status: 404}), Settings{DPoP: true}).Metadata(t.Context())
		if !errors.Is(err, fds.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "256") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAPlaceOfMetadataThatGivesNoAnswerTakesNoTimeFromTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		right := places(scriptedAnswer{}, scriptedAnswer{text: document("")})
		m, err := discovering(roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "oauth-authorization-server") {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return right.RoundTrip(r)
		}), Settings{}).Metadata(t.Context())
		if err != nil || m.TokenEndpoint != issuer+"/t" {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

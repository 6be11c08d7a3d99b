package fdsclient

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/tokenstore"
)

// at gives a Client whose authorization server is in memory, all endpoints below
// https://auth.example.
func at(t *testing.T, server http.RoundTripper, application Application) *Client {
	t.Helper()
	const base = "https://auth.example"
	application.ClientID = "app"
	client, err := New(Config{
		Provider: Provider{
			Issuer: base,
			APIURL: base,
			Endpoints: Endpoints{
				Authorization: base + "/a", Token: base + "/t", Revocation: base + "/r", PushedAuthorization: base + "/p",
				DeviceAuthorization: base + "/d", Introspection: base + "/i",
			},
		},
		Application: application,
		Store:       tokenstore.OpenMemory(),
		State:       &MemoryState{},
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	client.auth.http.Transport = server
	t.Cleanup(func() { client.Close() })
	return client
}

func TestWhatIsShownOfADeviceSignInHoldsNothingThatATerminalObeys(t *testing.T) {
	for name, change := range map[string]map[string]any{
		"an escape in the code":        {"user_code": "\x1b[2J"},
		"a C1 control in the code":     {"user_code": "AB\u009b2J"},
		"a turn of the text":           {"user_code": "AB\u202eCD"},
		"a C1 control in the address":  {"verification_uri": "https://auth.example/\u009b2J"},
		"a turn in the address":        {"verification_uri": "https://auth.example/\u202e"},
		"a sentence for an address":    {"verification_uri": "https://auth.example/ or call 555"},
		"letters that look alike":      {"verification_uri": "https://\u0430uth.example/"},
		"a sentence as the whole":      {"verification_uri_complete": "https://auth.example/ or call 555"},
		"no TLS":                       {"verification_uri": "http://auth.example/"},
		"a program for an address":     {"verification_uri_complete": "file:///etc/passwd"},
		"an address without measure":   {"verification_uri": "https://auth.example/" + strings.Repeat("x", 4000)},
		"a code without measure":       {"user_code": strings.Repeat("x", 4000)},
		"a password in the address":    {"verification_uri": "https://auth.example@evil.example/"},
		"no address":                   {"verification_uri": ""},
		"no code":                      {"user_code": ""},
		"a number of the wrong type":   {"expires_in": "soon"},
		"an address of the wrong type": {"verification_uri": 7},
	} {
		object := map[string]any{"device_code": "the device code", "user_code": "ABCD-EFGH", "verification_uri": "https://auth.example/device", "expires_in": 60}
		for k, v := range change {
			object[k] = v
		}
		body, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		client := at(t, answering(func(*http.Request) (int, string) { return http.StatusOK, string(body) }), Application{})
		_, err = client.SignInDevice(t.Context(), func(code DeviceCode) { t.Errorf("%s: shown %+v", name, code) })
		if err == nil || !errors.Is(err, ErrUnavailable) || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(err.Error(), "the device code") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// deviceServer answers polls by its script, then with a token.
type deviceServer struct {
	device string
	script []deviceAnswer
	polls  []time.Time
}

type deviceAnswer struct {
	status     int
	body       string
	retryAfter string
}

func (s *deviceServer) RoundTrip(r *http.Request) (*http.Response, error) {
	respond := func(a deviceAnswer) (*http.Response, error) {
		header := http.Header{"Content-Type": {"application/json"}}
		if a.retryAfter != "" {
			header.Set("Retry-After", a.retryAfter)
		}
		return &http.Response{StatusCode: a.status, Header: header, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
	}
	if r.URL.Path == "/d" {
		return respond(deviceAnswer{status: http.StatusOK, body: s.device})
	}
	s.polls = append(s.polls, time.Now())
	if n := len(s.polls); n <= len(s.script) {
		return respond(s.script[n-1])
	}
	return respond(deviceAnswer{status: http.StatusOK, body: `{"access_token":"a","refresh_token":"r","token_type":"Bearer","expires_in":3600,"subscription_id":"9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"}`})
}

func TestADeviceIsPolledAsTheServerAsks(t *testing.T) {
	pending := deviceAnswer{status: http.StatusBadRequest, body: `{"error":"authorization_pending"}`}
	slow := deviceAnswer{status: http.StatusBadRequest, body: `{"error":"slow_down"}`}
	down := deviceAnswer{status: http.StatusServiceUnavailable}
	busy := deviceAnswer{status: http.StatusServiceUnavailable, retryAfter: "300"}
	for name, c := range map[string]struct {
		interval string
		script   []deviceAnswer
		want     []time.Duration // between the polls
	}{
		"by default":                {``, []deviceAnswer{pending}, []time.Duration{5 * time.Second, 5 * time.Second}},
		"as it says":                {`,"interval":7`, []deviceAnswer{pending}, []time.Duration{7 * time.Second, 7 * time.Second}},
		"not without end":           {`,"interval":0.000001`, []deviceAnswer{pending}, []time.Duration{time.Second, time.Second}},
		"slower for good":           {``, []deviceAnswer{slow, pending, slow}, []time.Duration{5 * time.Second, 10 * time.Second, 10 * time.Second, 15 * time.Second}},
		"rarely while it is down":   {``, []deviceAnswer{down, down}, []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second}},
		"not before it asks for it": {``, []deviceAnswer{busy, pending}, []time.Duration{5 * time.Second, 300 * time.Second, 10 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &deviceServer{device: `{"device_code":"c","user_code":"u","verification_uri":"https://auth.example/d","expires_in":1800` + c.interval + `}`, script: c.script}
				client := at(t, server, Application{})
				last := time.Now()
				if owners, err := client.SignInDevice(t.Context(), func(DeviceCode) {}); err != nil || len(owners) != 1 {
					t.Fatalf("%d owners, %v", len(owners), err)
				}
				var got []time.Duration
				for _, poll := range server.polls {
					got = append(got, poll.Sub(last))
					last = poll
				}
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("polled after %v, want %v", got, c.want)
				}
				client.Close()
			})
		})
	}
}

func TestAClosedClientSignsNoDeviceAndNoApplicationIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &deviceServer{device: `{"device_code":"c","user_code":"u","verification_uri":"https://auth.example/d","expires_in":1800}`}
		client := at(t, server, Application{ClientSecret: NewSecret("s")})
		if _, err := client.SignInDevice(t.Context(), func(DeviceCode) { client.Close() }); !errors.Is(err, ErrClosed) {
			t.Errorf("closed while the user is asked: %v", err)
		}
		if _, err := client.SignInDevice(t.Context(), func(DeviceCode) { t.Error("shown") }); !errors.Is(err, ErrClosed) {
			t.Errorf("closed before: %v", err)
		}
		if _, err := client.SignInApplication(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("for the application: %v", err)
		}
		if len(server.polls) != 0 {
			t.Errorf("%d requests", len(server.polls))
		}
	})
}

// TestNoRefusalGivesBackWhatTheRequestWasProvenWith: a server that puts all it got
// into its error's words, in parts that fit an error.
func TestNoRefusalGivesBackWhatTheRequestWasProvenWith(t *testing.T) {
	key := selfSigned(t).PrivateKey
	for name, application := range map[string]Application{
		"assertion": {Key: key.(crypto.Signer), DPoP: true, PushRequests: true},
		"basic":     {ClientSecret: NewSecret("the secret"), DPoP: true, PushRequests: true},
	} {
		var sent []string
		server := answering(func(r *http.Request) (int, string) {
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			echo := []string{r.Header.Get("DPoP"), strings.TrimPrefix(r.Header.Get("Authorization"), "Basic "), form.Get("client_assertion"), form.Get("state"), form.Get("token"), form.Get("refresh_token")}
			sent = append(sent, echo...)
			description, _ := json.Marshal(strings.Join(echo, " "))
			return http.StatusBadRequest, `{"error":"invalid_request","error_description":` + string(description) + `}`
		})
		client := at(t, server, application)
		m, err := client.auth.discovery.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		proof, err := client.auth.newProver()
		if err != nil {
			t.Fatal(err)
		}
		var errs []error
		_, err = client.auth.newAttempt(t.Context(), m, "https://app.example/callback", nil)
		errs = append(errs, err)
		_, err = client.auth.deviceCode(t.Context(), m)
		errs = append(errs, err, client.auth.revoke(t.Context(), NewSecret("a token"), "refresh_token"))
		_, _, err = client.auth.introspect(t.Context(), m, NewSecret("a token"))
		errs = append(errs, err)
		_, err = client.auth.refresh(t.Context(), NewSecret("a refresh token"), proof)
		errs = append(errs, err)
		for n, err := range errs {
			var refused *OAuthError
			if !errors.As(err, &refused) {
				t.Fatalf("%s, request %d: %v", name, n, err)
			}
			for _, s := range sent {
				// The texts are cut, so that a beginning tells as much.
				if len(s) > 0 && strings.Contains(err.Error(), s[:min(len(s), 40)]) {
					t.Errorf("%s, request %d gives back what was sent: %v", name, n, err)
				}
			}
		}
	}
}

func TestTheBrowserIsNotSentToAnAliasForCertificates(t *testing.T) {
	const issuer = "https://auth.example"
	server := answering(func(*http.Request) (int, string) {
		return http.StatusOK, `{"issuer":"` + issuer + `","authorization_endpoint":"` + issuer + `/a","token_endpoint":"` + issuer + `/t",
			"mtls_endpoint_aliases":{"authorization_endpoint":"https://mtls.example/a","token_endpoint":"https://mtls.example/t","revocation_endpoint":7}}`
	})
	certificate := func(context.Context) (*tls.Certificate, error) { return nil, nil }
	d := &discovery{provider: &Provider{Issuer: issuer}, application: &Application{Certificate: certificate}, http: newAuthHTTP(server)}
	m, err := d.get(t.Context())
	if err != nil || m.AuthorizationEndpoint != issuer+"/a" || m.TokenEndpoint != "https://mtls.example/t" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAProofNamesTheRequestAsItIsSentAndEachServersOwnNonce(t *testing.T) {
	proof, err := newProver(&nonces{})
	if err != nil {
		t.Fatal(err)
	}
	for _, resource := range []bool{false, true} {
		r, err := http.NewRequest(http.MethodGet, "https://one.example/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		nonce := "of the authorization server"
		if resource {
			r.Header.Set("Authorization", "DPoP token")
			nonce = "of the API"
		}
		proof.nonces.learn(&http.Response{Header: http.Header{"Dpop-Nonce": {nonce}}, Request: r})
	}
	for _, c := range []struct{ address, token, htu, nonce string }{
		{"https://one.example/t?x=1#f", "", "https://one.example/t", "of the authorization server"},
		{"https://one.example?x=1", "token", "https://one.example/", "of the API"},
		{"https://one.example/a%2Fb", "token", "https://one.example/a%2Fb", "of the API"},
		{"https://two.example/", "token", "https://two.example/", ""},
	} {
		r, err := http.NewRequest(http.MethodGet, c.address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := proof.prove(r, NewSecret(c.token)); err != nil {
			t.Fatal(err)
		}
		var claims struct{ HTU, Nonce, ATH string }
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(r.Header.Get("DPoP"), ".")[1])
		if err != nil || json.Unmarshal(payload, &claims) != nil {
			t.Fatal(err)
		}
		if claims.HTU != c.htu || claims.Nonce != c.nonce || (claims.ATH != "") != (c.token != "") {
			t.Errorf("%s: %+v", c.address, claims)
		}
	}
}

func TestATokenThatIsBoundToNoKeyIsNoSignInWithProofs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &deviceServer{device: `{"device_code":"c","user_code":"u","verification_uri":"https://auth.example/d","expires_in":1800}`}
		client := at(t, server, Application{DPoP: true})
		owners, err := client.SignInDevice(t.Context(), func(DeviceCode) {})
		if !errors.Is(err, ErrConfig) || len(owners) != 0 || !strings.Contains(err.Error(), "turn Application.DPoP off") {
			t.Errorf("%v, %v", owners, err)
		}
		client.Close()
	})
}

func TestARefreshTokenOfTheApplicationsOwnGrantIsNotWaitedFor(t *testing.T) {
	var grants []string
	client := at(t, answering(func(r *http.Request) (int, string) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		grants = append(grants, form.Get("grant_type"))
		if form.Get("grant_type") == "refresh_token" {
			return http.StatusBadRequest, `{"error":"invalid_grant"}`
		}
		return http.StatusOK, `{"access_token":"a","refresh_token":"r","token_type":"Bearer","expires_in":3600,"subscription_id":"9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"}`
	}), Application{ClientSecret: NewSecret("s")})
	owners, err := client.SignInApplication(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := owners[0].grant.Load().renew(t.Context(), NewSecret("a"), false); err != nil {
		t.Error(err)
	}
	if len(grants) < 2 || strings.Contains(strings.Join(grants, " "), "refresh_token") {
		t.Errorf("asked for %v", grants)
	}
}

func TestAPushedRequestsAddressHasAMeasure(t *testing.T) {
	client := at(t, answering(func(*http.Request) (int, string) {
		return http.StatusCreated, `{"request_uri":"urn:` + strings.Repeat("x", 4000) + `","expires_in":60}`
	}), Application{PushRequests: true, RedirectURL: "https://app.example/callback"})
	if _, err := client.BeginSignIn(t.Context(), SignInOptions{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

package fdsclient

import (
	"context"
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

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// at returns a Client whose authorization server is in memory, all endpoints below
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
		State:       &statestore.Memory{},
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	speakThrough(client, server)
	t.Cleanup(func() { client.Close() })
	return client
}

func TestAttackWhatIsShownOfADeviceSignInHoldsNothingThatATerminalObeys(t *testing.T) {
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
		ctx, cancel := context.WithCancel(t.Context())
		_, err = client.SignInDevice(ctx, func(code DeviceCode) {
			t.Errorf("%s: shown %+v", name, code)
			cancel() // or nobody would enter it for half an hour
		})
		cancel()
		if err == nil || !errors.Is(err, fds.ErrUnavailable) || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(err.Error(), "the device code") {
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
		client := at(t, server, Application{ClientSecret: fds.NewSecret("s")})
		if _, err := client.SignInDevice(t.Context(), func(DeviceCode) { client.Close() }); !errors.Is(err, fds.ErrClientClosed) {
			t.Errorf("closed while the user is asked: %v", err)
		}
		if _, err := client.SignInDevice(t.Context(), func(DeviceCode) { t.Error("shown") }); !errors.Is(err, fds.ErrClientClosed) {
			t.Errorf("closed before: %v", err)
		}
		if _, err := client.SignInApplication(t.Context()); !errors.Is(err, fds.ErrClientClosed) {
			t.Errorf("for the application: %v", err)
		}
		if len(server.polls) != 0 {
			t.Errorf("%d requests", len(server.polls))
		}
	})
}

func TestAttackATokenThatIsBoundToNoKeyIsNoSignInWithProofs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &deviceServer{device: `{"device_code":"c","user_code":"u","verification_uri":"https://auth.example/d","expires_in":1800}`}
		client := at(t, server, Application{DPoP: true})
		owners, err := client.SignInDevice(t.Context(), func(DeviceCode) {})
		if !errors.Is(err, fds.ErrConfig) || len(owners) != 0 || !strings.Contains(err.Error(), "turn Application.DPoP off") {
			t.Errorf("%v, %v", owners, err)
		}
		client.Close()
	})
}

func TestARefreshTokenOfTheApplicationsOwnGrantIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var grants []string
		client := at(t, answering(func(r *http.Request) (int, string) {
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			grants = append(grants, form.Get("grant_type"))
			if form.Get("grant_type") == "refresh_token" {
				return http.StatusBadRequest, `{"error":"invalid_grant"}`
			}
			return http.StatusOK, `{"access_token":"a","refresh_token":"r","token_type":"Bearer","expires_in":3600,"subscription_id":"9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"}`
		}), Application{ClientSecret: fds.NewSecret("s")})
		owners, err := client.SignInApplication(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // it is young no more
		if _, err := owners[0].grant.Load().Rejected(t.Context(), fds.NewSecret("a")); err != nil {
			t.Error(err)
		}
		if len(grants) < 2 || strings.Contains(strings.Join(grants, " "), "refresh_token") {
			t.Errorf("asked for %v", grants)
		}
	})
}

func TestAttackAPushedRequestsAddressHasAMeasure(t *testing.T) {
	client := at(t, answering(func(*http.Request) (int, string) {
		return http.StatusCreated, `{"request_uri":"urn:` + strings.Repeat("x", 4000) + `","expires_in":60}`
	}), Application{PushRequests: true, RedirectURL: "https://app.example/callback"})
	if _, err := client.BeginSignIn(t.Context(), SignInOptions{}); !errors.Is(err, fds.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

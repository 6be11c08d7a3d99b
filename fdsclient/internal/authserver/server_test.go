package authserver

import (
	"io"
	"net/http"
	"strings"
)

// answering is a server in memory.
type answering func(*http.Request) (status int, body string)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// publicRefusal is what the settings of these tests make of a Refusal.
type publicRefusal struct{ Refusal }

func (r publicRefusal) Error() string {
	return "the " + r.Endpoint + " endpoint answers " + r.Code + " (" + r.Description + ")"
}

// at returns a Server whose endpoints all lie below https://auth.example, in memory.
func at(server http.RoundTripper, settings Settings) *Server {
	const base = "https://auth.example"
	settings.Issuer = base
	settings.Endpoints = Endpoints{
		Authorization: base + "/a", Token: base + "/t", Revocation: base + "/r", PushedAuthorization: base + "/p",
		DeviceAuthorization: base + "/d", Introspection: base + "/i",
	}
	settings.ClientID = "app"
	settings.SubscriptionClaim = "subscription_id"
	settings.Refused = func(r Refusal) error { return publicRefusal{r} }
	settings.Transport = server
	return New(settings)
}

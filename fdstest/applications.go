package fdstest

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"

	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
)

// Application is an application's registration at the authorization server. It
// prints without the secret.
type Application struct {
	ID     string
	Name   string // on the consent page; default: the ID
	Secret string // empty: a public client, which has none (RFC 6749 section 2.1)

	// RedirectURIs are compared exactly, except that http://127.0.0.1/... and
	// http://[::1]/... match with any port (RFC 8252 section 7.3). Other http
	// URIs are refused.
	RedirectURIs []string
}

// Format keeps the secret out of every verb of package fmt.
func (a Application) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Application(%q)", a.ID) }

// LogValue keeps the secret out of logs.
func (a Application) LogValue() slog.Value { return slog.StringValue(a.ID) }

// AddClient registers an application, or replaces the one of the same ID.
func (p *Provider) AddClient(a Application) error {
	err := p.authority.AddClient(authority.Client{ID: a.ID, Name: a.Name, Secret: a.Secret, RedirectURIs: a.RedirectURIs})
	if err != nil {
		return fmt.Errorf("fdstest: add client: %w", err)
	}
	return nil
}

// PublicApplication is the public client that every provider knows: ID
// "fdsdemo", redirect URI /callback on 127.0.0.1 or [::1] with any port.
func (p *Provider) PublicApplication() Application { return p.public.clone() }

// ConfidentialApplication is the client with a secret that every provider
// knows: ID "fleet-app", a secret made at start, the redirect URIs of
// PublicApplication and https://fleet.example.com/callback.
func (p *Provider) ConfidentialApplication() Application { return p.confidential.clone() }

func (a Application) clone() Application {
	a.RedirectURIs = slices.Clone(a.RedirectURIs)
	return a
}

func defaultApplications() (public, confidential Application) {
	loopback := []string{"http://127.0.0.1/callback", "http://[::1]/callback"}
	return Application{ID: "fdsdemo", Name: "FDS demo", RedirectURIs: loopback},
		Application{ID: "fleet-app", Name: "Fleet app", Secret: rand.Text(),
			RedirectURIs: append([]string{"https://fleet.example.com/callback"}, loopback...)}
}

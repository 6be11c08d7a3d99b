package fdsclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/internal/hooks"
	"github.com/fds-sdk/fds-go/internal/netpeer"
	"github.com/fds-sdk/fds-go/internal/tap"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/push"
)

// validate returns a copy with its defaults, or an error that holds every fault.
func (c Config) validate() (Config, error) {
	var faults fds.ConfigError
	checkURL := func(field, value string) {
		if problem := authserver.URLFault(value, "https"); problem != "" {
			faults.Add(field, "", "%q %s", netpeer.WithoutUser(value), problem)
		}
	}

	p := &c.Provider
	if p.Issuer == "" {
		faults.Add("Provider.Issuer", "it is the https URL of the provider's authorization server", "is missing")
	} else {
		checkURL("Provider.Issuer", p.Issuer)
		if strings.ContainsAny(p.Issuer, "?#") {
			faults.Add("Provider.Issuer", "", "%q must have no query and no fragment", netpeer.WithoutUser(p.Issuer))
		}
	}
	for _, endpoint := range []struct{ name, url string }{
		{"Authorization", p.Endpoints.Authorization}, {"Token", p.Endpoints.Token}, {"Revocation", p.Endpoints.Revocation}, {"JWKS", p.Endpoints.JWKS},
		{"PushedAuthorization", p.Endpoints.PushedAuthorization}, {"DeviceAuthorization", p.Endpoints.DeviceAuthorization}, {"Introspection", p.Endpoints.Introspection},
	} {
		if endpoint.url != "" {
			checkURL("Provider.Endpoints."+endpoint.name, endpoint.url)
		}
	}
	for _, span := range []struct {
		field    string
		value    *time.Duration
		standard time.Duration
	}{
		{"Provider.AssumedLifetime", &p.AssumedLifetime, 5 * time.Minute}, {"Provider.RefreshInterval", &p.RefreshInterval, 24 * time.Hour},
	} {
		if *span.value < 0 {
			faults.Add(span.field, "", "%v is negative", *span.value)
		}
		*span.value = cmp.Or(*span.value, span.standard)
	}
	for _, code := range p.FinalErrors {
		if problem := authserver.FinalErrorFault(code); problem != "" {
			faults.Add("Provider.FinalErrors", "", "has %q, which %s", code, problem)
		}
	}
	for _, resource := range p.Resources {
		if u, err := url.Parse(resource); err != nil || !u.IsAbs() || strings.Contains(resource, "#") {
			faults.Add("Provider.Resources", "", "%q is not an absolute URI without fragment (RFC 8707 section 2)", resource)
		}
	}
	p.Dialect = p.Dialect.WithDefaults()
	at := time.Date(2026, 11, 24, 13, 14, 15, 0, time.UTC)
	if back, err := time.Parse(p.Dialect.TimeLayout, at.Format(p.Dialect.TimeLayout)); err != nil || back.Format(time.DateOnly) != at.Format(time.DateOnly) {
		faults.Add("Provider.Dialect.TimeLayout", "write it as package time of Go does, such as 2006-01-02T15:04:05Z07:00", "%q does not give a date that can be read back", p.Dialect.TimeLayout)
	}
	c.Gaps.complete(&faults)
	c.Poll.complete(p, &faults)
	c.Application.complete(&faults)
	c.Application.RedirectPath = cmp.Or(c.Application.RedirectPath, RedirectPath(p.Issuer))
	c.tryRooms(&faults)

	c.Hooks = slices.Clone(c.Hooks)
	for i, hook := range c.Hooks {
		if problem := hooks.Fault(hook, hookTypes); problem != "" && !tap.Is(hook) {
			faults.Add(fmt.Sprintf("Hooks[%d]", i), "", "%s", problem)
		}
	}
	p.Resources, p.FinalErrors = slices.Clone(p.Resources), slices.Clone(p.FinalErrors)
	c.Push.Fallbacks, c.Push.AllowedServers = slices.Clone(c.Push.Fallbacks), slices.Clone(c.Push.AllowedServers)
	c.Push.ALPN = slices.Clone(c.Push.ALPN)
	if c.Push.Topics = slices.Clone(c.Push.Topics); len(c.Push.Topics) == 0 {
		c.Push.Topics = []string{"#"}
	}
	if c.Push.Budget == nil {
		c.Push.Budget = push.NewBudget(0)
	}
	if c.Push.Limit == nil {
		c.Push.Limit = &fds.Limit{PerSecond: 200, Burst: 50}
	}
	if c.Pull.Limit == nil {
		c.Pull.Limit = &fds.Limit{Concurrent: pullsAtOnce}
	}
	if c.Rescan <= 0 {
		c.Rescan = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := faults.Err(); err != nil {
		return c, fmt.Errorf("fdsclient: %w", err)
	}
	return c, nil
}

// tryRooms adds what pull and push would refuse once they are needed, each field by its name
// in this configuration.
func (c *Config) tryRooms(faults *fds.ConfigError) {
	add := func(err error, settings string, names map[string]string) {
		var found *fds.ConfigError
		if !errors.As(err, &found) {
			return
		}
		here := func(field string) string {
			first, rest, _ := strings.Cut(field, ".")
			name, ok := names[first]
			switch {
			case field == "":
				return ""
			case !ok:
				return settings + "." + field
			case rest != "":
				return name + "." + rest
			}
			return name
		}
		for _, fault := range found.Faults {
			fault.Field, fault.Other = here(fault.Field), here(fault.Other)
			faults.Faults = append(faults.Faults, fault)
		}
	}
	_, err := pull.New(pull.Config{
		BaseURL: cmp.Or(c.Provider.APIURL, "https://provider.invalid"), Authorizer: noAPI{}, Dialect: c.Provider.Dialect,
		UserAgent: headerText(c.Application.Name), Settings: c.Pull,
	})
	add(err, "Pull", map[string]string{"BaseURL": "Provider.APIURL", "Dialect": "Provider.Dialect", "UserAgent": "Application.Name"})
	_, err = push.New(push.Config{
		Root: fds.NewSubscriptionID().Root(), BrokerURL: cmp.Or(c.Provider.BrokerURL, "mqtts://broker.invalid"),
		Certificate: func(context.Context) (*tls.Certificate, error) { return nil, nil }, Settings: c.Push,
	})
	add(err, "Push", map[string]string{"BrokerURL": "Provider.BrokerURL"})
}

// complete fills in the defaults and adds the faults.
func (a *Application) complete(faults *fds.ConfigError) {
	switch {
	case a.Name == "":
		a.Name = "fds-go"
	case !utf8.ValidString(a.Name) || strings.ContainsFunc(a.Name, unicode.IsControl):
		faults.Add("Application.Name", "", "%q holds a character that cannot be shown", a.Name)
	}
	if a.ClientID == "" {
		faults.Add("Application.ClientID", "it is the ID under which the provider registered the application", "is missing")
	}
	a.checkMethod(faults)
	a.RedirectPorts = slices.Clone(a.RedirectPorts)
	if a.Scopes = slices.Clone(a.Scopes); a.Scopes == nil {
		a.Scopes = []string{"openid", "offline_access"}
	}
	if a.RedirectURL != "" {
		if problem := authserver.URLFault(a.RedirectURL, "https"); problem != "" {
			faults.Add("Application.RedirectURL", "", "%q %s", netpeer.WithoutUser(a.RedirectURL), problem)
		} else if strings.Contains(a.RedirectURL, "#") {
			faults.Add("Application.RedirectURL", "", "%q must have no fragment (RFC 6749 section 3.1.2)", a.RedirectURL)
		}
	}
	if path := a.RedirectPath; path != "" && (path[0] != '/' || strings.ContainsAny(path, "?#% \\") || strings.Contains(path, "//")) {
		faults.Add("Application.RedirectPath", "", "%q is not a plain path such as /callback", path)
	}
	for _, port := range a.RedirectPorts {
		if port < 1 || port > 65535 {
			faults.Add("Application.RedirectPorts", "", "has %d, which is no port", port)
		}
	}
	if a.SymmetricIDTokens && len(a.ClientSecret.Reveal()) < authserver.MinSymmetricSecret {
		faults.Add("Application.SymmetricIDTokens", "", "needs a client secret of at least %d bytes (RFC 7518 section 3.2)", authserver.MinSymmetricSecret).Other = "Application.ClientSecret"
	}
	a.SubscriptionClaim = cmp.Or(a.SubscriptionClaim, "subscription_id")
}

package webhook

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/handoff"
	"github.com/fds-sdk/fds-go/internal/hooks"
	"github.com/fds-sdk/fds-go/internal/keyset"
)

const maxSkew = 5 * time.Minute

var hookTypes = []reflect.Type{reflect.TypeFor[HookAnswer](), reflect.TypeFor[HookHandled](), reflect.TypeFor[HookSlowHandler]()}

// validate fills in the defaults and returns all faults at once.
func (c Config) validate() (Config, error) {
	var faults fds.ConfigError
	c.Settings.required(&faults)
	if c.Batch != nil {
		if c.Batch = handoff.Complete(c.Batch, &faults); c.Handler != nil {
			faults.Add("Batch", "one of them is called", "is set, and a Handler too").Other = "Handler"
		}
	}
	switch {
	case c.Handler == nil && c.Batch == nil:
		faults.Add("Handler", "it is called with what is delivered", "is missing")
	case c.Owner == nil:
		faults.Add("Owner", "it says who is an owner of this application", "is missing")
	}
	switch {
	case c.Introspection && c.Introspect == nil:
		faults.Add("Introspect", "it asks the issuer about a token", "is missing").Other = "Introspection"
	case !c.Introspection && c.Keys == nil:
		faults.Add("Keys", "it fetches the keys by which the issuer signs tokens", "is missing")
	}
	switch {
	case c.MaxAttempts < 0:
		faults.Add("MaxAttempts", "it must be positive, or 0 for no limit", "is %d", c.MaxAttempts)
	case c.MaxAttempts > 0 && c.DeadLetter == nil:
		faults.Add("MaxAttempts", "a message that is given up must have a place to go", "needs a function for dead letters").Other = "DeadLetter"
	}
	c.SubscriptionClaim = cmp.Or(c.SubscriptionClaim, "subscription_id")
	c.Dialect = c.Dialect.WithDefaults()
	if c.SlowHandler < 0 {
		faults.Add("SlowHandler", "0 is the default of 1m0s", "is %v", c.SlowHandler)
	}
	c.SlowHandler = cmp.Or(c.SlowHandler, time.Minute)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Hooks = slices.Clone(c.Hooks)
	for i, hook := range c.Hooks {
		if problem := hooks.Fault(hook, hookTypes); problem != "" {
			faults.Add(fmt.Sprintf("Hooks[%d]", i), "", "%s", problem)
		}
	}
	return c, faults.Err()
}

// required checks the settings and fills in their defaults.
func (s *Settings) required(faults *fds.ConfigError) {
	if s.Issuer == "" {
		faults.Add("Issuer", "it is the https URL of the authorization server that issues the senders' tokens", "is missing")
	} else if u, err := url.Parse(s.Issuer); err != nil || u.Scheme != "https" || u.Host == "" || strings.ContainsAny(s.Issuer, "?#") {
		faults.Add("Issuer", "it is an https URL without query and fragment (RFC 8414 section 2)", "is none that a token may name")
	}
	if s.Audience == "" {
		faults.Add("Audience", "it is what tokens for this endpoint name as their audience; agree on it with the provider", "is missing")
	}
	s.Senders = slices.Clone(s.Senders)
	if len(s.Senders) == 0 {
		faults.Add("Senders", "they are the client IDs of those who deliver; ask the provider", "is missing")
	}
	if slices.Contains(s.Senders, "") {
		faults.Add("Senders", "", "holds an empty client ID")
	}
	s.TokenType, s.ClientClaim, s.Path = cmp.Or(s.TokenType, "at+jwt"), cmp.Or(s.ClientClaim, "client_id"), cmp.Or(s.Path, "/")
	if !strings.HasPrefix(s.Path, "/") {
		faults.Add("Path", "write it as /fds/{subscription_id}", "%.100q does not begin with a slash", s.Path)
	} else if why := patternFault(s.Path); why != "" {
		faults.Add("Path", "write it as /fds/{subscription_id}", "%.100q is no pattern of http.ServeMux: %s", s.Path, why)
	}
	known := make([]string, 0, len(keyset.Algorithms))
	for _, a := range keyset.Algorithms {
		known = append(known, string(a))
	}
	for _, a := range s.Algorithms {
		if !slices.Contains(known, a) {
			faults.Add("Algorithms", "those are "+strings.Join(known, ", "), "has %.100q, which is none that a public key verifies", a)
		}
	}
	if s.Algorithms = slices.Clone(s.Algorithms); len(s.Algorithms) == 0 {
		s.Algorithms = known
	}
	s.Proxies = slices.Clone(s.Proxies)
	for _, p := range s.Proxies {
		if !p.IsValid() {
			faults.Add("Proxies", "make them with netip.ParsePrefix", "holds one that is no prefix")
		} else if p.Bits() == 0 {
			faults.Add("Proxies", "name the proxy's own address", "holds %v, which is everyone", p)
		}
		if p.Addr().Is4In6() {
			faults.Add("Proxies", "write it as IPv4", "holds %v", p)
		}
	}
	s.bounds(faults)
}

// bounds checks what has a least and a most.
func (s *Settings) bounds(faults *fds.ConfigError) {
	duration := func(field string, value *time.Duration, standard, most time.Duration) {
		if *value < 0 || *value > most {
			faults.Add(field, fmt.Sprintf("it must lie between 0, which is the default of %v, and %v", standard, most), "is %v", *value)
		}
		*value = cmp.Or(*value, standard)
	}
	duration("ClockSkew", &s.ClockSkew, time.Minute, maxSkew)
	duration("BodyTimeout", &s.BodyTimeout, 10*time.Second, 10*time.Minute)
	duration("HandlerTimeout", &s.HandlerTimeout, 15*time.Second, 10*time.Minute)
	number := func(field string, value *int, standard, most int) {
		if *value < 0 || *value > most {
			faults.Add(field, fmt.Sprintf("it must lie between 0, which is the default of %d, and %d", standard, most), "is %d", *value)
		}
		*value = cmp.Or(*value, standard)
	}
	number("MaxMarks", &s.MaxMarks, 1_000_000, 100_000_000)
	number("MaxBody", &s.MaxBody, 1<<20, 64<<20)
	number("MaxInHand", &s.MaxInHand, 1024, 1<<20)
	number("MaxInHandOfOwner", &s.MaxInHandOfOwner, 16, 1<<16)
	number("MaxBytes", &s.MaxBytes, max(64<<20, s.MaxBody), 1<<30)
	number("MaxConnections", &s.MaxConnections, 4096, 1<<20)
	if s.MaxBytes >= 0 && s.MaxBytes < s.MaxBody {
		faults.Add("MaxBytes", "", "is less than one delivery may have").Other = "MaxBody"
	}
}

// from reports whether an address is that of one of the proxies.
func (s *Settings) from(address netip.Addr) bool {
	address = address.Unmap()
	return slices.ContainsFunc(s.Proxies, func(p netip.Prefix) bool { return p.Contains(address) })
}

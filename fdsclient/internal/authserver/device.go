package authserver

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/internal/netpeer"
)

const (
	defaultPollInterval = 5 * time.Second // RFC 8628 section 3.2
	maxDeviceLifetime   = 30 * time.Minute
	maxUserCode         = 64
	maxVerificationURI  = 2 << 10
)

// DeviceCode is an answer of the device authorization endpoint.
type DeviceCode struct {
	Secret                  fds.Secret
	Interval                time.Duration // between two questions for the tokens
	VerificationURI         string
	VerificationURIComplete string // may be empty
	UserCode                string
	Expires                 time.Time
}

// DeviceCode asks for a code that the user enters on another device (RFC 8628
// section 3.1). What is to be shown of it holds nothing that a terminal obeys.
func (s *Server) DeviceCode(ctx context.Context, m *Metadata) (DeviceCode, error) {
	const what = "device authorization"
	fail := func(why string) (DeviceCode, error) {
		return DeviceCode{}, fmt.Errorf("fdsclient: %s: %w: %s", what, fds.ErrUnavailable, why)
	}
	if m.DeviceEndpoint == "" {
		return DeviceCode{}, fmt.Errorf("fdsclient: %s: %w: the provider has no device authorization endpoint; ask it, or sign in by SignInOptions.ReadRedirect", what, fds.ErrConfig)
	}
	if err := m.judge("token_endpoint", m.TokenEndpoint); err != nil { // before anyone signs in
		return DeviceCode{}, err
	}
	form := url.Values{}
	if len(s.settings.Scopes) > 0 {
		form.Set("scope", strings.Join(s.settings.Scopes, " "))
	}
	if len(s.settings.Resources) > 0 {
		form["resource"] = s.settings.Resources
	}
	form.Set("client_id", s.settings.ClientID)
	c := &call{
		what: what, endpoint: what, name: "device_authorization_endpoint", address: m.DeviceEndpoint, form: form,
		names: []string{"device_code", "user_code", "verification_uri", "verification_url", "verification_uri_complete", "expires_in", "interval"},
	}
	r, err := s.send(ctx, m, c)
	if err != nil {
		return DeviceCode{}, err
	}
	if !r.ok() {
		return DeviceCode{}, s.refusal(&r)
	}
	code := DeviceCode{
		Secret:                  fds.NewSecret(r.text("device_code")),
		VerificationURI:         r.text("verification_uri"),
		VerificationURIComplete: r.text("verification_uri_complete"),
		UserCode:                r.text("user_code"),
	}
	if code.VerificationURI == "" {
		code.VerificationURI = r.text("verification_url") // of drafts before the RFC
	}
	twice := r.twice("device_code", "user_code", "verification_uri", "verification_uri_complete")
	if r.fault != nil || twice != "" || code.Secret.IsZero() || code.UserCode == "" {
		return DeviceCode{}, s.unfit(&r, twice, "RFC 8628 section 3.2")
	}
	// Both are shown to a person, perhaps on a terminal.
	if len(code.UserCode) > maxUserCode || strings.ContainsFunc(code.UserCode, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fail("the user code cannot be shown")
	}
	for _, address := range []string{code.VerificationURI, code.VerificationURIComplete} {
		why := URLFault(address, "https")
		switch {
		case address == "" && code.VerificationURI != "":
			continue
		case why == "" && len(address) > maxVerificationURI:
			why = "is too long"
		case why == "" && strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' }):
			why = "holds characters that no URI has"
		}
		if why != "" {
			return fail(fmt.Sprintf("the verification URI %q %s", Describe(netpeer.WithoutUser(address)), why))
		}
	}
	lifetime := maxDeviceLifetime
	if said := r.seconds("expires_in"); said > 0 {
		lifetime = min(said, maxDeviceLifetime)
	}
	code.Expires = time.Now().Add(lifetime).Round(0)
	code.Interval = defaultPollInterval
	if said := r.seconds("interval"); said > 0 {
		code.Interval = min(max(said, time.Second), time.Minute)
	}
	return code, nil
}

package authserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const (
	defaultPollInterval = 5 * time.Second // RFC 8628 section 3.2
	maxDeviceLifetime   = 30 * time.Minute
	maxUserCode         = 64
	maxVerificationURI  = 2 << 10
)

// DeviceCode is an answer of the device authorization endpoint.
type DeviceCode struct {
	Secret                  tokenstore.Secret
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
		return fail("the provider has no device authorization endpoint; ask it, or use SignIn with ReadRedirect")
	}
	form := url.Values{}
	if len(s.settings.Scopes) > 0 {
		form.Set("scope", strings.Join(s.settings.Scopes, " "))
	}
	if len(s.settings.Resources) > 0 {
		form["resource"] = s.settings.Resources
	}
	form.Set("client_id", s.settings.ClientID)
	response, err := s.post(ctx, m, what, m.DeviceEndpoint, form)
	if err != nil {
		return DeviceCode{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return DeviceCode{}, s.readRefusal(response, what, form)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return DeviceCode{}, unavailable(what, err)
	}
	var object struct {
		DeviceCode string  `json:"device_code"`
		UserCode   string  `json:"user_code"`
		URI        string  `json:"verification_uri"`
		Complete   string  `json:"verification_uri_complete"`
		ExpiresIn  float64 `json:"expires_in"`
		Interval   float64 `json:"interval"`
	}
	if json.Unmarshal(body, &object) != nil || object.DeviceCode == "" || object.UserCode == "" {
		return fail("the answer is not that of RFC 8628 section 3.2; check the endpoint")
	}
	// Both are shown to a person, perhaps on a terminal.
	if len(object.UserCode) > maxUserCode || strings.ContainsFunc(object.UserCode, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fail("the user code cannot be shown")
	}
	for _, address := range []string{object.URI, object.Complete} {
		why := URLFault(address, "https")
		switch {
		case address == "" && object.URI != "":
			continue
		case why == "" && len(address) > maxVerificationURI:
			why = "is too long"
		case why == "" && strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' }):
			why = "holds characters that no URI has"
		}
		if why != "" {
			return fail(fmt.Sprintf("the verification URI %q %s", Describe(WithoutUser(address)), why))
		}
	}
	lifetime := seconds(object.ExpiresIn, maxDeviceLifetime)
	if lifetime <= 0 {
		lifetime = maxDeviceLifetime
	}
	interval := defaultPollInterval
	if object.Interval > 0 {
		interval = max(time.Second, seconds(object.Interval, time.Minute))
	}
	return DeviceCode{
		Secret:                  tokenstore.NewSecret(object.DeviceCode),
		Interval:                interval,
		VerificationURI:         object.URI,
		VerificationURIComplete: object.Complete,
		UserCode:                object.UserCode,
		Expires:                 time.Now().Add(lifetime).Round(0),
	}, nil
}

// seconds is a number of seconds from outside, bounded.
func seconds(n float64, most time.Duration) time.Duration {
	return time.Duration(min(n, most.Seconds()) * float64(time.Second))
}

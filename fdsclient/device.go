package fdsclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// Grant types, by the names of RFC 7591 section 2.
const (
	grantClientCredentials = "client_credentials"
	grantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"
)

// DeviceCode is what a user needs to sign in on another device.
type DeviceCode struct {
	VerificationURI         string // to be opened on any device
	VerificationURIComplete string // the same with the code in it, for a QR code; may be empty
	UserCode                string // to be typed there; show it also beside a QR code, to be compared
	Expires                 time.Time
}

const (
	devicePollInterval = 5 * time.Second // RFC 8628 section 3.5, also what slow_down adds
	maxDeviceLifetime  = 30 * time.Minute
	maxUserCode        = 64
	maxVerificationURI = 2 << 10
)

// SignInDevice signs an owner's user in who has a browser on another device, for
// machines without one (RFC 8628): show tells the user where to go and what to
// type there. It asks the provider until the user has answered, the code has
// expired (ErrAttemptExpired) or ctx ends. Other errors are those of FinishSignIn.
func (c *Client) SignInDevice(ctx context.Context, show func(DeviceCode)) ([]*Owner, error) {
	if c.isClosed() {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", ErrClosed)
	}
	if err := c.store.Probe(ctx); err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: the grant could not be kept: %w", err)
	}
	m, err := c.auth.discovery.get(ctx)
	if err != nil {
		return nil, err
	}
	proof, err := c.auth.newProver()
	if err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", err)
	}
	code, err := c.auth.deviceCode(ctx, m)
	if err != nil {
		return nil, err
	}
	show(code.shown)
	a, err := c.pollDevice(ctx, code, proof)
	if err != nil {
		return nil, err
	}
	defer c.end()
	return c.welcome(ctx, m, a, signedIn{proof: proof})
}

// SignInApplication gets a grant for the application itself, without a user,
// where a provider and an application have agreed on that (W8, RFC 6749 section
// 4.4). The token must name the subscription all the same. The grant is renewed
// in the same way.
func (c *Client) SignInApplication(ctx context.Context) ([]*Owner, error) {
	if !c.begin() {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", ErrClosed)
	}
	defer c.end()
	if err := c.store.Probe(ctx); err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: the grant could not be kept: %w", err)
	}
	m, err := c.auth.discovery.get(ctx)
	if err != nil {
		return nil, err
	}
	if m.authMethod(&c.cfg.Application) == AuthNone {
		return nil, fmt.Errorf("fdsclient: sign-in: %w: client credentials need an application that proves who it is: a Certificate, a Key or a ClientSecret (RFC 6749 section 4.4)", ErrConfig)
	}
	proof, err := c.auth.newProver()
	if err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", err)
	}
	a, err := c.auth.clientCredentials(ctx, proof)
	if err != nil {
		return nil, err
	}
	return c.welcome(ctx, m, a, signedIn{grantType: grantClientCredentials, proof: proof})
}

// deviceCode is an answer of the device authorization endpoint.
type deviceCode struct {
	secret   Secret
	interval time.Duration
	shown    DeviceCode
}

func (s *authServer) deviceCode(ctx context.Context, m *metadata) (deviceCode, error) {
	const what = "device authorization"
	fail := func(why string) (deviceCode, error) {
		return deviceCode{}, fmt.Errorf("fdsclient: %s: %w: %s", what, ErrUnavailable, why)
	}
	if m.DeviceEndpoint == "" {
		return fail("the provider has no device authorization endpoint; ask it, or use SignIn with ReadRedirect")
	}
	form := url.Values{}
	if len(s.application.Scopes) > 0 {
		form.Set("scope", strings.Join(s.application.Scopes, " "))
	}
	if len(s.provider.Resources) > 0 {
		form["resource"] = s.provider.Resources
	}
	form.Set("client_id", s.application.ClientID)
	response, err := s.post(ctx, m, what, m.DeviceEndpoint, form)
	if err != nil {
		return deviceCode{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return deviceCode{}, s.readRefusal(response, what, form)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return deviceCode{}, unavailable(what, err)
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
		why := urlFault(address, "https")
		switch {
		case address == "" && object.URI != "":
			continue
		case why == "" && len(address) > maxVerificationURI:
			why = "is too long"
		case why == "" && strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' }):
			why = "holds characters that no URI has"
		}
		if why != "" {
			return fail(fmt.Sprintf("the verification URI %q %s", describe(withoutUser(address)), why))
		}
	}
	lifetime := seconds(object.ExpiresIn, maxDeviceLifetime)
	if lifetime <= 0 {
		lifetime = maxDeviceLifetime
	}
	interval := devicePollInterval
	if object.Interval > 0 {
		interval = max(time.Second, seconds(object.Interval, time.Minute))
	}
	return deviceCode{
		secret:   NewSecret(object.DeviceCode),
		interval: interval,
		shown: DeviceCode{
			VerificationURI:         object.URI,
			VerificationURIComplete: object.Complete,
			UserCode:                object.UserCode,
			Expires:                 time.Now().Add(lifetime).Round(0),
		},
	}, nil
}

// seconds is a number of seconds from outside, bounded.
func seconds(n float64, most time.Duration) time.Duration {
	return time.Duration(min(n, most.Seconds()) * float64(time.Second))
}

// pollDevice asks until the user has answered (RFC 8628 section 3.5). A provider
// that is out of reach is asked ever more rarely. Close waits for what follows an
// answer, but for no user: after one that is no error the caller calls c.end.
func (c *Client) pollDevice(ctx context.Context, code deviceCode, proof *prover) (answer, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, code.shown.Expires, fmt.Errorf("fdsclient: sign-in: %w: nobody has entered the code", ErrAttemptExpired))
	defer cancel()
	interval := code.interval
	wait := interval
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return answer{}, context.Cause(ctx)
		}
		if !c.begin() {
			return answer{}, fmt.Errorf("fdsclient: sign-in: %w", ErrClosed)
		}
		a, err := c.auth.token(ctx, "device sign-in", url.Values{"grant_type": {grantDeviceCode}, "device_code": {code.secret.Reveal()}}, proof, code.secret)
		if err == nil {
			return a, nil
		}
		c.end()
		var refused *OAuthError
		switch {
		case ctx.Err() != nil:
			return answer{}, context.Cause(ctx)
		case errors.As(err, &refused) && refused.Code == "authorization_pending":
		case errors.As(err, &refused) && refused.Code == "slow_down":
			interval += devicePollInterval
		case errors.As(err, &refused) && refused.Code == "expired_token":
			return answer{}, fmt.Errorf("fdsclient: sign-in: %w: %w", ErrAttemptExpired, err)
		case Retryable(err):
			interval = max(interval, min(2*interval, time.Minute))
		default:
			return answer{}, err
		}
		wait = max(interval, retryAfterOf(err))
	}
}

package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/fdsclient/internal/contain"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
)

// DeviceCode is what a user needs to sign in on another device.
type DeviceCode struct {
	VerificationURI         string // to be opened on any device
	VerificationURIComplete string // the same with the code in it, for a QR code; may be empty
	UserCode                string // to be typed there; show it also beside a QR code, to be compared
	Expires                 time.Time
}

const slowDown = 5 * time.Second // what slow_down adds to the interval (RFC 8628 section 3.5)

// SignInDevice signs an owner's user in who has a browser on another device, for
// machines without one (RFC 8628): show tells the user where to go and what to
// type there. It asks the provider until the user has answered, the code has
// expired (fds.ErrAttemptExpired) or ctx ends. A provider that has no device authorization
// endpoint returns fds.ErrConfig. Other errors are those of FinishSignIn.
func (c *Client) SignInDevice(ctx context.Context, show func(DeviceCode)) ([]*Owner, error) {
	m, err := c.readyForSignIn(ctx)
	if err != nil {
		return nil, err
	}
	proof, err := c.auth.NewProver()
	if err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", err)
	}
	code, err := c.auth.DeviceCode(ctx, m)
	if err != nil {
		return nil, err
	}
	shown := DeviceCode{
		VerificationURI:         code.VerificationURI,
		VerificationURIComplete: code.VerificationURIComplete,
		UserCode:                code.UserCode,
		Expires:                 code.Expires,
	}
	if err := contain.Do(c.log, "what shows the code", func() { show(shown) }); err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", err)
	}
	a, err := c.pollDevice(ctx, code, proof)
	if err != nil {
		return nil, err
	}
	defer c.grants.End()
	return c.saveSignIn(ctx, m, a, signedIn{proof: proof})
}

// SignInApplication gets a grant for the application itself, without a user,
// where a provider and an application have agreed on that (W8, RFC 6749 section
// 4.4). The token must name the subscription all the same. The grant is renewed
// in the same way.
func (c *Client) SignInApplication(ctx context.Context) ([]*Owner, error) {
	if !c.grants.Begin() {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", fds.ErrClientClosed)
	}
	defer c.grants.End()
	m, err := c.readyForSignIn(ctx)
	if err != nil {
		return nil, err
	}
	proof, err := c.auth.NewProver()
	if err != nil {
		return nil, fmt.Errorf("fdsclient: sign-in: %w", err)
	}
	a, err := c.auth.ClientCredentials(ctx, proof)
	if err != nil {
		return nil, err
	}
	return c.saveSignIn(ctx, m, a, signedIn{grantType: grants.ClientCredentials, proof: proof})
}

// pollDevice asks until the user has answered (RFC 8628 section 3.5). A provider
// that is out of reach is asked ever more rarely. Close waits for what follows an
// answer, but for no user: after one that is no error the caller calls c.end.
func (c *Client) pollDevice(ctx context.Context, code authserver.DeviceCode, proof *authserver.Prover) (authserver.Answer, error) {
	ctx, cancel := context.WithDeadlineCause(ctx, code.Expires, fmt.Errorf("fdsclient: sign-in: %w: nobody has entered the code", fds.ErrAttemptExpired))
	defer cancel()
	interval := code.Interval
	wait := interval
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return authserver.Answer{}, context.Cause(ctx)
		}
		if !c.grants.Begin() {
			return authserver.Answer{}, fmt.Errorf("fdsclient: sign-in: %w", fds.ErrClientClosed)
		}
		a, err := c.auth.DeviceToken(ctx, code.Secret, proof)
		if err == nil {
			return a, nil
		}
		c.grants.End()
		var refused *OAuthError
		switch {
		case ctx.Err() != nil:
			return authserver.Answer{}, context.Cause(ctx)
		case errors.As(err, &refused) && refused.Code == "authorization_pending":
		case errors.As(err, &refused) && refused.Code == "slow_down":
			interval += slowDown
		case errors.As(err, &refused) && refused.Code == "expired_token":
			return authserver.Answer{}, fmt.Errorf("fdsclient: sign-in: %w: %w", fds.ErrAttemptExpired, err)
		case Retryable(err), errors.Is(err, fds.ErrUnavailable):
			interval = max(interval, min(2*interval, time.Minute))
		default:
			return authserver.Answer{}, err
		}
		wait = max(interval, authserver.RetryAfter(err))
	}
}

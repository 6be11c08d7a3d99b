package fdsclient

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/fdsclient/internal/contain"
	"github.com/fds-sdk/fds-go/internal/tap"
)

// authSettings are what is said to the authorization server rests on.
func (c *Client) authSettings() authserver.Settings {
	p, a := &c.cfg.Provider, &c.cfg.Application
	return authserver.Settings{
		Issuer:          p.Issuer,
		Endpoints:       authserver.Endpoints(p.Endpoints),
		Roots:           contain.Source("Provider.Roots", p.Roots),
		ExactlyTLS12:    p.ExactlyTLS12,
		Dial:            containedDial(p.Dial),
		Wrap:            tap.Of(c.cfg.Hooks).Wrap,
		AssumedLifetime: p.AssumedLifetime,
		Resources:       p.Resources,

		ClientID:          a.ClientID,
		AuthMethod:        string(a.AuthMethod),
		Scopes:            a.Scopes,
		ClientSecret:      a.ClientSecret,
		Certificate:       c.applicationCertificate(a.Certificate),
		Key:               a.Key,
		KeyID:             a.KeyID,
		KeyAlgorithm:      a.KeyAlgorithm,
		AssertionAudience: a.AssertionAudience,
		DPoP:              a.DPoP,
		PushRequests:      a.PushRequests,
		SymmetricIDTokens: a.SymmetricIDTokens,
		SubscriptionClaim: a.SubscriptionClaim,
		UserAgent:         userAgent(a.Name),

		FinalErrors: p.FinalErrors,

		Refused: func(r authserver.Refusal) error {
			return &OAuthError{Endpoint: r.Endpoint, Code: r.Code, Description: r.Description, HTTPStatus: r.HTTPStatus, RetryAfter: r.RetryAfter, final: r.Final}
		},
		OnError:    func(err error) { go c.certificateFailed(fds.OwnerKey{}, err) }, // outside the work that Close waits for
		OnReplaced: c.certificateReplaced,
	}
}

// applicationCertificate is the application's source, which may fail in any way, and warn.
func (c *Client) applicationCertificate(source func(context.Context) (*tls.Certificate, error)) func(context.Context) (*tls.Certificate, error) {
	if source == nil {
		return nil
	}
	warn := func(err error) {
		go c.certificateFailed(fds.OwnerKey{}, fmt.Errorf("fdsclient: Application.Certificate: %w", err)) // outside the work that Close waits for
	}
	return func(ctx context.Context) (*tls.Certificate, error) {
		certificate, err := contain.Call("Application.Certificate", func() (*tls.Certificate, error) { return source(context.WithValue(ctx, warningKey{}, warn)) })
		if certificate == nil || err != nil {
			return nil, err
		}
		return contain.Certificate(certificate), nil
	}
}

// containedDial is the application's way to the provider, which may panic.
func containedDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	if dial == nil {
		return nil
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return contain.Call("Provider.Dial", func() (net.Conn, error) { return dial(ctx, network, address) })
	}
}

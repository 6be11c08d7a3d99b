package fdstest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/fds-sdk/fds-go/fdstest/internal/authority"
)

// ApproveDevice plays the person who enters the user code that a device shows
// (RFC 8628 section 3.3): chooses the owners, by default the first on the page,
// and approves. The device learns of it by its next poll.
func (p *Provider) ApproveDevice(ctx context.Context, userCode string, owners ...Owner) error {
	return p.decideDevice(ctx, "approve", userCode, owners)
}

// DenyDevice is ApproveDevice for a person who says no.
func (p *Provider) DenyDevice(ctx context.Context, userCode string) error {
	return p.decideDevice(ctx, "deny", userCode, nil)
}

func (p *Provider) decideDevice(ctx context.Context, decision, userCode string, owners []Owner) error {
	fail := func(err error) error { return fmt.Errorf("fdstest: %s device: %w", decision, err) }
	browser := p.newBrowser()
	entrance, err := browser.open(ctx, http.MethodGet, p.issuer+authority.DevicePath, nil)
	switch {
	case err != nil:
		return fail(err)
	case entrance.status != http.StatusOK:
		return fail(errors.New("the provider has no page for user codes; set Options.DeviceGrant"))
	}
	page, err := browser.open(ctx, http.MethodPost, p.issuer+authority.DevicePath, url.Values{"user_code": {userCode}})
	if err != nil {
		return fail(err)
	}
	form, err := page.readForm()
	if err != nil {
		return fail(err)
	}
	if err := form.decide(decision, owners); err != nil {
		return fail(err)
	}
	page, err = browser.open(ctx, http.MethodPost, p.issuer+form.action, form.values)
	switch {
	case err != nil:
		return fail(err)
	case page.status != http.StatusOK:
		return fail(page.problem())
	}
	return nil
}

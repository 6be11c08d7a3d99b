package conformance_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// site is a provider in a box and what is needed to check it.
type site struct {
	box    *fdstest.Provider
	config conformance.Config
}

// newSite starts a provider with three owners who have signed in, of whom the second and the
// third are spare. Everything may be tried, and a person is at the browser.
func newSite(t *testing.T, options fdstest.Options) *site {
	t.Helper()
	options.Quiet = true
	if options.Devices == 0 {
		options.Devices = 4
	}
	s := &site{box: fdstest.New(t, options)}
	s.config.Client = fdsclient.Config{
		Provider: fdsclient.Provider{
			Issuer: s.box.Issuer(), APIURL: s.box.APIURL(), BrokerURL: s.box.BrokerURL(), Roots: s.box.Roots, Dialect: s.box.Dialect(),
		},
		Application: fdsclient.Application{
			Name: "check", ClientID: s.box.ConfidentialApplication().ID, ClientSecret: fds.NewSecret(s.box.ConfidentialApplication().Secret),
		},
		Store: tokenstore.OpenMemory(),
		State: new(statestore.Memory),
		Certificates: func(_ context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
			for _, o := range s.box.Owners() {
				if o.SubscriptionID == owner.SubscriptionID {
					certificate, err := s.box.OwnerCertificate(o)
					return &certificate.TLS, err
				}
			}
			return nil, fmt.Errorf("%w: %s", fds.ErrNoCertificate, owner)
		},
	}
	client, err := fdsclient.New(s.config.Client)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, o := range s.box.Owners() {
		if _, err := client.SignIn(t.Context(), s.approves(o)); err != nil {
			t.Fatal(err)
		}
	}
	s.config.Owner = s.box.Owners()[0].SubscriptionID
	s.config.SpareOwners = []fds.SubscriptionID{s.box.Owners()[1].SubscriptionID, s.box.Owners()[2].SubscriptionID}
	person := s.approves(s.box.Owners()[1])
	s.config.SignIn = &person
	return s
}

// approves signs in as a person who approves for an owner would.
func (s *site) approves(owner fdstest.Owner) fdsclient.SignInOptions {
	return fdsclient.SignInOptions{
		ShowURL:     func(string) {},
		OpenBrowser: func(ctx context.Context, url string) error { return s.box.Approve(ctx, url, owner) },
	}
}

// check runs all checks.
func check(t *testing.T, config conformance.Config) *conformance.Report {
	t.Helper()
	report, err := conformance.Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// outcomes returns the outcome of each row whose ID begins with one of the prefixes; all without.
func outcomes(report *conformance.Report, prefixes ...string) map[string]conformance.Outcome {
	all := make(map[string]conformance.Outcome)
	for _, one := range report.Results {
		if len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(one.ID, p) }) {
			all[one.ID] = one.Outcome
		}
	}
	return all
}

// show prints a report, for whoever reads a test that failed.
func show(t *testing.T, report *conformance.Report) {
	t.Helper()
	for _, one := range report.Results {
		t.Logf("%-14s %s (%v): %s", one.Outcome, one.ID, one.Duration.Round(time.Millisecond), one.Why)
		for _, e := range one.Evidence {
			t.Logf("    %s -> %s", e.Tried, e.Saw)
		}
	}
	t.Log(report.Headline())
}

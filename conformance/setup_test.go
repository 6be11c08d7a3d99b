package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/conformance"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// checkSetup runs the checks of this side alone.
func checkSetup(t *testing.T, config conformance.Config) *conformance.Report {
	t.Helper()
	report, err := conformance.RunSetup(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// result returns the result of a check.
func result(t *testing.T, report *conformance.Report, id string) conformance.Result {
	t.Helper()
	for _, one := range report.Results {
		if one.ID == id {
			return one
		}
	}
	t.Fatalf("there is no check %s", id)
	return conformance.Result{}
}

// expect compares a result.
func expect(t *testing.T, report *conformance.Report, id string, outcome conformance.Outcome, says string) {
	t.Helper()
	if one := result(t, report, id); one.Outcome != outcome || !strings.Contains(one.Why, says) {
		t.Errorf("%s: %s: %q; want %s: ...%s", id, one.Outcome, one.Why, outcome, says)
	}
}

func TestARunStopsWithOneSentenceWhereNoServerCanBeReached(t *testing.T) {
	s := newSite(t, fdstest.Options{})
	s.box.Close()
	told := 0
	s.config.OnResult = func(conformance.Result) { told++ }
	report := checkSetup(t, s.config)
	if !strings.HasPrefix(report.Stopped, "no server can be reached: the authorization server cannot be reached at 127.0.0.1:") || strings.Contains(report.Stopped, "\n") {
		t.Errorf("stopped: %q", report.Stopped)
	}
	expect(t, report, "setup-ports", conformance.Fail, report.Stopped)
	expect(t, report, "setup-clock", conformance.NotTestable, "the run had stopped before it")
	if told != 2 || len(report.Results) < 6 {
		t.Errorf("%d results were told, and %d are in the report", told, len(report.Results))
	}
	if report.OK(false) {
		t.Error("the report is OK")
	}
}

func TestARunStopsWhereNoNameCanBeResolved(t *testing.T) {
	s := newSite(t, fdstest.Options{})
	p := &s.config.Client.Provider
	p.Issuer, p.APIURL, p.BrokerURL = "https://auth.fds.invalid", "https://api.fds.invalid", "mqtts://broker.fds.invalid"
	s.config.Owner, s.config.SpareOwners = fds.SubscriptionID{}, nil
	report := checkSetup(t, s.config)
	expect(t, report, "setup-names", conformance.Fail, "the name of the authorization server, auth.fds.invalid, cannot be resolved")
	if report.Stopped == "" {
		t.Error("it did not stop")
	}
}

func TestOneServerThatIsGoneDoesNotEndTheRun(t *testing.T) {
	s := newSite(t, fdstest.Options{})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	s.config.Client.Provider.BrokerURL = "mqtts://" + closed.Addr().String()
	report := checkSetup(t, s.config)
	expect(t, report, "setup-ports", conformance.Fail, "the broker cannot be reached at "+closed.Addr().String())
	expect(t, report, "setup-grant", conformance.Pass, "")
	if report.Stopped != "" {
		t.Errorf("it stopped: %s", report.Stopped)
	}
}

func TestAProxyInTheWayThatIsGoneIsNamedAndNotTheServer(t *testing.T) {
	s := newSite(t, fdstest.Options{})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	s.config.Client.Push.Proxy = "http://someone:hunter2@" + closed.Addr().String()
	report := checkSetup(t, s.config)
	one := result(t, report, "setup-ports")
	if one.Outcome != conformance.Fail || !strings.Contains(one.Why, "by the proxy "+closed.Addr().String()+": it cannot be reached") || !strings.Contains(one.Remedy, "push.Settings.Proxy") || strings.Contains(fmt.Sprint(one), "hunter2") {
		t.Errorf("%+v", one)
	}
}

func TestAClockThatIsWrongIsTold(t *testing.T) {
	s := newSite(t, fdstest.Options{})
	for _, c := range []struct {
		ahead   time.Duration
		outcome conformance.Outcome
		says    string
	}{
		{5*time.Minute + 30*time.Second, conformance.Fail, "the Web API differ by 5m"},
		{-time.Hour, conformance.Fail, "the Web API differ by 1h0m"},
		{20 * time.Second, conformance.Pass, ""},
	} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(c.ahead).UTC().Format(http.TimeFormat))
		}))
		config := s.config
		config.Client.Provider.APIURL = server.URL
		pool := s.box.RootCAs()
		pool.AddCert(server.Certificate())
		config.Client.Provider.Roots = func(context.Context) (*x509.CertPool, error) { return pool, nil }
		expect(t, checkSetup(t, config), "setup-clock", c.outcome, c.says)
		server.Close()
	}
}

// lockedStore is a store that cannot be used.
type lockedStore struct{ tokenstore.Store }

func (lockedStore) Probe(context.Context) error {
	return fmt.Errorf("%w: the keyring is locked; unlock it", fds.ErrStoreUnavailable)
}

func TestAStoreThatCannotBeUsedIsTold(t *testing.T) {
	s := newSite(t, fdstest.Options{})
	s.config.Client.Store = lockedStore{s.config.Client.Store}
	expect(t, checkSetup(t, s.config), "setup-store", conformance.Fail, "unlock it")
}

func TestWhoHasNotSignedInIsTold(t *testing.T) {
	s := newSite(t, fdstest.Options{})
	nobody := fds.NewSubscriptionID()
	s.config.SpareOwners = append(s.config.SpareOwners, nobody)
	expect(t, checkSetup(t, s.config), "setup-grant", conformance.Fail, "the spare owner "+nobody.String()+" has not signed in")

	s.config.SpareOwners, s.config.Owner = nil, nobody
	expect(t, checkSetup(t, s.config), "setup-grant", conformance.Fail, nobody.String()+" has not signed in")

	s.config.Owner, s.config.Client.Store = fds.SubscriptionID{}, tokenstore.OpenMemory()
	expect(t, checkSetup(t, s.config), "setup-grant", conformance.NotTestable, "sign in first")
}

func TestACertificateThatWillNotDoIsTold(t *testing.T) {
	s := newSite(t, fdstest.Options{})
	issue := func(request fdstest.CertificateRequest) func(context.Context, fds.OwnerKey) (*tls.Certificate, error) {
		return func(_ context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
			request.CommonName = owner.SubscriptionID.String()
			certificate, err := s.box.IssueCertificate(request)
			return &certificate.TLS, err
		}
	}
	now := time.Now()
	for _, c := range []struct {
		certificates func(context.Context, fds.OwnerKey) (*tls.Certificate, error)
		outcome      conformance.Outcome
		says         string
	}{
		{issue(fdstest.CertificateRequest{NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-time.Hour)}), conformance.Fail, "was valid until"},
		{issue(fdstest.CertificateRequest{NotBefore: now.Add(time.Hour), NotAfter: now.Add(90 * 24 * time.Hour)}), conformance.Fail, "is not valid before"},
		{issue(fdstest.CertificateRequest{NotBefore: now.Add(-80 * 24 * time.Hour), NotAfter: now.Add(72 * time.Hour)}), conformance.Fail, "is valid for 72h"},
		{issue(fdstest.CertificateRequest{NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(96 * time.Hour)}), conformance.Pass, ""}, // one of six days
		{issue(fdstest.CertificateRequest{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}), conformance.Fail, "is not meant for clients"},
		{issue(fdstest.CertificateRequest{}), conformance.Pass, ""},
		{func(context.Context, fds.OwnerKey) (*tls.Certificate, error) {
			return nil, errors.New("the vault is sealed")
		}, conformance.Fail, "the vault is sealed"},
		{func(context.Context, fds.OwnerKey) (*tls.Certificate, error) { return nil, fds.ErrNoCertificate }, conformance.NotTestable, "there is no certificate of"},
		{nil, conformance.NotTestable, "there is no certificate of"},
	} {
		s.config.Client.Certificates = c.certificates
		expect(t, checkSetup(t, s.config), "setup-certificate", c.outcome, c.says)
	}
}

func TestASpareOwnerThatIsNamedTwiceIsOne(t *testing.T) {
	s := newBrokerSite(t)
	s.config.SpareOwners[1] = s.config.SpareOwners[0]
	report := check(t, s.config)
	expect(t, report, "M3-at-once", conformance.NotTestable, "it takes 2 spare owners who have signed in, and there are 1")
	expect(t, report, "M4-theft", conformance.NotTestable, "it takes 2 spare owners")
	expect(t, report, "M4-own-client-id", conformance.Pass, "")
}

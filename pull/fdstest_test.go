package pull_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
)

// These tests run against a whole provider with its own reading of FDS.

func provider(t *testing.T, opts fdstest.Options) (*fdstest.Provider, pull.Config, *bearer) {
	t.Helper()
	opts.Quiet = true
	p := fdstest.New(t, opts)
	transport := pull.NewTransport(&tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12})
	t.Cleanup(transport.CloseIdleConnections)
	owner := &bearer{token: issue(t, p, p.Owners()[0])}
	return p, pull.Config{BaseURL: p.APIURL(), Authorizer: owner, Transport: transport, Settings: pull.Settings{Timeout: 20 * time.Second, RetryFor: -1}}, owner
}

func issue(t *testing.T, p *fdstest.Provider, owner fdstest.Owner) string {
	t.Helper()
	tokens, err := p.IssueTokens(p.PublicApplication().ID, owner)
	if err != nil {
		t.Fatal(err)
	}
	return tokens.AccessToken
}

func TestEveryCollectionOfAProviderIsRead(t *testing.T) {
	p, config, _ := provider(t, fdstest.Options{Devices: 200})
	p.Step(24 * time.Hour)
	client := newClient(t, config)
	specifications, err := pull.Collect(client.Specifications(t.Context(), pull.Query{}))
	if err != nil || len(specifications) != 200 {
		t.Fatalf("%d specifications, %v", len(specifications), err)
	}
	known, counters := map[string]bool{}, 0
	for _, device := range specifications {
		if device.ID() == "" || device.Type() == "" || known[device.ID()] {
			t.Errorf("a device with ID %q and type %q", device.ID(), device.Type())
		}
		known[device.ID()] = true
		if device.Type() != fds.DeviceDispenser {
			counters++
		}
	}
	for kind, read := range map[pull.Kind]func() ([]fds.Device, error){
		pull.Statuses:    func() ([]fds.Device, error) { return pull.Collect(client.Statuses(t.Context(), pull.Query{})) },
		pull.Statistics:  func() ([]fds.Device, error) { return pull.Collect(client.Statistics(t.Context(), pull.Query{})) },
		pull.Diagnostics: func() ([]fds.Device, error) { return pull.Collect(client.Diagnostics(t.Context(), pull.Query{})) },
	} {
		devices, err := read()
		if err != nil || len(devices) == 0 {
			t.Errorf("%s: %d, %v", kind, len(devices), err)
		}
		for _, device := range devices {
			if !known[device.ID()] {
				t.Errorf("%s of the unknown device %q", kind, device.ID())
			}
		}
	}
	spaces, err := pull.Collect(client.Spaces(t.Context(), pull.Query{}))
	if err != nil || len(spaces) == 0 {
		t.Fatalf("%d spaces, %v", len(spaces), err)
	}
	for _, space := range spaces {
		chain, err := space.PartOf()
		if err != nil || space.Type() != fds.SpaceSite && (len(chain) == 0 || chain[len(chain)-1].Type() != fds.SpaceSite) {
			t.Errorf("%s %q is part of %d spaces, %v", space.Type(), space.ID(), len(chain), err)
		}
		if _, err := space.ComposedOf(); err != nil {
			t.Error(err)
		}
	}
	events, err := pull.Collect(client.Events(t.Context(), pull.Query{}))
	if err != nil || len(events) == 0 || events[0].ID() == "" {
		t.Errorf("%d events, %v", len(events), err)
	}
	if items, err := pull.Collect(client.EventSpecifications(t.Context(), pull.Query{})); err != nil || len(items) == 0 {
		t.Errorf("%d event specifications, %v", len(items), err)
	}
	for _, request := range p.APIRequests() {
		if !request.Authorization || request.Status != http.StatusOK {
			t.Errorf("%s was answered %d, with a token: %v", request.Path, request.Status, request.Authorization)
		}
	}
}

func TestTheProvidersBytesArriveUnchanged(t *testing.T) {
	p, config, _ := provider(t, fdstest.Options{Devices: -1})
	owner := p.Owners()[0]
	named := `"subscription_id":"` + owner.Spelling + `",` // so that the provider adds nothing
	var want []string
	for i, item := range []string{`"n":1.0,"n":1E+2`, `"s":"\u00e9\/<&>","":null`, `"big":123456789012345678901234567890.5`} {
		want = append(want, fmt.Sprintf(`{"device_id":"d%d",`+named+`%s,"generic":{"device_type":"dispenser"}}`, i, item))
		if err := p.AddDevice(owner, []byte(want[i])); err != nil {
			t.Fatal(err)
		}
	}
	got, err := raws(newClient(t, config).Items(t.Context(), pull.Specifications, pull.Query{}))
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestIDsChooseDevicesAlsoOverSeveralRequests(t *testing.T) {
	t.Parallel()
	p, config, _ := provider(t, fdstest.Options{Devices: 600})
	client := newClient(t, config)
	all, err := pull.Collect(client.Specifications(t.Context(), pull.Query{}))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i, device := range all {
		if i%2 == 0 {
			ids = append(ids, device.ID())
		}
	}
	before := p.Requests(fdstest.APIEndpoint)
	statuses, err := pull.Collect(client.Statuses(t.Context(), pull.Query{IDs: ids}))
	var got []string
	for _, device := range statuses {
		got = append(got, device.ID())
	}
	slices.Sort(ids)
	slices.Sort(got)
	if err != nil || !slices.Equal(got, ids) {
		t.Fatalf("%d statuses for %d IDs, %v", len(got), len(ids), err)
	}
	if requests := p.Requests(fdstest.APIEndpoint) - before; requests < 2 {
		t.Errorf("%d IDs went in %d request", len(ids), requests)
	}
	other, err := pull.Collect(client.Specifications(t.Context(), pull.Query{IDs: []string{"NOBODYS"}}))
	if len(other) != 0 || err != nil {
		t.Errorf("an unknown ID: %d devices, %v", len(other), err)
	}
}

func TestAnOwnerSeesItsOwnDevicesOnly(t *testing.T) {
	p, config, first := provider(t, fdstest.Options{})
	mine, err := pull.Collect(newClient(t, config).Specifications(t.Context(), pull.Query{}))
	if err != nil || len(mine) == 0 {
		t.Fatalf("%d devices, %v", len(mine), err)
	}
	config.Authorizer = &bearer{token: issue(t, p, p.Owners()[1])}
	theirs, err := pull.Collect(newClient(t, config).Specifications(t.Context(), pull.Query{IDs: []string{mine[0].ID()}}))
	if err != nil || len(theirs) != 0 {
		t.Fatalf("another owner read %d devices of the first, %v", len(theirs), err)
	}
	if first.challenged != 0 {
		t.Errorf("%d challenges", first.challenged)
	}
}

func TestAProvidersRefusalsHaveTheirClasses(t *testing.T) {
	p, config, owner := provider(t, fdstest.Options{})
	client := newClient(t, config)
	failed := func(err, class error, status, object int, message string) {
		t.Helper()
		var e *pull.Error
		if !errors.As(err, &e) || !isOnly(err, class) || e.HTTPStatus != status || e.Status != object || e.Message != message {
			t.Errorf("%v, want %v", err, class)
		}
	}
	dispenser := ""
	for device, err := range client.Specifications(t.Context(), pull.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if device.Type() == fds.DeviceDispenser {
			dispenser = device.ID()
			break
		}
	}
	for _, code := range []int{200, 204, 404, 501} {
		p.SetNotImplemented(code)
		_, err := pull.Collect(client.Statistics(t.Context(), pull.Query{IDs: []string{dispenser}}))
		if code == 204 {
			failed(err, fds.ErrNotImplemented, 204, 0, "")
		} else {
			failed(err, fds.ErrNotImplemented, code, 204, "not_implemented")
		}
	}
	_, err := pull.Collect(client.Spaces(t.Context(), pull.Query{Parameters: map[string]string{"colour": "blue"}}))
	failed(err, fds.ErrInvalidParameter, 400, 400, "invalid_parameter")
	_, err = pull.Collect(client.Events(t.Context(), pull.Query{Parameters: map[string]string{"from": "yesterday"}}))
	failed(err, fds.ErrInvalidParameter, 400, 400, "invalid_parameter_value")

	config.BaseURL += "/elsewhere"
	_, err = pull.Collect(newClient(t, config).Spaces(t.Context(), pull.Query{}))
	failed(err, fds.ErrNotFound, 404, 404, "not_found")

	p.RevokeGrants(p.Owners()[0])
	_, err = pull.Collect(client.Spaces(t.Context(), pull.Query{}))
	failed(err, fds.ErrUnauthorized, 401, 401, "unauthorized_request")
	owner.renew = func(*http.Response) (string, bool, error) { return issue(t, p, p.Owners()[0]), true, nil }
	if spaces, err := pull.Collect(client.Spaces(t.Context(), pull.Query{})); err != nil || len(spaces) == 0 {
		t.Errorf("after a renewal: %d spaces, %v", len(spaces), err)
	}
}

func TestAProvidersFaultsAreNamedAndBounded(t *testing.T) {
	t.Parallel()
	p, config, owner := provider(t, fdstest.Options{Devices: 200})
	config.Timeout = 3 * time.Second
	config.MaxBodyBytes = 1 << 20
	client := newClient(t, config)
	const at = fdstest.APIEndpoint
	for _, test := range []struct {
		fault fdstest.Fault
		class error
		want  string
		some  bool // items came before the error
	}{
		{fdstest.Slow(at, time.Minute), fds.ErrUnavailable, "within 3s", false},
		{fdstest.Drip(at, 20*time.Millisecond), fds.ErrUnavailable, "within 3s", false},
		{fdstest.Endless(at), fds.ErrAnswer, "bound", false},
		{fdstest.Oversized(at, 2<<20), fds.ErrAnswer, "bound", false},
		{fdstest.Truncated(at), fds.ErrUnavailable, "cut short", true},
		{fdstest.DropBeforeWork(at), fds.ErrUnavailable, p.APIURL(), false},
		{fdstest.DropAfterWork(at), fds.ErrUnavailable, p.APIURL(), false},
		{fdstest.WebPage(at), fds.ErrAnswer, "text/html", false},
		{fdstest.TooManyRequests(at, "17"), fds.ErrRateLimited, "retry after 17s", false},
		{fdstest.Unauthorized(at), fds.ErrUnauthorized, "unauthorized_request", false},
		{fdstest.Redirect(at, 307, "https://evil.example/"), fds.ErrAnswer, "https://evil.example", false},
		{fdstest.Redirect(at, 308, "http://127.0.0.1:1/"), fds.ErrAnswer, "http://127.0.0.1:1", false},
		{fdstest.Redirect(at, 302, "/fds/v2/spaces"), fds.ErrAnswer, "over 3 redirects", false},
		{fdstest.Answer(at, 200, "application/json", `{"status":500,"message":"broken"}`), fds.ErrUnavailable, "broken", false},
		{fdstest.Answer(at, 418, "text/html", `teapot`), nil, "HTTP 418", false},
	} {
		off := p.Inject(test.fault)
		items, err := inTime(t, func() ([]fds.Device, error) { return pull.Collect(client.Specifications(t.Context(), pull.Query{})) })
		off()
		if !isOnly(err, test.class) || !strings.Contains(err.Error(), test.want) || (len(items) > 0) != test.some {
			t.Errorf("%v: %d items, %v", test.fault, len(items), err)
		}
		for _, hidden := range append(p.Secrets(), owner.token) {
			if err != nil && strings.Contains(fmt.Sprintf("%+v", err), hidden) {
				t.Errorf("%v: the error shows a secret", test.fault)
			}
		}
	}
	if items, err := pull.Collect(client.Specifications(t.Context(), pull.Query{})); err != nil || len(items) != 200 {
		t.Errorf("after all faults: %d items, %v", len(items), err)
	}
}

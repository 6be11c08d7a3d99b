package fdstest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdstest"
	"go.uber.org/goleak"
	"golang.org/x/oauth2"
)

func TestAnApplicationSignsInThroughItsLoopbackAndReadsItsOwnersOnly(t *testing.T) {
	a := start(t, fdstest.Options{})
	redirectURI, arrived := loopbackApp(t)
	a.RedirectURL = redirectURI
	owners := a.p.Owners()
	verifier := oauth2.GenerateVerifier()
	if err := a.p.Approve(t.Context(), a.link(verifier), owners[1]); err != nil {
		t.Fatal(err)
	}
	q := <-arrived
	if q.Get("state") != "the-state" || q.Get("iss") != a.p.Issuer() {
		t.Errorf("callback: %v", q)
	}
	token, err := a.Exchange(a.ctx(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if got := claimOf(t, token.AccessToken, "subscription_id"); got != owners[1].Spelling {
		t.Errorf("claim %v", got)
	}
	if n := len(a.get("specifications", token.AccessToken).items(t)); n == 0 {
		t.Error("no devices")
	}
	for _, r := range a.p.APIRequests() {
		if !slices.Equal(r.Owners, []fds.SubscriptionID{owners[1].SubscriptionID}) {
			t.Errorf("the API saw owners %v", r.Owners)
		}
	}
	if ans := a.get("specifications", "no-token"); ans.status != http.StatusUnauthorized {
		t.Errorf("a made-up token gets %d", ans.status)
	}
}

func TestDenyReachesTheApplicationAsAnError(t *testing.T) {
	a := start(t, fdstest.Options{})
	redirectURI, arrived := loopbackApp(t)
	a.RedirectURL = redirectURI
	if err := a.p.Deny(t.Context(), a.link(oauth2.GenerateVerifier())); err != nil {
		t.Fatal(err)
	}
	if q := <-arrived; q.Get("error") != "access_denied" || q.Get("state") != "the-state" || q.Get("iss") != a.p.Issuer() {
		t.Errorf("callback: %v", q)
	}
}

func TestAnHTTPSRedirectIsHandedBackAndTheConfidentialApplicationProvesItself(t *testing.T) {
	a := start(t, fdstest.Options{})
	application := a.p.ConfidentialApplication()
	a.ClientID, a.ClientSecret, a.RedirectURL = application.ID, application.Secret, application.RedirectURIs[0]
	a.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	verifier := oauth2.GenerateVerifier()
	if err := a.p.Approve(t.Context(), a.link(verifier)); err == nil || !strings.Contains(err.Error(), "ApproveCallback") {
		t.Errorf("Approve of an https redirect: %v", err)
	}
	callback, err := a.p.DenyCallback(t.Context(), a.link(verifier))
	if err != nil || !strings.HasPrefix(callback, a.RedirectURL+"?") || !strings.Contains(callback, "access_denied") {
		t.Errorf("%s, %v", callback, err)
	}
	if token := a.signIn(a.p.Owners()[:2]...); token.RefreshToken == "" {
		t.Error("no refresh token")
	}
}

func TestThePersonSaysWhatIsWrongWithThePage(t *testing.T) {
	a := start(t, fdstest.Options{})
	stranger := fdstest.Owner{Name: "Stranger", Spelling: fds.NewSubscriptionID().String()}
	good := a.link(oauth2.GenerateVerifier())
	for _, c := range []struct {
		link   string
		owners []fdstest.Owner
		want   string
	}{
		{"https://elsewhere.example/authorize", nil, "neither this provider's authorization URL"},
		{strings.Replace(good, "client_id=fdsdemo", "client_id=nobody", 1), nil, "No application is registered"},
		{good, []fdstest.Owner{stranger}, "does not offer owner"},
		{a.p.Issuer() + "/nothing", nil, "status 404"},
	} {
		if err := a.p.Approve(t.Context(), c.link, c.owners...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	// A request that the server refuses leads back to the application.
	callback, err := a.p.ApproveCallback(t.Context(), strings.Replace(good, "S256", "plain", 1))
	if err != nil || !strings.Contains(callback, "error=invalid_request") {
		t.Errorf("%q, %v", callback, err)
	}
	// Nobody listens at the redirect: the error must not tell the code.
	if err := a.p.Approve(t.Context(), good); err == nil || strings.Contains(err.Error(), "code=") || strings.Contains(err.Error(), "the-state") {
		t.Errorf("undelivered: %v", err)
	}
}

func TestSecretsListsWhatWasIssued(t *testing.T) {
	a := start(t, fdstest.Options{})
	verifier := oauth2.GenerateVerifier()
	code := a.callback(verifier).Get("code")
	token, err := a.Exchange(a.ctx(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.p.OwnerCertificate(a.p.Owners()[0])
	if err != nil {
		t.Fatal(err)
	}
	idToken, _ := token.Extra("id_token").(string)
	secrets := a.p.Secrets()
	for name, secret := range map[string]string{"code": code, "verifier": verifier, "access token": token.AccessToken, "refresh token": token.RefreshToken,
		"ID token": idToken, "client secret": a.p.ConfidentialApplication().Secret} {
		if !slices.Contains(secrets, secret) {
			t.Errorf("the %s is not listed", name)
		}
	}
	if !slices.ContainsFunc(secrets, func(s string) bool { return len(s) > 40 && strings.Contains(string(cert.KeyPEM), s) }) {
		t.Error("the private key is not listed")
	}
}

func TestNothingIsPrintedOrLoggedThatIsSecret(t *testing.T) {
	var logged strings.Builder
	logger := slog.New(slog.NewJSONHandler(&syncWriter{w: &logged}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := start(t, fdstest.Options{Logger: logger})
	token := a.signIn()
	a.get("specifications", token.AccessToken)
	a.refresh(token.RefreshToken)
	a.refresh(token.RefreshToken)
	cert, err := a.p.OwnerCertificate(a.p.Owners()[0])
	if err != nil {
		t.Fatal(err)
	}
	logger.Info("values", "certificate", cert, "application", a.p.ConfidentialApplication())
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		fmt.Fprintf(&printed, verb+verb, cert, a.p.ConfidentialApplication())
	}
	a.p.Close()
	if !strings.Contains(logged.String(), "tokens issued") {
		t.Fatal("nothing was logged")
	}
	for _, secret := range a.p.Secrets() {
		if strings.Contains(logged.String(), secret) || strings.Contains(printed.String(), secret) {
			t.Errorf("a secret of %d characters shows", len(secret))
		}
	}
}

func TestCloseLeavesNothingRunningAndFreesThePorts(t *testing.T) {
	before := goleak.IgnoreCurrent()
	p, err := fdstest.Start(fdstest.Options{LifeInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	p.Inject(fdstest.Slow(fdstest.MetadataEndpoint, time.Hour))
	p.Inject(fdstest.Endless(fdstest.KeysEndpoint))
	p.Inject(fdstest.SilentBroker())
	a := &app{t: t, p: p, http: clientOf(t, p)}
	waiting := make(chan answer, 2)
	go func() { waiting <- a.metadata() }()
	go func() { waiting <- a.do(context.Background(), http.MethodGet, p.Issuer()+"/keys", "", nil) }()
	raw, err := net.Dial("tcp", strings.TrimPrefix(p.BrokerURL(), "mqtts://"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	eventually(t, "requests hang", func() bool {
		return p.Requests(fdstest.MetadataEndpoint) == 1 && p.Requests(fdstest.KeysEndpoint) == 1
	})
	began := time.Now()
	p.Close()
	p.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	first, second := <-waiting, <-waiting
	if first.err == nil && second.err == nil {
		t.Error("a hanging request was answered")
	}
	a.http.CloseIdleConnections()
	goleak.VerifyNone(t, before)

	ports := make([]int, 3)
	for i, address := range []string{p.Issuer(), p.APIURL(), p.BrokerURL()} {
		u, _ := url.Parse(address)
		ports[i] = portOf(t, u.Host)
	}
	again, err := fdstest.Start(fdstest.Options{AuthorityPort: ports[0], APIPort: ports[1], BrokerPort: ports[2], Quiet: true})
	if err != nil {
		t.Fatalf("the ports are not free: %v", err)
	}
	defer again.Close()
	if again.Issuer() != p.Issuer() || again.APIURL() != p.APIURL() || again.BrokerURL() != p.BrokerURL() {
		t.Error("the given ports were not used")
	}
	if _, err := fdstest.Start(fdstest.Options{BrokerPort: ports[0]}); err == nil || !strings.Contains(err.Error(), "port of the broker") {
		t.Errorf("a port in use: %v", err)
	}
}

func TestFaultyOptionsAreExplained(t *testing.T) {
	id := fds.NewSubscriptionID()
	for _, c := range []struct {
		opts fdstest.Options
		want string
	}{
		{fdstest.Options{AccessTokenLifetime: -1}, "AccessTokenLifetime"},
		{fdstest.Options{RefreshTokenLifetime: time.Microsecond}, "RefreshTokenLifetime"},
		{fdstest.Options{APIPort: 65536}, "APIPort"},
		{fdstest.Options{Devices: 10_001}, "Devices is 10001; an owner gets at most 10000"},
		{fdstest.Options{SubscriptionClaim: "sub"}, "subscription claim"},
		{fdstest.Options{SubscriptionClaim: "access_token"}, "subscription claim"},
		{fdstest.Options{SubscriptionIn: 16}, "SubscriptionIn"},
		{fdstest.Options{RefreshGrace: -1}, "RefreshGrace"},
		{fdstest.Options{AuthMethods: []fdstest.AuthMethod{"password"}}, `"password"`},
		{fdstest.Options{AuthMethods: []fdstest.AuthMethod{}}, "AuthMethods is empty"},
		{fdstest.Options{DPoP: 3}, "DPoP is 3"},
		{fdstest.Options{PushedRequests: -1}, "PushedRequests is -1"},
		{fdstest.Options{DPoPNonces: []fdstest.Endpoint{fdstest.TokenEndpoint}}, "DPoP is Unsupported"},
		{fdstest.Options{DPoP: fdstest.Optional, DPoPNonces: []fdstest.Endpoint{fdstest.KeysEndpoint}}, `"keys"`},
		{fdstest.Options{DeviceCodeLifetime: -1}, "DeviceCodeLifetime"},
		{fdstest.Options{MutualTLSPort: -1}, "MutualTLSPort"},
		{fdstest.Options{Owners: []fdstest.Owner{{Spelling: "x"}}}, "subscription ID"},
		{fdstest.Options{Owners: []fdstest.Owner{{SubscriptionID: id, Spelling: fds.NewSubscriptionID().String()}}}, "another subscription ID"},
		{fdstest.Options{Owners: []fdstest.Owner{{SubscriptionID: id}, {SubscriptionID: id}}}, "there already"},
		{fdstest.Options{SessionExpiryMax: time.Millisecond}, "SessionExpiryMax"},
	} {
		p, err := fdstest.Start(c.opts)
		if err == nil {
			p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestSettingsOfTokensApply(t *testing.T) {
	a := start(t, fdstest.Options{SubscriptionClaim: "fds_subscriptions", AccessTokenLifetime: 50 * time.Millisecond, NoRotation: true})
	token := a.signIn()
	if a.p.SubscriptionClaim() != "fds_subscriptions" || claimOf(t, token.AccessToken, "fds_subscriptions") != a.p.Owners()[0].Spelling {
		t.Error("the claim has another name")
	}
	eventually(t, "the access token has expired", func() bool { return a.get("spaces", token.AccessToken).status == http.StatusUnauthorized })
	a.p.SetTokenLifetimes(time.Hour, 0)
	for range 2 {
		renewed := a.refresh(token.RefreshToken).json(t)
		access, _ := renewed["access_token"].(string)
		if renewed["expires_in"] != 3600.0 || a.get("spaces", access).status != http.StatusOK {
			t.Errorf("renewal: expires_in %v", renewed["expires_in"])
		}
	}
}

func TestOwnersAreSpeltAsAsked(t *testing.T) {
	id := fds.NewSubscriptionID()
	upper := strings.ToUpper(id.String())
	a := start(t, fdstest.Options{Owners: []fdstest.Owner{}})
	owner, err := a.p.AddOwner(fdstest.Owner{Name: "Upper", Spelling: upper})
	if err != nil {
		t.Fatal(err)
	}
	if owner.SubscriptionID != id || len(a.p.Owners()) != 1 {
		t.Errorf("owners %v", a.p.Owners())
	}
	token := a.signIn(owner)
	if got := claimOf(t, token.AccessToken, "subscription_id"); got != upper {
		t.Errorf("claim %v", got)
	}
	if n := len(a.get("spaces", token.AccessToken).items(t)); n == 0 {
		t.Error("the owner has no site")
	}
}

func TestItemsGivenByHandAreServedAsGiven(t *testing.T) {
	a := start(t, fdstest.Options{Devices: -1})
	owner := a.p.Owners()[0]
	item := `{"device_id":"d1", "generic":{"device_type":"dispenser"}, "subscription_id":"` + owner.Spelling + `", "extra":1.50}`
	if err := a.p.AddDevice(owner, []byte(item)); err != nil {
		t.Fatal(err)
	}
	if ans := a.get("specifications", a.signIn(owner).AccessToken); ans.body != "["+item+"]" {
		t.Errorf("served: %s", ans.body)
	}
	if err := a.p.AddDevice(owner, []byte(`[]`)); err == nil {
		t.Error("a list is accepted as a device")
	}
}

func TestTickMovesADeviceAndStepAllOfThem(t *testing.T) {
	a := start(t, fdstest.Options{})
	for _, moved := range [][]fdstest.Publication{a.p.Tick(), a.p.Step(2 * time.Hour)} {
		if len(moved) == 0 {
			t.Fatal("nothing moved")
		}
		for _, m := range moved {
			if !strings.HasPrefix(m.Topic, m.Owner.Topic("")) || !json.Valid(m.Payload) {
				t.Errorf("topic %s of owner %s", m.Topic, m.Owner.Spelling)
			}
		}
	}
}

package fdstest_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
)

func TestNoWayInIsLoggedWithItsSecrets(t *testing.T) {
	var log bytes.Buffer
	logged := &syncWriter{w: &log}
	p := fdstest.New(t, fdstest.Options{
		Quiet: true, DeviceGrant: true, PushedRequests: fdstest.Optional, DPoP: fdstest.Optional, Introspection: true, OpaqueTokens: true,
		AuthMethods: []fdstest.AuthMethod{fdstest.NoAuth, fdstest.ClientSecretBasic, fdstest.PrivateKeyJWT},
		Logger:      slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	c, key, endpoint := newRaw(t, p, nil), newKey(t), p.Issuer()+"/token"
	addClient(t, p, fdstest.Application{ID: "fleet", AuthMethod: fdstest.PrivateKeyJWT, Keys: map[string]crypto.PublicKey{"": key.Public()}, ClientCredentials: p.Owners()})
	now := time.Now().Unix()
	assertion := signed(t, jose.ES256, key, nil, map[string]any{"iss": "fleet", "sub": "fleet", "aud": p.Issuer(), "exp": now + 60, "jti": "1"})
	form := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {assertionType}, "client_assertion": {assertion}}
	opaque := text(c.token(form).succeeds(t, "an assertion"), "access_token")
	c.token(form).wants(t, "a replay", 401, "invalid_client", "was used before")
	c.post(p.Issuer()+"/introspect", url.Values{"token": {opaque}}, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("fleet-app:wrong-wrong")))

	verifier := oauth2.GenerateVerifier()
	uri := c.push(authorizationForm("fdsdemo", verifier))
	codeForm(t, p, "fdsdemo", verifier, pushedURL(p, "fdsdemo", uri))
	refusedPage(t, p, pushedURL(p, "fdsdemo", uri), "used before")

	begun := c.beginDevice(deviceRequest)
	if err := p.ApproveDevice(t.Context(), text(begun, "user_code")); err != nil {
		t.Fatal(err)
	}
	sent := proof(t, key, "POST", endpoint, "")
	access := text(c.token(poll("fdsdemo", text(begun, "device_code")), "DPoP", sent).succeeds(t, "a device"), "access_token")
	shown := proof(t, key, "GET", p.APIURL()+"/fds/v2/spaces", access)
	c.spaces("Authorization", "DPoP "+access, "DPoP", shown)
	c.spaces("Authorization", "DPoP "+access, "DPoP", shown)
	p.Close()

	secrets := p.Secrets()
	for what, secret := range map[string]string{
		"client assertion": assertion, "opaque token": opaque, "request_uri": uri, "user code": text(begun, "user_code"),
		"device code": text(begun, "device_code"), "proof at the token endpoint": sent, "proof at the Web API": shown, "DPoP token": access,
	} {
		if !slices.Contains(secrets, secret) {
			t.Errorf("Secrets lacks the %s", what)
		}
	}
	if log.Len() == 0 {
		t.Fatal("nothing was logged")
	}
	for i, secret := range secrets {
		if strings.Contains(log.String(), secret) {
			t.Errorf("secret %d, of %d bytes, is in the log", i, len(secret))
		}
	}
}

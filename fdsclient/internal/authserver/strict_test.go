package authserver

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fds-sdk/fds-go/fds"
)

// TestAttackNoRefusalGivesBackWhatTheRequestWasProvenWith: a server that puts all it got
// into its error's words, in parts that fit an error.
func TestAttackNoRefusalGivesBackWhatTheRequestWasProvenWith(t *testing.T) {
	key := selfSigned(t).PrivateKey
	for name, settings := range map[string]Settings{
		"assertion": {Key: key.(crypto.Signer), DPoP: true, PushRequests: true},
		"basic":     {ClientSecret: fds.NewSecret("the secret"), DPoP: true, PushRequests: true},
	} {
		var sent []string
		server := answering(func(r *http.Request) (int, string) {
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			echo := []string{r.Header.Get("DPoP"), strings.TrimPrefix(r.Header.Get("Authorization"), "Basic "), form.Get("client_assertion"), form.Get("state"), form.Get("token"), form.Get("refresh_token"), secretOf(r)}
			sent = append(sent, echo...)
			description, _ := json.Marshal(strings.Join(echo, " "))
			return http.StatusBadRequest, `{"error":"invalid_request","error_description":` + string(description) + `}`
		})
		s := at(server, settings)
		m, err := s.Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		proof, err := s.NewProver()
		if err != nil {
			t.Fatal(err)
		}
		var errs []error
		_, err = s.NewAttempt(t.Context(), m, "https://app.example/callback", nil)
		errs = append(errs, err)
		_, err = s.DeviceCode(t.Context(), m)
		errs = append(errs, err, s.Revoke(t.Context(), fds.NewSecret("a whole token"), "refresh_token"))
		_, _, err = s.introspect(t.Context(), m, fds.NewSecret("a whole token"))
		errs = append(errs, err)
		_, err = s.Refresh(t.Context(), fds.NewSecret("a refresh token"), proof)
		errs = append(errs, err)
		for n, err := range errs {
			var refused publicRefusal
			if !errors.As(err, &refused) {
				t.Fatalf("%s, request %d: %v", name, n, err)
			}
			for _, s := range sent {
				// The texts are cut, so that a beginning tells as much.
				if len(s) > 0 && strings.Contains(err.Error(), s[:min(len(s), 40)]) {
					t.Errorf("%s, request %d gives back what was sent: %v", name, n, err)
				}
			}
		}
	}
}

// secretOf returns the secret of a request that has one in its header.
func secretOf(r *http.Request) string {
	_, secret, _ := r.BasicAuth()
	secret, _ = url.QueryUnescape(secret)
	return secret
}

func TestTheBrowserIsNotSentToAnAliasForCertificates(t *testing.T) {
	const issuer = "https://auth.example"
	server := answering(func(*http.Request) (int, string) {
		return http.StatusOK, `{"issuer":"` + issuer + `","authorization_endpoint":"` + issuer + `/a","token_endpoint":"` + issuer + `/t",
			"mtls_endpoint_aliases":{"authorization_endpoint":"https://mtls.example/a","token_endpoint":"https://mtls.example/t","revocation_endpoint":7}}`
	})
	certificate := func(context.Context) (*tls.Certificate, error) { return nil, nil }
	d := New(Settings{Issuer: issuer, Certificate: certificate, Transport: server}).discovery
	m, err := d.get(t.Context())
	if err != nil || m.AuthorizationEndpoint != issuer+"/a" || m.TokenEndpoint != "https://mtls.example/t" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAProofNamesTheRequestAsItIsSentAndEachServersOwnNonce(t *testing.T) {
	proof, err := newProver(&nonces{})
	if err != nil {
		t.Fatal(err)
	}
	for _, resource := range []bool{false, true} {
		r, err := http.NewRequest(http.MethodGet, "https://one.example/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		nonce := "of the authorization server"
		if resource {
			r.Header.Set("Authorization", "DPoP token")
			nonce = "of the API"
		}
		proof.nonces.learn(&http.Response{Header: http.Header{"Dpop-Nonce": {nonce}}, Request: r})
	}
	for _, c := range []struct{ address, token, htu, nonce string }{
		{"https://one.example/t?x=1#f", "", "https://one.example/t", "of the authorization server"},
		{"https://one.example?x=1", "token", "https://one.example/", "of the API"},
		{"https://one.example/a%2Fb", "token", "https://one.example/a%2Fb", "of the API"},
		{"https://two.example/", "token", "https://two.example/", ""},
	} {
		r, err := http.NewRequest(http.MethodGet, c.address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := proof.Prove(r, fds.NewSecret(c.token)); err != nil {
			t.Fatal(err)
		}
		var claims struct{ HTU, Nonce, ATH string }
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(r.Header.Get("DPoP"), ".")[1])
		if err != nil || json.Unmarshal(payload, &claims) != nil {
			t.Fatal(err)
		}
		if claims.HTU != c.htu || claims.Nonce != c.nonce || (claims.ATH != "") != (c.token != "") {
			t.Errorf("%s: %+v", c.address, claims)
		}
	}
}

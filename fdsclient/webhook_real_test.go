package fdsclient_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/internal/realtest"
	"github.com/fds-sdk/fds-go/webhook"
)

const opaqueAudience = "https://app.example/opaque"

// tokenFor is what an application of the provider gets for itself, for a resource.
func tokenFor(t *testing.T, server *realtest.OIDC, of realtest.OIDCClient, resource string) string {
	t.Helper()
	config := clientcredentials.Config{
		ClientID: of.ID, ClientSecret: of.Secret, TokenURL: server.Issuer + "/token", AuthStyle: oauth2.AuthStyleInHeader,
		EndpointParams: url.Values{"resource": {resource}},
	}
	client := server.HTTPClient()
	switch of.Method {
	case "client_secret_post":
		config.AuthStyle = oauth2.AuthStyleInParams
	case "tls_client_auth":
		config.AuthStyle = oauth2.AuthStyleInParams
		client = server.HTTPClient(of.Certificate.TLS)
	}
	token, err := config.Token(context.WithValue(t.Context(), oauth2.HTTPClient, client))
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// idToken is what tells an application who has signed in.
func idToken(t *testing.T, server *realtest.OIDC) string {
	t.Helper()
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, server.HTTPClient())
	config := oauth2.Config{
		ClientID: server.Basic.ID, ClientSecret: server.Basic.Secret, RedirectURL: "http://127.0.0.1/callback", Scopes: []string{"openid"},
		Endpoint: oauth2.Endpoint{AuthURL: server.Issuer + "/auth", TokenURL: server.Issuer + "/token", AuthStyle: oauth2.AuthStyleInHeader},
	}
	verifier := oauth2.GenerateVerifier()
	callback, err := server.Approve(ctx, config.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	token, err := config.Exchange(ctx, answer.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := token.Extra("id_token").(string)
	if text == "" {
		t.Fatal("there is no ID token")
	}
	return text
}

// TestAWebhookTakesWhatACertifiedProviderIssuesForItAndNothingElse has a sender's tokens be issued by
// oidc-provider: JWTs for this endpoint, bound to a certificate or not, and opaque ones.
func TestAWebhookTakesWhatACertifiedProviderIssuesForItAndNothingElse(t *testing.T) {
	server := realtest.OIDCProvider(t, realtest.OIDCOptions{OpaqueResource: opaqueAudience})
	client := open(t, atOIDC(t, server, fdsclient.Application{ClientID: server.PrivateKeyJWT.ID, Key: signerOf(t, server.PrivateKeyJWT.Certificate)}))
	owners, err := client.SignInApplication(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []delivery.Message
	serve := func(settings webhook.Settings) *httptest.Server {
		t.Helper()
		settings.Senders = []string{server.Basic.ID, server.TLS.ID}
		settings.ClientRoots = realtest.Trusting(server.RootCAs)
		r, err := client.Webhook(settings, func(_ context.Context, m delivery.Message) error { got = append(got, m); return nil })
		if err != nil {
			t.Fatal(err)
		}
		at := httptest.NewUnstartedServer(r)
		at.TLS = r.TLSConfig()
		at.StartTLS()
		t.Cleanup(func() {
			at.Close()
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		if !settings.Introspection {
			eventually(t, "the keys are fetched", func() bool { return !r.State().KeysAt.IsZero() })
		}
		return at
	}
	n := 0
	send := func(at *httptest.Server, token string, certificates ...tls.Certificate) int {
		t.Helper()
		n++
		transport := at.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = certificates
		defer transport.CloseIdleConnections()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at.URL+"/", strings.NewReader(fmt.Sprintf(`{"n":%d}`, n)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	asJWT, asOpaque := serve(webhook.Settings{Audience: webhookAudience}), serve(webhook.Settings{Audience: opaqueAudience, Introspection: true})
	mine := server.TLS.Certificate.TLS
	for name, c := range map[string]struct {
		at           *httptest.Server
		token        string
		certificates []tls.Certificate
		status       int
	}{
		"a JWT for this endpoint":                            {asJWT, tokenFor(t, server, server.Basic, webhookAudience), nil, 200},
		"one bound to the sender's certificate":              {asJWT, tokenFor(t, server, server.TLS, webhookAudience), []tls.Certificate{mine}, 200},
		"one bound to a certificate that is not shown":       {asJWT, tokenFor(t, server, server.TLS, webhookAudience), nil, 401},
		"one bound to another certificate":                   {asJWT, tokenFor(t, server, server.TLS, webhookAudience), []tls.Certificate{server.PrivateKeyJWT.Certificate.TLS}, 401},
		"one for the Web API":                                {asJWT, tokenFor(t, server, server.Basic, server.Resource), nil, 401},
		"one for another endpoint":                           {asJWT, tokenFor(t, server, server.Basic, webhookAudience+"/other"), nil, 401},
		"one for this endpoint, issued to another":           {asJWT, tokenFor(t, server, server.Post, webhookAudience), nil, 401},
		"this application's own":                             {asJWT, token(t, owners[0]).Reveal(), nil, 401},
		"an ID token":                                        {asJWT, idToken(t, server), nil, 401},
		"an opaque one where JWTs are demanded":              {asJWT, tokenFor(t, server, server.Basic, opaqueAudience), nil, 401},
		"an opaque one for this endpoint":                    {asOpaque, tokenFor(t, server, server.Basic, opaqueAudience), nil, 200},
		"an opaque one bound to the sender's certificate":    {asOpaque, tokenFor(t, server, server.TLS, opaqueAudience), []tls.Certificate{mine}, 200},
		"an opaque one bound to a certificate not shown":     {asOpaque, tokenFor(t, server, server.TLS, opaqueAudience), nil, 401},
		"an opaque one for this endpoint, issued to another": {asOpaque, tokenFor(t, server, server.Post, opaqueAudience), nil, 401},
		"an opaque one that the issuer does not know":        {asOpaque, "unknown-" + fds.NewSubscriptionID().String(), nil, 401},
	} {
		before := len(got)
		for range 2 { // the second time it is known
			if status := send(c.at, c.token, c.certificates...); status != c.status {
				t.Errorf("%s: %d, want %d", name, status, c.status)
			}
		}
		if want := map[int]int{200: 2}[c.status]; len(got)-before != want {
			t.Errorf("%s: %d were handed over", name, len(got)-before)
		}
	}
	for _, m := range got {
		if m.Owner != owners[0].Key() {
			t.Errorf("%v was handed over for %v", m.Owner, owners[0].Key())
		}
	}
}

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/fds"
)

const (
	audience = "https://app.example/fds"
	senderID = "provider-sender"
)

// issuer is the provider's authorization server: it has keys, and signs tokens.
type issuer struct {
	server *httptest.Server
	keys   map[string]crypto.Signer // by algorithm, which is the key's ID too
	owners []string
	signed map[string][]string // tokens by algorithm
}

func newIssuer() (*issuer, error) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	i := &issuer{keys: map[string]crypto.Signer{"ES256": ec, "RS256": other}, signed: make(map[string][]string)}
	var set jose.JSONWebKeySet
	for algorithm, key := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: algorithm, Algorithm: algorithm, Use: "sig"})
	}
	body, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	i.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
	return i, nil
}

// tokens are access tokens (RFC 9068), one for each owner.
func (i *issuer) tokens(algorithm string, owners int) ([]string, error) {
	if known := i.signed[algorithm]; len(known) >= owners {
		return known[:owners], nil
	}
	for len(i.owners) < owners {
		i.owners = append(i.owners, fds.NewSubscriptionID().String())
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: i.keys[algorithm]},
		(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", algorithm))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	tokens, faults := make([]string, owners), make([]error, owners)
	var wait sync.WaitGroup
	places := make(chan struct{}, runtime.NumCPU())
	for n := range owners {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			var payload []byte
			payload, faults[n] = json.Marshal(map[string]any{
				"iss": i.server.URL, "aud": audience, "client_id": senderID, "sub": senderID, "jti": rand.Text(),
				"iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(), "subscription_id": i.owners[n],
			})
			signed, err := signer.Sign(payload)
			if err == nil {
				tokens[n], err = signed.CompactSerialize()
			}
			faults[n] = errors.Join(faults[n], err)
		})
	}
	wait.Wait()
	i.signed[algorithm] = tokens
	return tokens, errors.Join(faults...)
}

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/webhook"
)

// receiver serves by this SDK. The channel has an error once it has ended.
func (s *site) receiver(ctx context.Context, folder string, listener net.Listener, certificate *tls.Certificate) (chan error, error) {
	r, err := webhook.New(webhook.Config{
		Settings: webhook.Settings{
			Issuer: s.issuer, Audience: audience, Senders: []string{senderID}, Folder: folder,
			Certificate: func(context.Context) (*tls.Certificate, error) { return certificate, nil },
		},
		Handler: handler,
		Owner: func(_ context.Context, id fds.SubscriptionID) (fds.OwnerKey, error) {
			if owner, ok := s.owners[id]; ok {
				return owner, nil
			}
			return fds.OwnerKey{}, fds.ErrNoOwner
		},
		Keys: s.keys,
	})
	if err != nil {
		return nil, err
	}
	for r.State().KeysAt.IsZero() {
		time.Sleep(time.Millisecond)
	}
	served := make(chan error, 1)
	go func() { served <- errors.Join(r.Serve(ctx, listener), r.Close()) }()
	return served, nil
}

func (s *site) keys(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.issuer, nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(io.LimitReader(response.Body, 1<<20))
}

// byHand serves by a handler over net/http and go-oidc, as one would write it. It checks what that
// verifier checks (signature, iss, aud, exp, nbf), and to whom the token was issued and for whom.
func (s *site) byHand(ctx context.Context, listener net.Listener, certificate *tls.Certificate) (chan error, error) {
	within := oidc.ClientContext(ctx, s.client)
	verifier := oidc.NewVerifier(s.issuer, oidc.NewRemoteKeySet(within, s.issuer), &oidc.Config{
		ClientID: audience, SupportedSigningAlgs: []string{oidc.RS256, oidc.ES256},
	})
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if r.Method != http.MethodPost || !ok {
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			verified, err := verifier.Verify(r.Context(), token)
			if err != nil {
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			var claims struct {
				Client       string `json:"client_id"`
				Subscription string `json:"subscription_id"`
			}
			if verified.Claims(&claims) != nil || claims.Client != senderID {
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			id, err := fds.ParseSubscriptionID(claims.Subscription)
			owner, ok := s.owners[id]
			if err != nil || !ok {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
			var members map[string]json.RawMessage
			if err != nil || json.Unmarshal(body, &members) != nil || r.Header.Get("Content-Type") != "application/json" {
				http.Error(w, "no", http.StatusBadRequest)
				return
			}
			if err := handler(r.Context(), delivery.Message{Owner: owner, Source: delivery.FromWebhook, ReceivedAt: time.Now(), Payload: body}); err != nil {
				http.Error(w, "no", http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusOK)
		}),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*certificate}},
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	served := make(chan error, 1)
	go func() {
		err := server.ServeTLS(listener, "", "")
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		served <- err
	}()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return served, nil
}

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const issuer = "https://localhost"

// runSDK prepares a Client with a stored grant for each owner, as it is after a
// sign-in, and returns what has it run. All that the SDK keeps of an owner is
// measured. With limit, connects have its default rate; without, they come as those
// of the other clients do: some at a time until all are up, and then each when it
// wants.
func runSDK(all []owner, limit bool) (run func(), err error) {
	store := tokenstore.OpenMemory()
	owners := make(map[fds.SubscriptionID]owner, len(all))
	now := time.Now()
	for _, o := range all {
		root, err := fds.ParseRoot(o.id)
		if err != nil {
			return nil, err
		}
		id := root.SubscriptionID()
		owners[id] = o
		key := tokenstore.Key{Issuer: issuer, ClientID: "benchmark", GrantID: id.String()}
		if _, err := store.Save(context.Background(), tokenstore.Grant{
			Key: key, Subscriptions: []string{o.id}, RefreshToken: tokenstore.NewSecret("refresh " + o.id), AccessToken: tokenstore.NewSecret("access " + o.id),
			TokenType: "Bearer", AccessExpiry: now.Add(24 * time.Hour), Created: now, Renewed: now,
		}); err != nil {
			return nil, err
		}
	}
	turns := &turns{free: make(chan struct{}, connecting), owners: owners}
	config := fdsclient.Config{
		Provider: fdsclient.Provider{
			Issuer: issuer, BrokerURL: "mqtts://" + all[0].brokerURL.Host, RootCAs: all[0].roots,
			Endpoints: fdsclient.Endpoints{Authorization: issuer + "/authorize", Token: issuer + "/token"},
		},
		Application: fdsclient.Application{ClientID: "benchmark"},
		Store:       store,
		State:       new(statestore.Memory),
		Certificates: fdsclient.CertificateFunc(func(_ context.Context, key fds.OwnerKey) (*tls.Certificate, error) {
			return owners[key.SubscriptionID].certificate, nil
		}),
		Push:   fdsclient.Push{KeepAlive: all[0].keepAlive},
		Logger: slog.New(slog.DiscardHandler),
		Hooks:  []any{turns},
	}
	if !limit {
		turns.left.Store(int64(len(all)))
		config.Push.Limiter = turns
	}
	client, err := fdsclient.New(config)
	if err != nil {
		return nil, err
	}
	message := all[0].message // one function for all
	return func() {
		err := client.Run(context.Background(), func(_ context.Context, m delivery.Message) error {
			message(m.Payload)
			return nil
		})
		all[0].failed(fmt.Errorf("run: %w", err))
	}, nil
}

// turns is the limiter of a Client's connects, and tells who is up.
type turns struct {
	owners map[fds.SubscriptionID]owner
	left   atomic.Int64 // owners that were never up; with none, nobody waits
	free   chan struct{}
}

// Wait waits until few enough connect.
func (t *turns) Wait(ctx context.Context) error {
	if t.left.Load() <= 0 {
		return nil
	}
	select {
	case t.free <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ConnectAttempt ends a turn.
func (t *turns) ConnectAttempt(_ fds.OwnerKey, _ time.Duration, err error) {
	select {
	case <-t.free:
	default: // it did not wait
	}
	if err == nil {
		t.left.Add(-1)
	}
}

// OnConnection tells that an owner is up.
func (t *turns) OnConnection(key fds.OwnerKey, s push.State) {
	if s.Phase == push.Connected && s.Err == nil {
		t.owners[key.SubscriptionID].up()
	}
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

const issuer = "https://localhost"

func runLimited(all []owner, a *access) (func(), error)   { return runSDK(all, a, true) }
func runUnlimited(all []owner, a *access) (func(), error) { return runSDK(all, a, false) }

// runSDK prepares a Client with a stored grant for each owner, as it is after a
// sign-in, and returns what has it run. All that the SDK keeps of an owner is
// measured. With limit, connects have its default rate; without, they come as those
// of the other clients do: some at a time until all are up, and then each when it
// wants.
func runSDK(all []owner, a *access, limit bool) (run func(), err error) {
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
			Key: key, Subscriptions: []string{o.id}, RefreshToken: fds.NewSecret("refresh " + o.id), AccessToken: fds.NewSecret("access " + o.id),
			TokenType: "Bearer", AccessExpiry: now.Add(24 * time.Hour), Created: now, Renewed: now,
		}); err != nil {
			return nil, err
		}
	}
	config := fdsclient.Config{
		Provider: fdsclient.Provider{
			Issuer: issuer, BrokerURL: "mqtts://" + all[0].brokerURL.Host, APIURL: a.APIURL,
			Roots:     func(context.Context) (*x509.CertPool, error) { return all[0].roots, nil },
			Endpoints: fdsclient.Endpoints{Authorization: issuer + "/authorize", Token: issuer + "/token"},
		},
		Application: fdsclient.Application{ClientID: "benchmark"},
		Store:       store,
		State:       new(statestore.Memory),
		Certificates: func(_ context.Context, key fds.OwnerKey) (*tls.Certificate, error) {
			return owners[key.SubscriptionID].certificate, nil
		},
		Push:   push.Settings{KeepAlive: all[0].keepAlive},
		Logger: slog.New(slog.DiscardHandler),
		Hooks:  []any{&watch{owners}},
	}
	if a.StateFolder != "" {
		if config.State, err = statestore.OpenFolder(a.StateFolder); err != nil {
			return nil, err
		}
	}
	if !limit {
		config.Push.Limit = &fds.Limit{Concurrent: connecting}
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

// watch tells who is up, and who has missed nothing.
type watch struct {
	owners map[fds.SubscriptionID]owner
}

// OnConnection tells that an owner is up.
func (t *watch) OnConnection(key fds.OwnerKey, s push.State) {
	if s.Phase == push.Connected && s.Err == nil {
		t.owners[key.SubscriptionID].up()
	}
}

// OnGap tells that an owner's gap is closed.
func (t *watch) OnGap(e fdsclient.GapEvent) {
	if e.Change == fdsclient.GapClosed {
		t.owners[e.Owner.SubscriptionID].closed()
	}
}

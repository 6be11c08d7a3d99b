package fdsclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/push"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// What it costs a running Client that one owner comes and goes among many, the
// provider and the broker left out. The two sizes tell whether it depends on how
// many there are.
func BenchmarkOneOwnerComesAndGoesAmong(b *testing.B) {
	for _, owners := range []int{100, 10_000} {
		b.Run(fmt.Sprint(owners), func(b *testing.B) { comeAndGo(b, owners) })
	}
}

func comeAndGo(b *testing.B, owners int) {
	const issuer = "https://auth.example.com"
	guest := fds.NewSubscriptionID()
	client, err := New(Config{
		Provider:    Provider{Issuer: issuer, BrokerURL: "mqtts://broker.example.com", Endpoints: Endpoints{Authorization: issuer + "/a", Token: issuer + "/t"}},
		Application: Application{ClientID: "app"},
		Store:       tokenstore.OpenMemory(),
		State:       new(statestore.Memory),
		Certificates: (func(ctx context.Context, key fds.OwnerKey) (*tls.Certificate, error) {
			if key.SubscriptionID != guest {
				<-ctx.Done() // the others connect for ever
			}
			return nil, errors.New("there is none")
		}),
		Push:   push.Settings{Limit: new(fds.Limit)},
		Rescan: time.Hour,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	grant := func(id fds.SubscriptionID) tokenstore.Grant {
		return tokenstore.Grant{
			Key: tokenstore.Key{Issuer: issuer, ClientID: "app", GrantID: id.String()}, Subscriptions: []string{id.String()},
			AccessToken: fds.NewSecret("a"), RefreshToken: fds.NewSecret("r"), TokenType: "Bearer", AccessExpiry: time.Now().Add(24 * time.Hour),
		}
	}
	for range owners {
		if _, err := client.store.Save(b.Context(), grant(fds.NewSubscriptionID())); err != nil {
			b.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- client.Run(ctx, func(context.Context, delivery.Message) error { return nil })
	}()
	active := func() (n int) {
		for _, r := range client.runs() {
			r.mu.Lock()
			n += len(r.active)
			r.mu.Unlock()
		}
		return n
	}
	for active() < owners {
		time.Sleep(time.Millisecond)
	}
	var came, went time.Duration
	b.ResetTimer()
	for b.Loop() {
		g := grant(guest)
		if _, err := client.store.Save(b.Context(), g); err != nil { // as a sign-in does last
			b.Fatal(err)
		}
		began := time.Now()
		client.ownersAdded(client.known.register(client, g.Entry(), false))
		for active() == owners {
			time.Sleep(time.Microsecond)
		}
		came += time.Since(began)
		began = time.Now()
		owner, err := client.Owner(b.Context(), guest)
		if err != nil {
			b.Fatal(err)
		}
		if err := owner.SignOut(b.Context()); !owner.gone(err) {
			b.Fatal(err)
		}
		went += time.Since(began)
	}
	b.ReportMetric(float64(came.Microseconds())/float64(b.N), "µs/come")
	b.ReportMetric(float64(went.Microseconds())/float64(b.N), "µs/go")
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

// gone reports whether a sign-out did all but what needs a broker.
func (o *Owner) gone(err error) bool {
	var partly *SignOutError
	return errors.As(err, &partly) && partly.Deleted && !partly.SessionEnded && o.client.known.owner(o.key) != o
}

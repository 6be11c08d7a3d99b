package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/authserver"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// lockedFirst calls then once, when the lock of a grant is asked for.
type lockedFirst struct {
	tokenstore.Store
	then func()
}

func (s *lockedFirst) Lock(ctx context.Context, key tokenstore.Key) (tokenstore.Lease, error) {
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return s.Store.Lock(ctx, key)
}

// TestAttackASignInWhileASignOutWaitsForItsLockIsEndedToo: the owner is what signs out,
// and not the grant that it had.
func TestAttackASignInWhileASignOutWaitsForItsLockIsEndedToo(t *testing.T) {
	store := &lockedFirst{Store: tokenstore.OpenMemory()}
	client := gapClient(t, func(cfg *Config) { cfg.Store = store })
	id := fds.NewSubscriptionID()
	grant := func(name string) tokenstore.Grant {
		g := tokenstore.Grant{
			Key:           tokenstore.Key{Issuer: client.cfg.Provider.Issuer, ClientID: client.cfg.Application.ClientID, GrantID: name},
			Subscriptions: []string{id.String()}, TokenType: "Bearer", Created: time.Now(), Renewed: time.Now(),
		}
		if _, err := store.Save(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		return g
	}
	grant("first")
	o, err := client.Owner(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var second tokenstore.Grant
	store.then = func() {
		second = grant("second")
		client.known.register(client, tokenstore.Entry{Key: second.Key, Subscriptions: second.Subscriptions}, false)
	}
	if err := o.SignOut(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := store.Load(t.Context(), second.Key); !errors.Is(err, fds.ErrNoGrant) {
		t.Errorf("the grant of the sign-in is still stored: %v", err)
	}
}

// TestAttackAttemptsThatHaveExpiredAreForgotten: a web application has as many as anyone
// likes to begin.
func TestAttackAttemptsThatHaveExpiredAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used usedAttempts
		for i := range 10_000 {
			time.Sleep(time.Second)
			a := Attempt{authserver.Attempt{State: fds.NewSecret(fmt.Sprint(i)), Expires: time.Now().Add(AttemptLifetime)}}
			if !used.take(a) || used.take(a) {
				t.Fatal("an attempt is for one use")
			}
		}
		if n := len(used.seen); n > int(AttemptLifetime/time.Second)+2 {
			t.Errorf("%d attempts are remembered", n)
		}
	})
}

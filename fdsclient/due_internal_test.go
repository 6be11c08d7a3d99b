package fdsclient

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// store puts a changed grant in the place of the one that is stored.
func store(t *testing.T, c *Client, change func(*tokenstore.Grant)) {
	t.Helper()
	r := load(t, c)
	change(&r)
	if _, err := c.store.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func TestARefreshTokenThatWorksBeyondItsEndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		c, owner := bubble(t, answering(func(*http.Request) (int, string) {
			n := requests.Add(1)
			return http.StatusOK, fmt.Sprintf(`{"access_token":"a%d","expires_in":3600}`, n)
		}))
		defer c.Close()
		store(t, c, func(r *tokenstore.Grant) { r.RefreshExpiry = time.Now().Add(-time.Hour) })
		if got, err := owner.Token(t.Context()); err != nil || got.Reveal() != "a1" {
			t.Fatalf("%v, %v", got, err)
		}
		time.Sleep(24 * time.Hour)
		if n := requests.Load(); n < 24 || n > 40 {
			t.Errorf("%d renewals in a day", n)
		}
	})
}

func TestTheEndOfARefreshTokenIsNotRenewedTowardsEverFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		c, owner := bubble(t, answering(func(*http.Request) (int, string) {
			n := requests.Add(1)
			return http.StatusOK, fmt.Sprintf(`{"access_token":"a%d","expires_in":86400}`, n)
		}))
		defer c.Close()
		store(t, c, func(r *tokenstore.Grant) { r.RefreshExpiry = time.Now().Add(time.Hour) })
		if _, err := owner.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if n := requests.Load(); n > 10 {
			t.Errorf("%d renewals", n)
		}
	})
}

func TestAttackTokensOfNoLifeAreNotRenewedWithoutRest(t *testing.T) {
	for _, says := range []string{"0.001", "1e-9", "1"} {
		synctest.Test(t, func(t *testing.T) {
			var requests atomic.Int64
			c, owner := bubble(t, answering(func(*http.Request) (int, string) {
				n := requests.Add(1)
				return http.StatusOK, fmt.Sprintf(`{"access_token":"a%d","refresh_token":"r%[1]d","expires_in":%s}`, n, says)
			}))
			defer c.Close()
			if _, err := owner.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if n := requests.Load(); n > 7 {
				t.Errorf("%d rotations in a minute in which nobody asked, of %s s", n, says)
			}
		})
	}
}

type neededTimes struct{ atomic.Int64 }

func (n *neededTimes) OnSignInNeeded(GrantEvent) { n.Add(1) }

func TestATokenThatNothingRenewsServesToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, owner := bubble(t, answering(func(*http.Request) (int, string) { return http.StatusBadRequest, "" }))
		defer c.Close()
		told := &neededTimes{}
		c.cfg.Hooks = []any{told}
		store(t, c, func(r *tokenstore.Grant) {
			r.RefreshToken, r.AccessExpiry, r.Renewed = fds.Secret{}, time.Now().Add(time.Hour), time.Now()
		})
		began := time.Now()
		for time.Since(began) < time.Hour-10*time.Second {
			if _, err := owner.Token(t.Context()); err != nil || told.Load() != 0 {
				t.Fatalf("after %v: %v, told %d times", time.Since(began), err, told.Load())
			}
			time.Sleep(5 * time.Second)
		}
		time.Sleep(10 * time.Second)
		if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrSignInRequired) || told.Load() != 1 {
			t.Errorf("at its end: %v, told %d times", err, told.Load())
		}
	})
}

func TestARefusedTokenOfAnotherClockIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, owner := bubble(t, answering(func(*http.Request) (int, string) {
			return http.StatusOK, `{"access_token":"a1","refresh_token":"r1","expires_in":300}`
		}))
		defer c.Close()
		store(t, c, func(r *tokenstore.Grant) { // and then the clock was set back
			r.Renewed, r.AccessExpiry = time.Now().Add(time.Hour), time.Now().Add(time.Hour+5*time.Minute)
		})
		got, err := owner.Token(t.Context())
		if err != nil || got.Reveal() != "a0" {
			t.Fatalf("%v, %v", got, err)
		}
		if again, err := owner.grant.Load().Rejected(t.Context(), fds.NewSecret("a0")); err != nil || !again {
			t.Errorf("not worth sending again: %v, %v", again, err)
		}
		if got, err := owner.Token(t.Context()); err != nil || got.Reveal() != "a1" {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestCloseWaitsForNoRenewalThatOnlyWaitsForMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan struct{}, 10)
		c, owner := bubble(t, waiting(asked))
		c.cfg.Provider.Endpoints = Endpoints{}
		speakThrough(c, waiting(asked))
		go func() { _, _ = owner.Token(t.Context()) }()
		<-asked
		began := time.Now()
		if err := c.Close(); err != nil || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if r := load(t, c).Renewal; r.Sent != 0 {
			t.Errorf("the record notes %+v", r)
		}
		time.Sleep(time.Minute)
	})
}

// waiting returns no answer.
type waiting chan struct{}

func (w waiting) RoundTrip(r *http.Request) (*http.Response, error) {
	w <- struct{}{}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// bubble returns a Client for synctest whose provider is a function, and its one
// owner, with a token that has expired.
func bubble(t *testing.T, server http.RoundTripper) (*Client, *Owner) {
	t.Helper()
	const issuer = "https://auth.example.com"
	c, err := New(Config{
		Provider:    Provider{Issuer: issuer, Endpoints: Endpoints{Authorization: issuer + "/a", Token: issuer + "/t"}},
		Application: Application{ClientID: "app"},
		Store:       tokenstore.OpenMemory(),
		State:       &statestore.Memory{},
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	speakThrough(c, server)
	now := time.Now()
	_, err = c.store.Save(t.Context(), tokenstore.Grant{
		Key:           tokenstore.Key{Issuer: issuer, ClientID: "app", GrantID: "g"},
		Subscriptions: []string{fds.NewSubscriptionID().String()},
		RefreshToken:  fds.NewSecret("r0"),
		AccessToken:   fds.NewSecret("a0"),
		TokenType:     "Bearer",
		AccessExpiry:  now.Add(-time.Minute),
		Created:       now.Add(-time.Hour),
		Renewed:       now.Add(-time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	owners, err := c.Owners(t.Context())
	if err != nil || len(owners) != 1 {
		t.Fatalf("%v, %v", owners, err)
	}
	return c, owners[0]
}

func TestTheServerIsAskedTwiceAboutADeadGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		c, owner := bubble(t, answering(func(*http.Request) (int, string) {
			requests.Add(1)
			return http.StatusBadRequest, `{"error":"invalid_grant"}`
		}))
		defer c.Close()
		for n := range 100 { // some hours
			if _, err := owner.Token(t.Context()); errors.Is(err, fds.ErrSignInRequired) != (n > 0) {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Minute)
		}
		if n := requests.Load(); n != 2 {
			t.Errorf("%d requests with a refresh token that the server has refused for good, want two looks", n)
		}
	})
}

func TestAServerThatIsDownIsAskedEverLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		c, owner := bubble(t, answering(func(*http.Request) (int, string) {
			requests.Add(1)
			return http.StatusServiceUnavailable, ""
		}))
		defer c.Close()
		// Nobody asks but the scheduler, after this.
		if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrUnavailable) {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := requests.Load(); n < 24*60/5 || n > 24*60 {
			t.Errorf("%d requests in a day, want at least one every 5 minutes and not many more", n)
		}
	})
}

func TestAGrantIsRenewedForMonthsWithNobodyAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c, owner := bubble(t, answering(func(r *http.Request) (int, string) {
			if err := r.ParseForm(); err != nil || r.PostForm.Get("refresh_token") != fmt.Sprintf("r%d", n) {
				return http.StatusBadRequest, `{"error":"invalid_grant"}`
			}
			n++
			return http.StatusOK, fmt.Sprintf(`{"access_token":"a%d","refresh_token":"r%d","token_type":"Bearer","expires_in":3600}`, n, n)
		}))
		defer c.Close()
		if _, err := owner.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * 24 * time.Hour)
		synctest.Wait()
		before := n
		if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != fmt.Sprintf("a%d", n) || n != before {
			t.Errorf("%v, %v", token, err)
		}
		if n < 90*24 || n > 90*24*60/50 {
			t.Errorf("%d renewals in 90 days of one-hour tokens", n)
		}
	})
}

// busy asks everyone to come back in half an hour.
type busy struct{ requests atomic.Int64 }

func (b *busy) RoundTrip(r *http.Request) (*http.Response, error) {
	b.requests.Add(1)
	return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1800"}}, Body: http.NoBody, Request: r}, nil
}

func TestAServerThatNamesATimeIsNotAskedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &busy{}
		c, owner := bubble(t, server)
		defer c.Close()
		for range 29 {
			if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrUnavailable) {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if n := server.requests.Load(); n != 1 {
			t.Errorf("%d requests in 29 minutes, want 1", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := server.requests.Load(); n != 2 {
			t.Errorf("%d requests after 31 minutes, want 2", n)
		}
	})
}

func TestAOneShotProgramSpendsNoRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int64
		c, owner := bubble(t, answering(func(*http.Request) (int, string) {
			requests.Add(1)
			return http.StatusOK, `{"access_token":"a1","refresh_token":"r1","token_type":"Bearer","expires_in":600}`
		}))
		defer c.Close()
		record := load(t, c)
		record.Renewed, record.AccessExpiry = time.Now().Add(-9*time.Minute), time.Now().Add(time.Minute) // due, and still good
		if _, err := c.store.Save(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != "a0" {
			t.Fatalf("%v, %v", token, err)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if requests.Load() != 0 {
			t.Error("a program of four seconds spent a rotation")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := requests.Load(); n != 1 {
			t.Errorf("%d renewals of a token that is due, in a program that goes on, want 1", n)
		}
	})
}

func TestAGrantRenewedByOneWithoutOurLockIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *Client
		var owner *Owner
		c, owner = bubble(t, answering(func(*http.Request) (int, string) {
			// Meanwhile someone else has used the refresh token and stored the next.
			record := load(t, c)
			record.RefreshToken, record.AccessToken = fds.NewSecret("r1"), fds.NewSecret("a1")
			record.Renewed, record.AccessExpiry = time.Now(), time.Now().Add(10*time.Minute)
			if _, err := c.store.Save(t.Context(), record); err != nil {
				t.Error(err)
			}
			return http.StatusBadRequest, `{"error":"invalid_grant"}`
		}))
		defer c.Close()
		if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != "a1" {
			t.Errorf("%v, %v", token, err)
		}
	})
}

func load(t *testing.T, c *Client) tokenstore.Grant {
	t.Helper()
	for e, err := range c.store.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		record, err := c.store.Load(t.Context(), e.Key)
		if err != nil {
			t.Fatal(err)
		}
		return record
	}
	t.Fatal("no grant is stored")
	return tokenstore.Grant{}
}

func TestARenewalThatGotItsLockLateIsSavedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, owner := bubble(t, answering(func(*http.Request) (int, string) {
			time.Sleep(20 * time.Second)
			return http.StatusOK, `{"access_token":"a1","refresh_token":"r1","token_type":"Bearer","expires_in":600}`
		}))
		defer c.Close()
		lease, err := c.store.Lock(t.Context(), load(t, c).Key)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(4*time.Minute-10*time.Second, lease.Release)
		if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != "a1" {
			t.Errorf("%v, %v", token, err)
		}
		if !load(t, c).RefreshToken.Equal(fds.NewSecret("r1")) {
			t.Error("the rotated refresh token is lost")
		}
	})
}

func TestACallerWhoLeavesTakesNobodysRenewalAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, owner := bubble(t, answering(func(*http.Request) (int, string) {
			return http.StatusOK, `{"access_token":"a1","refresh_token":"r1","token_type":"Bearer","expires_in":600}`
		}))
		defer c.Close()
		lease, err := c.store.Lock(t.Context(), load(t, c).Key)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() {
			if _, err := owner.Token(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("who left got %v", err)
			}
		})
		synctest.Wait()
		callers.Go(func() {
			if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != "a1" {
				t.Errorf("who stayed got %v, %v", token, err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		lease.Release()
		callers.Wait()
	})
}

// unresolved fails like a machine without a name server, until it is healed.
type unresolved struct{ healed atomic.Bool }

func (u *unresolved) RoundTrip(r *http.Request) (*http.Response, error) {
	if !u.healed.Load() {
		return nil, &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}
	}
	return answering(func(*http.Request) (int, string) {
		return http.StatusOK, `{"access_token":"a1","refresh_token":"r1","token_type":"Bearer","expires_in":3600}`
	}).RoundTrip(r)
}

func TestADayWithoutANetworkCostsNoGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &unresolved{}
		c, owner := bubble(t, network)
		defer c.Close()
		if _, err := owner.Token(t.Context()); !Retryable(err) || !errors.Is(err, fds.ErrUnavailable) {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		network.healed.Store(true)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != "a1" {
			t.Errorf("%v, %v", token, err)
		}
	})
}

func TestABlipIsShortThoughNoTokenLivesForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		issued := 0
		c, owner := bubble(t, answering(func(*http.Request) (int, string) {
			if down.Load() {
				return http.StatusServiceUnavailable, ""
			}
			issued++
			return http.StatusOK, fmt.Sprintf(`{"access_token":"a%d","refresh_token":"r%d","token_type":"Bearer","expires_in":60}`, issued, issued)
		}))
		defer c.Close()
		if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrUnavailable) {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // an outage
		down.Store(false)
		time.Sleep(24 * time.Hour) // and much health
		failing := func() bool { return owner.grant.Load().State().Phase == grants.Failing }
		until := func(want bool) {
			for failing() != want {
				time.Sleep(100 * time.Millisecond)
			}
		}
		const blips = 50
		var all time.Duration
		for range blips {
			down.Store(true)
			until(true)
			down.Store(false)
			began := time.Now()
			until(false)
			all += time.Since(began)
			time.Sleep(time.Hour)
		}
		if mean := all / blips; mean > 3*time.Second {
			t.Errorf("one request that fails costs %v in the mean, of tokens that live a minute", mean)
		}
	})
}

package fdsclient_test

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/pull"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func TestAFreshTokenCostsNoLockAndNoAllocation(t *testing.T) {
	p := start(t, fdstest.Options{})
	owner := signIn(t, open(t, configure(t, p)), p)[0]
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := owner.Token(ctx); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestATokenIsRenewedAheadOfItsExpiryInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{AccessTokenLifetime: 5 * time.Second})
		cfg := configure(t, p)
		seen := &hooks{}
		cfg.Hooks = []any{seen}
		client := open(t, cfg)
		owner := signIn(t, client, p)[0]
		first := token(t, owner)
		eventually(t, "a renewal in the background", func() bool { return seen.count(func() int { return seen.renewed }) > 0 })
		if time.Now().After(first.Expiry()) {
			t.Error("the renewal came after the expiry")
		}
		second := token(t, owner)
		if second.Reveal() == first.Reveal() {
			t.Error("the renewed token is not given out")
		}
		if got := stored(t, cfg.Store); got.AccessToken.Reveal() != second.Reveal() {
			t.Error("the token given out is not the stored one")
		}
	})
}

// watchedStore tells what is saved, and fails saves while told to.
type watchedStore struct {
	tokenstore.Store
	failing atomic.Bool
	saved   func(tokenstore.Grant)
}

func (s *watchedStore) Save(ctx context.Context, g tokenstore.Grant) (string, error) {
	if s.failing.Load() {
		return "", &tokenstore.Error{Op: "save grant", Class: fds.ErrStoreUnavailable, Err: errors.New("disk full")}
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if s.saved != nil {
		s.saved(g)
	}
	return s.Store.Save(ctx, g)
}

func TestARotatedTokenIsSavedBeforeTheAccessTokenIsGivenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		store := &watchedStore{Store: cfg.Store}
		cfg.Store = store
		seen := &hooks{}
		cfg.Hooks = []any{seen}
		signIn(t, open(t, cfg), p)
		expire(t, store)
		spent := stored(t, store).RefreshToken

		store.failing.Store(true)
		_, owner := restart(t, cfg)
		if tok, err := owner.Token(t.Context()); err == nil {
			t.Fatalf("a token was given out that is not saved: %v", tok)
		} else if !errors.Is(err, fds.ErrStoreUnavailable) || !fdsclient.Retryable(err) {
			t.Errorf("error %v", err)
		}
		if n := seen.count(func() int { return len(seen.store) }); n == 0 {
			t.Error("HookStoreUnavailable was not told")
		}
		if !stored(t, store).RefreshToken.Equal(spent) {
			t.Fatal("the store has changed")
		}

		// The rotated grant waited in memory; the spent one is never sent again.
		store.failing.Store(false)
		requests := p.Requests(fdstest.TokenEndpoint)
		eventually(t, "the grant saved once the store works", func() bool {
			_, err := owner.Token(t.Context())
			return err == nil
		})
		if n := p.Requests(fdstest.TokenEndpoint); n != requests {
			t.Errorf("%d more requests to the token endpoint, want none", n-requests)
		}
		if stored(t, store).RefreshToken.Equal(spent) {
			t.Error("the spent refresh token is still stored")
		}
	})
}

func TestARenewalOutlivesTheCallerWhoAskedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		signIn(t, open(t, cfg), p)
		expire(t, cfg.Store)
		spent := stored(t, cfg.Store).RefreshToken

		client, owner := restart(t, cfg)
		defer p.Inject(fdstest.Slow(fdstest.TokenEndpoint, 300*time.Millisecond))()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for p.Requests(fdstest.TokenEndpoint) < 2 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		if _, err := owner.Token(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller got %v", err)
		}
		client.Close() // waits for what must be saved
		if stored(t, cfg.Store).RefreshToken.Equal(spent) {
			t.Error("the rotated token was lost")
		}
	})
}

func TestManyCallersShareOneRenewal(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	signIn(t, open(t, cfg), p)
	for name, c := range map[string]struct {
		fault fdstest.Fault
		fails bool
	}{
		"that succeeds": {fdstest.Slow(fdstest.TokenEndpoint, 100*time.Millisecond), false},
		"that fails":    {fdstest.Answer(fdstest.TokenEndpoint, 503, "text/html", "<h1>down"), true},
	} {
		t.Run(name, func(t *testing.T) {
			expire(t, cfg.Store)
			_, owner := restart(t, cfg)
			defer p.Inject(c.fault)()
			before := p.Requests(fdstest.TokenEndpoint)
			var callers sync.WaitGroup
			for range 100 {
				callers.Go(func() {
					if _, err := owner.Token(t.Context()); (err != nil) != c.fails {
						t.Errorf("error %v", err)
					} else if c.fails && (!errors.Is(err, fds.ErrUnavailable) || !fdsclient.Retryable(err)) {
						t.Errorf("class of %v", err)
					}
				})
			}
			callers.Wait()
			if n := p.Requests(fdstest.TokenEndpoint) - before; n != 1 {
				t.Errorf("%d requests for 100 callers, want 1", n)
			}
		})
	}
}

func TestOnlyWhatEndsAGrantMeansSignInAgain(t *testing.T) {
	fdsclient.LookAgainAfter(t, time.Second)
	for name, c := range map[string]struct {
		fault  fdstest.Fault
		lapsed bool
	}{
		"invalid_grant":              {fdstest.Answer(fdstest.TokenEndpoint, 400, "application/json", `{"error":"invalid_grant"}`), true},
		"login_required":             {fdstest.Answer(fdstest.TokenEndpoint, 400, "application/json", `{"error":"login_required"}`), true},
		"a proxy's 403":              {fdstest.Answer(fdstest.TokenEndpoint, 403, "text/html", "<h1>Forbidden"), false},
		"400 without an OAuth error": {fdstest.Answer(fdstest.TokenEndpoint, 400, "application/json", `{"message":"bad"}`), false},
		"an error of another kind":   {fdstest.Answer(fdstest.TokenEndpoint, 400, "application/json", `{"error":["invalid_grant"]}`), false},
		"invalid_client":             {fdstest.Answer(fdstest.TokenEndpoint, 401, "application/json", `{"error":"invalid_client"}`), false},
		"429":                        {fdstest.TooManyRequests(fdstest.TokenEndpoint, "1"), false},
		"under 500":                  {fdstest.Answer(fdstest.TokenEndpoint, 500, "application/json", `{"error":"invalid_grant"}`), true},
		"as text":                    {fdstest.Answer(fdstest.TokenEndpoint, 400, "text/plain", "\ufeff {\"error\":\"invalid_grant\"}"), true},
		"bad_refresh_token":          {fdstest.Answer(fdstest.TokenEndpoint, 200, "application/json", `{"error":"bad_refresh_token"}`), true},
		"the provider's own code":    {fdstest.Answer(fdstest.TokenEndpoint, 400, "application/json", `{"error":"session_gone"}`), true},
		"500":                        {fdstest.Answer(fdstest.TokenEndpoint, 500, "application/json", `{"error":"server_error"}`), false},
		"500 with the code":          {fdstest.Answer(fdstest.TokenEndpoint, 500, "application/json", `{"error":"invalid_grant"}`), true},
		"the code as text":           {fdstest.Answer(fdstest.TokenEndpoint, 400, "text/plain", `{"error":"invalid_grant"}`), true},
		"the code in a form":         {fdstest.Answer(fdstest.TokenEndpoint, 400, "application/x-www-form-urlencoded", "error=invalid_grant"), true},
		"bad_refresh_token with 200": {fdstest.Answer(fdstest.TokenEndpoint, 200, "application/json", `{"error":"bad_refresh_token"}`), true},
		"this provider's own code":   {fdstest.Answer(fdstest.TokenEndpoint, 400, "application/json", `{"error":"token_revoked"}`), true},
		"500 with another code":      {fdstest.Answer(fdstest.TokenEndpoint, 500, "application/json", `{"error":"internal"}`), false},
		"HTML with 200":              {fdstest.Answer(fdstest.TokenEndpoint, 200, "text/html", "<html>Welcome to the hotel"), false},
		"a cut answer":               {fdstest.Answer(fdstest.TokenEndpoint, 200, "application/json", `{"access_token":"a`), false},
		"a redirect":                 {fdstest.Redirect(fdstest.TokenEndpoint, 307, "https://evil.example/"), false},
		"a dropped connection":       {fdstest.DropBeforeWork(fdstest.TokenEndpoint), false},
		"no new refresh token":       {fdstest.NoNewRefreshToken(), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := start(t, fdstest.Options{})
				cfg := configure(t, p)
				cfg.Provider.FinalErrors = []string{"session_gone", "token_revoked"}
				seen := &hooks{}
				cfg.Hooks = []any{seen}
				signIn(t, open(t, cfg), p)
				expire(t, cfg.Store)
				off := p.Inject(c.fault)
				defer off()

				_, owner := restart(t, cfg)
				_, err := owner.Token(t.Context())
				if c.lapsed {
					if err == nil || errors.Is(err, fds.ErrSignInRequired) {
						t.Errorf("after one look: %v", err)
					}
					eventually(t, "a second look", func() bool {
						_, err = owner.Token(t.Context())
						return errors.Is(err, fds.ErrSignInRequired)
					})
					eventually(t, "the hook told", func() bool { return seen.count(func() int { return len(seen.needed) }) > 0 })
				}
				if name == "no new refresh token" {
					if err != nil {
						t.Errorf("error %v", err)
					}
					return
				}
				if errors.Is(err, fds.ErrSignInRequired) != c.lapsed {
					t.Errorf("error %v, sign-in required: want %v", err, c.lapsed)
				}
				if needed := seen.count(func() int { return len(seen.needed) }) > 0; needed != c.lapsed {
					t.Errorf("HookSignInNeeded told: %v", needed)
				}
				if stored(t, cfg.Store).RefreshToken.IsZero() {
					t.Error("the grant was not kept")
				}
				if c.lapsed {
					return
				}
				off()
				eventually(t, "the renewal tried again", func() bool {
					_, err := owner.Token(t.Context())
					return err == nil
				})
			})
		})
	}
}

func TestALapsedGrantIsNotAskedForAgainAndComesBackWithASignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fdsclient.LookAgainAfter(t, time.Second)
		p := start(t, fdstest.Options{})
		cfg := configure(t, p)
		here := open(t, cfg)
		owner := signIn(t, here, p)[0]
		if p.RevokeGrants(p.Owners()[0]) == 0 {
			t.Fatal("nothing was revoked")
		}
		expire(t, cfg.Store)
		_, elsewhere := restart(t, cfg)
		eventually(t, "two looks", func() bool {
			_, err := elsewhere.Token(t.Context())
			return errors.Is(err, fds.ErrSignInRequired)
		})
		asked := p.Requests(fdstest.TokenEndpoint)
		for range 50 {
			if _, err := elsewhere.Token(t.Context()); !errors.Is(err, fds.ErrSignInRequired) || fdsclient.Retryable(err) {
				t.Fatalf("error %v", err)
			}
		}
		if n := p.Requests(fdstest.TokenEndpoint); n != asked {
			t.Errorf("the server was asked %d more times for a dead grant", n-asked)
		}
		info, err := elsewhere.Grant(t.Context())
		if err != nil || !errors.Is(info.Lapsed, fds.ErrSignInRequired) {
			t.Errorf("grant %+v, %v", info, err)
		}

		signIn(t, here, p) // in what might be another process
		eventually(t, "the new grant found", func() bool {
			_, err := elsewhere.Token(t.Context())
			return err == nil
		})
		token(t, owner)
	})
}

func TestTwoClientsOfOneStoreNeverSpendATokenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{AccessTokenLifetime: 300 * time.Millisecond})
		cfg := configure(t, p)
		signIn(t, open(t, cfg), p)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		var work sync.WaitGroup
		var tokens atomic.Int64
		for range 4 { // clients
			_, owner := restart(t, cfg)
			for range 4 { // callers
				work.Go(func() {
					for ctx.Err() == nil {
						if _, err := owner.Token(ctx); err != nil && ctx.Err() == nil {
							t.Errorf("error %v", err)
							return
						}
						tokens.Add(1)
						time.Sleep(10 * time.Millisecond)
					}
				})
			}
		}
		work.Wait()
		if renewals := p.Requests(fdstest.TokenEndpoint); renewals < 4 || tokens.Load() < 100 {
			t.Errorf("only %d renewals for %d tokens: nothing was proven", renewals, tokens.Load())
		}
	})
}

func TestAttackARenewedTokenForSomeoneElseIsRefused(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	signIn(t, open(t, cfg), p)
	expire(t, cfg.Store)
	off := p.Inject(fdstest.RenewalSubscription(p.Owners()[1].Spelling))
	defer off()
	_, owner := restart(t, cfg)
	_, err := owner.Token(t.Context())
	if !errors.Is(err, fds.ErrSubscriptionChanged) || !errors.Is(err, fds.ErrSignInRequired) {
		t.Fatalf("error %v", err)
	}
	g := stored(t, cfg.Store)
	if !g.AccessToken.IsZero() || g.Subscriptions[0] != p.Owners()[0].Spelling {
		t.Errorf("someone else's token was stored, for %v", g.Subscriptions)
	}
	asked := p.Requests(fdstest.TokenEndpoint) // that is final: asking again would spend one rotation after the other
	_, owner = restart(t, cfg)
	if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrSignInRequired) || p.Requests(fdstest.TokenEndpoint) != asked {
		t.Errorf("after a restart: %v", err)
	}
	off()
	client, owner := restart(t, cfg)
	signIn(t, client, p)
	token(t, owner)
}

func TestATokenWithoutALifetimeIsRenewedAllTheSame(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Provider.AssumedLifetime = time.Hour
	defer p.Inject(fdstest.TokenAnswerMember("expires_in", nil))()
	owner := signIn(t, open(t, cfg), p)[0]
	if left := time.Until(token(t, owner).Expiry()); left < 59*time.Minute || left > time.Hour {
		t.Errorf("the token is taken to live %v more, want the assumed hour", left)
	}
}

func TestAttackARedirectAtTheTokenEndpointCarriesNothingAway(t *testing.T) {
	p := start(t, fdstest.Options{})
	var visits atomic.Int64
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer evil.Close()
	cfg := configure(t, p)
	signIn(t, open(t, cfg), p)
	for _, status := range []int{301, 302, 303, 307, 308} {
		expire(t, cfg.Store)
		off := p.Inject(fdstest.Redirect(fdstest.TokenEndpoint, status, evil.URL))
		_, owner := restart(t, cfg)
		if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrUnavailable) || !strings.Contains(err.Error(), "redirects") {
			t.Errorf("status %d: error %v", status, err)
		}
		off()
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("the redirect's target was visited %d times", n)
	}
}

func TestAttackAServerThatEchoesATokenDoesNotGetItIntoAnError(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	signIn(t, open(t, cfg), p)
	expire(t, cfg.Store)
	secret := stored(t, cfg.Store).RefreshToken.Reveal()
	for _, answer := range []struct{ contentType, body string }{
		{"application/json", `{"error":"invalid_request","error_description":"token ` + secret + ` is not good"}`},
		{"text/html", "<p>" + secret},
		{"application/json", `{"access_token":"` + secret},
	} {
		off := p.Inject(fdstest.Answer(fdstest.TokenEndpoint, 400, answer.contentType, answer.body))
		_, owner := restart(t, cfg)
		if _, err := owner.Token(t.Context()); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds the refresh token, or is none", answer.contentType)
		}
		off()
	}
}

func TestA401FromTheAPIForcesOneRenewalAndOneRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, fdstest.Options{Devices: 3})
		cfg := configure(t, p)
		signIn(t, open(t, cfg), p)
		g := stored(t, cfg.Store)

		// The API refuses the token once: renewed, retried, read.
		aged(t, cfg.Store)
		_, owner := restart(t, cfg)
		off := p.Inject(fdstest.Unauthorized(fdstest.APIEndpoint).Times(1))
		n := 0
		for _, err := range owner.Pull().Specifications(t.Context(), pull.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		off()
		if n != 3 {
			t.Errorf("%d devices, want 3", n)
		}
		if stored(t, cfg.Store).AccessToken.Equal(g.AccessToken) {
			t.Error("the refused token was not renewed")
		}

		// It refuses the renewed one too: that is an error, and no storm of renewals.
		defer p.Inject(fdstest.Unauthorized(fdstest.APIEndpoint))()
		before := p.Requests(fdstest.TokenEndpoint)
		for range 10 {
			for _, err := range owner.Pull().Specifications(t.Context(), pull.Query{}) {
				if err == nil {
					t.Fatal("a refused request gave a device")
				}
			}
		}
		if renewals := p.Requests(fdstest.TokenEndpoint) - before; renewals > 1 {
			t.Errorf("%d renewals for a server that refuses every token", renewals)
		}
	})
}

// aged makes the stored token one that was renewed a while ago and is still
// fresh.
func aged(t *testing.T, store tokenstore.Store) {
	t.Helper()
	g := stored(t, store)
	g.Renewed = g.Renewed.Add(-time.Minute)
	if _, err := store.Save(t.Context(), g); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedRecordHarmsItsOwnerAlone(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	all := p.Owners()
	first := open(t, cfg)
	signIn(t, first, p, all[0])
	signIn(t, first, p, all[1])
	seen := &hooks{}
	cfg.Hooks = []any{seen}
	cfg.Store = damagedStore{cfg.Store, all[0].SubscriptionID}

	client := open(t, cfg)
	owners, err := client.Owners(t.Context())
	if err != nil || len(owners) != 2 {
		t.Fatalf("%d owners, %v", len(owners), err)
	}
	for _, o := range owners {
		_, err := o.Token(t.Context())
		if damaged := o.Key().SubscriptionID == all[0].SubscriptionID; errors.Is(err, fds.ErrSignInRequired) != damaged {
			t.Errorf("owner %s: %v", o.Key().SubscriptionID, err)
		}
	}
	if seen.count(func() int { return len(seen.store) }) == 0 {
		t.Error("the damaged record was not reported")
	}
	signIn(t, client, p, all[0]) // the remedy works
}

// damagedStore has a damaged record for one owner.
type damagedStore struct {
	tokenstore.Store
	id fds.SubscriptionID
}

func (s damagedStore) List(ctx context.Context) iter.Seq2[tokenstore.Entry, error] {
	return func(yield func(tokenstore.Entry, error) bool) {
		for e, err := range s.Store.List(ctx) {
			if err == nil && e.Subscriptions[0] == s.id.String() {
				if _, loadErr := s.Load(ctx, e.Key); loadErr != nil {
					err = loadErr
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func (s damagedStore) Load(ctx context.Context, key tokenstore.Key) (tokenstore.Grant, error) {
	g, err := s.Store.Load(ctx, key)
	if err == nil && g.Subscriptions[0] == s.id.String() {
		return tokenstore.Grant{}, &tokenstore.Error{Op: "load grant", Key: key, Class: fds.ErrCorrupt}
	}
	return g, err
}

func TestARotatedTokenIsKeptThoughTheAccessTokenBesideItIsNoGood(t *testing.T) {
	p := start(t, fdstest.Options{})
	for _, member := range []struct{ name, value string }{{"token_type", "mac"}, {"access_token", "not a\nheader"}} {
		cfg := configure(t, p)
		signIn(t, open(t, cfg), p)
		before := stored(t, cfg.Store).RefreshToken
		expire(t, cfg.Store)
		off := p.Inject(fdstest.TokenAnswerMember(member.name, member.value))
		client, owner := restart(t, cfg)
		if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrUnavailable) {
			t.Errorf("%s: %v", member.name, err)
		}
		off()
		client.Close()
		if stored(t, cfg.Store).RefreshToken.Equal(before) {
			t.Errorf("%s: the rotated token was not saved", member.name)
		}
		_, owner = restart(t, cfg)
		token(t, owner)
	}
}

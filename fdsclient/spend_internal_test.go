package fdsclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient/internal/grants"
	"github.com/fds-sdk/fds-go/tokenstore"
)

// scripted answers token requests one after the other, the last for good, and keeps what
// was sent and when.
type scripted struct {
	answers []func() (*http.Response, error)

	mu    sync.Mutex
	sent  []string // the refresh tokens that came
	asked []time.Time
}

// tokens are the refresh tokens that came.
func (s *scripted) tokens() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// times are when requests came.
func (s *scripted) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.sent, s.asked = append(s.sent, form.Get("refresh_token")), append(s.asked, time.Now())
	answer := s.answers[min(len(s.sent), len(s.answers))-1]
	s.mu.Unlock()
	response, err := answer()
	if response != nil {
		response.Request = r
	}
	return response, err
}

// said is an answer.
func said(status int, body string) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// lost is a connection that dies once the request is out.
func lost() (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// issued is the nth answer that renews.
func renewal(n int) func() (*http.Response, error) {
	return said(http.StatusOK, fmt.Sprintf(`{"access_token":"a%d","refresh_token":"r%d","token_type":"Bearer","expires_in":3600}`, n, n))
}

var refusal = said(http.StatusBadRequest, `{"error":"invalid_grant","error_description":"token request is already being processed"}`)

func TestSignInAgainIsToldAfterTwoLooksHalfAMinuteApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{answers: []func() (*http.Response, error){refusal}}
		c, owner := bubble(t, server)
		defer c.Close()
		began := time.Now()
		for time.Since(began) < grants.SecondLook {
			_, err := owner.Token(t.Context())
			var refused *OAuthError
			if errors.Is(err, fds.ErrSignInRequired) || !errors.Is(err, fds.ErrUnavailable) || !Retryable(err) {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			if time.Since(began) == 0 && (!errors.As(err, &refused) || refused.Code != "invalid_grant") {
				t.Fatalf("the first refusal does not say what the provider said: %v", err)
			}
			if n := len(server.times()); n != 1 {
				t.Fatalf("%d requests after %v", n, time.Since(began))
			}
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrSignInRequired) || Retryable(err) {
			t.Fatalf("after the second refusal: %v", err)
		}
		if n := len(server.times()); n != 2 || server.times()[1].Sub(server.times()[0]) < grants.SecondLook {
			t.Errorf("%d looks, at %v", n, server.times())
		}
		if r := load(t, c).Renewal; !r.Lapsed || r.Refused.IsZero() || r.Sent != 0 {
			t.Errorf("the record notes %+v", r)
		}
	})
}

func TestAGrantThatIsRefusedOnceGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{answers: []func() (*http.Response, error){refusal, renewal(1)}}
		c, owner := bubble(t, server)
		defer c.Close()
		if _, err := owner.Token(t.Context()); err == nil || errors.Is(err, fds.ErrSignInRequired) {
			t.Fatal(err)
		}
		time.Sleep(grants.SecondLook + 5*time.Second)
		synctest.Wait()
		if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != "a1" {
			t.Fatalf("%v, %v", token, err)
		}
		if r := load(t, c).Renewal; !r.Refused.IsZero() || r.Lapsed {
			t.Errorf("the record still notes %+v", r)
		}
	})
}

func TestTheFirstLookOfAProcessThatEndedCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{answers: []func() (*http.Response, error){refusal}}
		c, _ := bubble(t, server)
		defer c.Close()
		for _, step := range []struct {
			after  time.Duration // since the first look
			lapsed bool
			looks  int
		}{{10 * time.Second, false, 0}, {grants.SecondLook + time.Second, true, 1}, {time.Hour, true, 1}} {
			record := load(t, c)
			if step.looks == 0 {
				record.Renewal.Refused = time.Now().Add(-10 * time.Second)
				record.Renewal.Looked = record.Renewal.Refused
				if _, err := c.store.Save(t.Context(), record); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Until(record.Renewal.Refused.Add(step.after)))
			next := restarted(t, c, server)
			if _, err := next.Token(t.Context()); errors.Is(err, fds.ErrSignInRequired) != step.lapsed || err == nil {
				t.Errorf("%v after the first look: %v", step.after, err)
			}
			if n := len(server.times()); n != step.looks {
				t.Errorf("%v after the first look: %d requests, want %d", step.after, n, step.looks)
			}
			next.client.Close()
		}
	})
}

// restarted returns the one owner of c's store as another process finds it.
func restarted(t *testing.T, c *Client, server http.RoundTripper) *Owner {
	t.Helper()
	cfg := c.cfg
	cfg.Hooks = nil
	next, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	speakThrough(next, server)
	owners, err := next.Owners(t.Context())
	if err != nil || len(owners) != 1 {
		t.Fatalf("%v, %v", owners, err)
	}
	return owners[0]
}

func TestALostAnswerIsAskedForOnceMoreAtOnce(t *testing.T) {
	for name, first := range map[string]func() (*http.Response, error){
		"a connection that died":      lost,
		"502":                         said(http.StatusBadGateway, "<h1>Bad gateway"),
		"504":                         said(http.StatusGatewayTimeout, ""),
		"a body cut before any token": func() (*http.Response, error) { return said(http.StatusOK, "")() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if strings.HasPrefix(name, "a body") {
					first = func() (*http.Response, error) {
						return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"acc`), failing{}))}, nil
					}
				}
				server := &scripted{answers: []func() (*http.Response, error){first, renewal(1)}}
				c, owner := bubble(t, server)
				defer c.Close()
				if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != "a1" {
					t.Fatalf("%v, %v", token, err)
				}
				if n := len(server.times()); n != 2 || server.times()[1].Sub(server.times()[0]) > 5*time.Second {
					t.Errorf("requests at %v", server.times())
				}
			})
		})
	}
}

// failing is the end of a connection.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestAfterALostAnswerOneRefusalIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{answers: []func() (*http.Response, error){lost, refusal}}
		c, owner := bubble(t, server)
		defer c.Close()
		if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrSignInRequired) {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		if n := len(server.times()); n != 2 {
			t.Errorf("%d requests with a token that may be spent, want 2", n)
		}
	})
}

func TestAProcessThatDiedAtARequestLeavesTheNextOneRetry(t *testing.T) {
	for name, c := range map[string]struct {
		answers []func() (*http.Response, error)
		lapsed  bool
	}{
		"which the provider answers": {[]func() (*http.Response, error){renewal(1)}, false},
		"which the provider refuses": {[]func() (*http.Response, error){refusal}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &scripted{answers: c.answers}
				client, owner := bubble(t, server)
				defer client.Close()
				record := load(t, client)
				record.Renewal = tokenstore.Renewal{By: "another/1", Since: time.Now().Add(-3 * time.Second), Sent: 1}
				if _, err := client.store.Save(t.Context(), record); err != nil {
					t.Fatal(err)
				}
				if _, err := owner.Token(t.Context()); errors.Is(err, fds.ErrSignInRequired) != c.lapsed || err == nil == c.lapsed {
					t.Error(err)
				}
				time.Sleep(time.Hour / 2)
				synctest.Wait()
				if n := len(server.times()); n != 1 {
					t.Errorf("%d requests, want its one retry", n)
				}
			})
		})
	}
}

func TestAnOutageOfTheGatewayCostsNoGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := said(http.StatusBadGateway, "")
		server := &scripted{}
		for range 20 {
			server.answers = append(server.answers, gone)
		}
		server.answers = append(server.answers, renewal(1))
		c, owner := bubble(t, server)
		defer c.Close()
		if _, err := owner.Token(t.Context()); !Retryable(err) {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != "a1" {
			t.Errorf("%v, %v", token, err)
		}
		for n, at := range server.times()[1:] {
			if wait := at.Sub(server.times()[n]); n > 0 && wait < 10*time.Second { // the first is repeated at once
				t.Errorf("request %d came %v after the one before", n+2, wait)
			}
		}
	})
}

func TestTheRecordSaysWhoIsAskingMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *Client
		var during tokenstore.Grant
		server := &scripted{answers: []func() (*http.Response, error){func() (*http.Response, error) {
			during = load(t, c)
			return renewal(1)()
		}}}
		c, owner := bubble(t, server)
		defer c.Close()
		began := time.Now()
		if _, err := owner.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := during.Renewal; r.By != grants.ProcessName || !r.Since.Equal(began) || r.Sent != 1 || during.RefreshToken.Reveal() != "r0" {
			t.Errorf("during the request the record notes %+v", r)
		}
		after := load(t, c)
		if r := after.Renewal; r.By != "" || r.Sent != 0 || r.Former.Reveal() != "r0" {
			t.Errorf("after it %+v", r)
		}
	})
}

// roomless is a store without room for another record.
type roomless struct {
	tokenstore.Store
	reserved atomic.Int64
	freed    atomic.Bool
}

func (s *roomless) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	if s.freed.Load() {
		return s.Store.Reserve(ctx, g)
	}
	s.reserved.Add(1)
	return "", &tokenstore.Error{Op: "reserve", Class: fds.ErrStoreUnavailable, Err: errors.New("disk full")}
}

func TestAServerIsNotAskedWhenItsAnswerCouldNotBeSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{answers: []func() (*http.Response, error){renewal(1)}}
		c, owner := bubble(t, server)
		defer c.Close()
		full := &roomless{Store: c.store}
		keepIn(c, full)
		if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrStoreUnavailable) || !Retryable(err) {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(server.times()) != 0 || full.reserved.Load() < 10 {
			t.Errorf("%d requests, %d reservations tried", len(server.times()), full.reserved.Load())
		}
		full.freed.Store(true)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != "a1" {
			t.Errorf("%v, %v", token, err)
		}
	})
}

func TestWhatIsWrongWithAnAnswerDoesNotCostTheRefreshTokenInIt(t *testing.T) {
	for name, body := range map[string]string{
		"an odd lifetime":             `{"access_token":"a1","refresh_token":"r1","token_type":"Bearer","expires_in":3599.97}`,
		"no access token":             `{"refresh_token":"r1"}`,
		"an access token of no use":   "{\"access_token\":\"a\\nb\",\"refresh_token\":\"r1\"}",
		"a token type of its own":     `{"access_token":"a1","refresh_token":"r1","token_type":"mac"}`,
		"an error beside it":          `{"error":"invalid_grant","refresh_token":"r1"}`,
		"cut behind it":               `{"refresh_token":"r1","access_tok`,
		"somebody else's":             `{"access_token":"a1","refresh_token":"r1","subscription_id":"9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"}`,
		"an owner that cannot be one": `{"access_token":"a1","refresh_token":"r1","subscription_id":7}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &scripted{answers: []func() (*http.Response, error){said(http.StatusOK, body), renewal(2)}}
				c, owner := bubble(t, server)
				defer c.Close()
				_, err := owner.Token(t.Context())
				if (err == nil) != (name == "an odd lifetime") {
					t.Error(err)
				}
				record := load(t, c)
				if record.RefreshToken.Reveal() != "r1" || record.Renewal.Sent != 0 {
					t.Errorf("stored is %q, with %+v", record.RefreshToken.Reveal(), record.Renewal)
				}
				if err != nil && !record.AccessToken.IsZero() {
					t.Error("the access token was kept")
				}
				if foreign := name == "somebody else's"; errors.Is(err, fds.ErrSignInRequired) != foreign || errors.Is(err, fds.ErrSubscriptionChanged) != foreign {
					t.Errorf("class of %v", err)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if foreign := name == "somebody else's"; foreign != (len(server.tokens()) == 1) {
					t.Errorf("%d requests", len(server.tokens()))
				}
			})
		})
	}
}

func TestOneOddEntryOfAClaimHidesNoOwner(t *testing.T) {
	for name, c := range map[string]struct {
		claim string
		ended bool
	}{
		"beside an odd one": {`["OWNER",null,7,"x"]`, false},
		"nobody":            {`[]`, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &scripted{}
				client, owner := bubble(t, server)
				defer client.Close()
				claim := strings.ReplaceAll(c.claim, "OWNER", owner.key.SubscriptionID.String())
				server.answers = []func() (*http.Response, error){said(http.StatusOK, `{"access_token":"a1","refresh_token":"r1","expires_in":3600,"subscription_id":`+claim+`}`)}
				if _, err := owner.Token(t.Context()); errors.Is(err, fds.ErrSubscriptionChanged) != c.ended || (err == nil) == c.ended {
					t.Error(err)
				}
			})
		})
	}
}

func TestAStoreThatPanicsEndsNoProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, owner := bubble(t, &scripted{answers: []func() (*http.Response, error){renewal(1)}})
		defer c.Close()
		store := &panicking{Store: c.store}
		keepIn(c, store)
		if _, err := owner.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "panicked") {
			t.Error(err)
		}
		store.mended.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if token, err := owner.Token(t.Context()); err != nil || token.Reveal() != "a1" {
			t.Errorf("%v, %v", token, err)
		}
	})
}

type panicking struct {
	tokenstore.Store
	mended atomic.Bool
}

func (s *panicking) Reserve(ctx context.Context, g tokenstore.Grant) (string, error) {
	if !s.mended.Load() {
		panic("a defect")
	}
	return s.Store.Reserve(ctx, g)
}

func TestAFormerRefreshTokenIsSentOnlyToAProviderThatReplays(t *testing.T) {
	for _, replays := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			server := &scripted{answers: []func() (*http.Response, error){renewal(1), refusal, refusal, renewal(2)}}
			c, owner := bubble(t, server)
			defer c.Close()
			c.grants.Replays = replays
			if _, err := owner.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			want := "[r0 r1 r1]"
			if replays {
				want = "[r0 r1 r1 r0 r2]"
			}
			if got := fmt.Sprint(server.tokens()[:min(len(server.tokens()), 5)]); got != want {
				t.Errorf("replays %v: sent %v, want %v", replays, got, want)
			}
			if _, err := owner.Token(t.Context()); (err == nil) != replays {
				t.Error(err)
			}
		})
	}
}

func TestLapsedGrantsAreLookedAtDailyUnderOneBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{answers: []func() (*http.Response, error){refusal}}
		c, owner := bubble(t, server)
		defer c.Close()
		const more = 500
		for n := range more {
			record := load(t, c)
			record.Revision, record.Renewal = "", tokenstore.Renewal{Refused: time.Now().Add(-48 * time.Hour), Looked: time.Now().Add(-48 * time.Hour), Lapsed: true}
			record.GrantID = fmt.Sprint("lapsed", n)
			record.Subscriptions = []string{fmt.Sprintf("9f1c2f0a-5b7e-4e0f-8f1a-%012x", n)}
			if _, err := c.store.Save(t.Context(), record); err != nil {
				t.Fatal(err)
			}
		}
		owners, err := c.Owners(t.Context())
		if err != nil || len(owners) != more+1 {
			t.Fatalf("%d owners, %v", len(owners), err)
		}
		for _, o := range owners {
			if o != owner {
				if _, err := o.Token(t.Context()); !errors.Is(err, fds.ErrSignInRequired) {
					t.Fatal(err)
				}
			}
		}
		began := time.Now()
		for time.Since(began) < 6*24*time.Hour {
			before := len(server.times())
			time.Sleep(time.Hour)
			synctest.Wait()
			if n := len(server.times()) - before; n > int(time.Hour/(10*time.Second))+1 {
				t.Fatalf("%d questions in an hour", n)
			}
		}
		if n := len(server.times()); n < 4*more || n > 7*more {
			t.Errorf("%d questions about %d lapsed grants in six days", n, more)
		}
	})
}

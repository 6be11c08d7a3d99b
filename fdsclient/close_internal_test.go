package fdsclient

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/fds"
)

func TestCloseEndsARenewalThatHasAskedNobodyYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, owner := bubble(t, &scripted{answers: []func() (*http.Response, error){renewal(1)}})
		lease, err := c.store.Lock(t.Context(), load(t, c).Key)
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Release()
		go func() {
			time.Sleep(time.Second)
			c.Close()
		}()
		began := time.Now()
		if _, err := owner.Token(t.Context()); !errors.Is(err, fds.ErrClientClosed) {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestCloseWaitsForAnAnswerThatTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, owner := bubble(t, &scripted{answers: []func() (*http.Response, error){func() (*http.Response, error) {
			time.Sleep(100 * time.Second)
			return renewal(1)()
		}}})
		go func() { _, _ = owner.Token(t.Context()) }()
		time.Sleep(time.Second)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if load(t, c).RefreshToken.Reveal() != "r1" {
			t.Error("Close did not wait for the answer")
		}
	})
}

// closer closes its Client in every hook, and then panics.
type closer struct{ client *Client }

func (h *closer) trouble() {
	_ = h.client.Close()
	panic("\x1b[2Jof the hook")
}
func (h *closer) OnRenewed(GrantEvent)        { h.trouble() }
func (h *closer) OnRenewalFailing(GrantEvent) { h.trouble() }
func (h *closer) OnSignInNeeded(GrantEvent)   { h.trouble() }
func (h *closer) OnStoreUnavailable(error)    { h.trouble() }

func TestAttackAHookMayCloseTheClientAndPanic(t *testing.T) {
	for name, c := range map[string]struct {
		answer func() (*http.Response, error)
		ahead  bool // the scheduler renews
		full   bool
	}{
		"after a renewal":                  {renewal(1), false, false},
		"after a failure":                  {said(http.StatusServiceUnavailable, ""), false, false},
		"after a renewal by the scheduler": {renewal(1), true, false},
		"after a lapse":                    {said(http.StatusOK, `{"access_token":"a","refresh_token":"r","subscription_id":"9f1c2f0a-5b7e-4e0f-8f1a-0c9d3b2a1e4f"}`), false, false},
		"over a full store":                {renewal(1), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, owner := bubble(t, &scripted{answers: []func() (*http.Response, error){c.answer}})
				client.cfg.Hooks = []any{&closer{client}}
				if c.full {
					keepIn(client, &roomless{Store: client.store})
				}
				if c.ahead {
					record := load(t, client)
					record.AccessExpiry = time.Now().Add(time.Minute)
					if _, err := client.store.Save(t.Context(), record); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				_, _ = owner.Token(t.Context())
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if err := client.Close(); err != nil || time.Since(began) > 11*time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				if _, err := owner.Token(t.Context()); c.full && !errors.Is(err, fds.ErrClientClosed) && !errors.Is(err, fds.ErrStoreUnavailable) {
					t.Error(err)
				}
				if !client.grants.Closed() {
					t.Error("the hook was not called")
				}
			})
		})
	}
}

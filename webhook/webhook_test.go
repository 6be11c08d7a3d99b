package webhook_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/webhook"
)

func TestADeliveryGoesToTheHandlerAsItCame(t *testing.T) {
	s := newSite(t)
	const body = `{"device_id":"soap-1","fill_level":41.2}`
	if status := s.deliver(body); status != http.StatusOK {
		t.Fatal(status, s.why())
	}
	waitFor(t, "it is counted", func() bool { return s.receiver.State().Taken == 1 })
	if at := s.receiver.State().TakenAt; time.Since(at) > time.Minute {
		t.Error(at)
	}
	got := s.handed()
	if len(got) != 1 || got[0].Owner != s.owner || got[0].Source != delivery.FromWebhook || string(got[0].Payload) != body || got[0].Duplicate || got[0].ReceivedAt.IsZero() {
		t.Fatalf("%+v", got)
	}
}

func TestAnArrayIsItsItemsInOrder(t *testing.T) {
	s := newSite(t)
	if status := s.deliver(` [{"a":1}, {"a":2},{"a":3}] `); status != http.StatusOK {
		t.Fatal(status, s.why())
	}
	var all string
	for _, m := range s.handed() {
		all += string(m.Payload)
	}
	if all != `{"a":1}{"a":2}{"a":3}` {
		t.Fatal(all)
	}
}

func TestTheSenderIsAskedToComeAgainUntilTheHandlerHasReturnedNil(t *testing.T) {
	s := newSite(t, func(c *webhook.Config) { c.Folder = t.TempDir() })
	fail := true
	s.handler = func(context.Context, delivery.Message) error {
		if fail {
			return errors.New("the disk is full")
		}
		return nil
	}
	request := func() *http.Response { return s.send(s.request(`{"a":1}`, with("webhook-id", "msg_1"))) }
	if r := request(); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Fatal(r.Status, r.Header)
	}
	fail = false
	if r := request(); r.StatusCode != http.StatusOK {
		t.Fatal(r.Status)
	}
	if got := s.handed(); len(got) != 1 || !got[0].Duplicate {
		t.Fatalf("%+v", got)
	}
	if r := request(); r.StatusCode != http.StatusOK || len(s.handed()) != 1 {
		t.Fatal(r.Status, "what was handled was handed over again:", len(s.handed()))
	}
}

func TestARefusalClosesItsConnectionUnlessAProxyHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, func(c *webhook.Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32")} })
		for address, closes := range map[string]string{"10.0.0.7:1": "", "10.0.0.8:1": "close"} {
			w := s.answer(`{}`, func(r *http.Request) {
				r.RemoteAddr = address
				r.Header.Del("Authorization")
			})
			if w.Code != http.StatusUnauthorized || w.Header().Get("Connection") != closes {
				t.Error(address, w.Code, w.Header())
			}
		}
	})
}

// TestTokensOfSeveralHeadersAreReadInAnyOrder: what is remembered of a header counts for tokens of
// that header alone, and proves nothing about who signed them.
func TestTokensOfSeveralHeadersAreReadInAnyOrder(t *testing.T) {
	first, second, stranger := newKey(t), newKey(t), newKey(t)
	s := newSite(t, func(c *webhook.Config) {
		c.MaxInHandOfOwner = 1000
		c.Keys = func(context.Context) ([]byte, error) {
			return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public(first, "one"), public(second, "two")}})
		}
	})
	var wait sync.WaitGroup
	for n := range 8 {
		for _, token := range []struct {
			key    *ecdsa.PrivateKey
			header map[string]any
			want   int
		}{
			{first, nil, http.StatusOK},
			{second, map[string]any{"kid": "two"}, http.StatusOK},
			{first, map[string]any{"typ": "application/at+jwt"}, http.StatusOK},
			{second, nil, http.StatusUnauthorized},
			{stranger, nil, http.StatusUnauthorized},
			{first, map[string]any{"typ": "JWT"}, http.StatusUnauthorized},
		} {
			text := signed(t, token.key, jose.ES256, s.claims(map[string]any{"jti": n}), token.header)
			send := func() {
				if got := s.deliver(`{"event":"`+strconv.Itoa(n)+`"}`, bearing(text)); got != token.want {
					t.Errorf("%v: %d, want %d", token.header, got, token.want)
				}
			}
			if n < 2 { // one after the other
				send()
			} else {
				wait.Go(send)
			}
		}
	}
	wait.Wait()
}

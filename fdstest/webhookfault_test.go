package fdstest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fds-sdk/fds-go/fdstest"
)

func TestARepeatedWebhookComesAgainWithItsID(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, nil)
	s := sendTo(t, p, hasty(fdstest.Webhook{URL: e.URL}))
	p.Inject(fdstest.RepeatWebhooks().Times(2))
	publish(t, p, p.Owners()[0], `{"n":1}`, `{"n":2}`)
	eventually(t, "both acknowledged", func() bool { return s.Deliveries().Acknowledged == 2 })
	all := e.all()
	if got := e.bodies(); !slices.Equal(got, []string{`{"n":1}`, `{"n":1}`, `{"n":1}`, `{"n":2}`}) {
		t.Fatalf("%q", got)
	}
	id := func(i int) string { return all[i].header.Get("Webhook-Id") }
	if id(0) != id(1) || id(1) != id(2) || id(2) == id(3) {
		t.Errorf("%s %s %s %s", id(0), id(1), id(2), id(3))
	}
}

func TestAReplayedWebhookIsTheSameInEveryByte(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, nil)
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL, Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}})
	defer p.Inject(fdstest.ReplayWebhooks())()
	if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	all := e.all()
	if len(all) != 2 || all[0].body != all[1].body {
		t.Fatalf("%+v", all)
	}
	for _, name := range []string{"Authorization", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		if all[0].header.Get(name) == "" || all[0].header.Get(name) != all[1].header.Get(name) {
			t.Errorf("%s: %q, then %q", name, all[0].header.Get(name), all[1].header.Get(name))
		}
	}
	if d := s.Deliveries(); d.Sent != 1 || d.Acknowledged != 1 || d.Attempts != 2 {
		t.Errorf("%+v", d)
	}
}

func TestDisorderedWebhooksComeOneBeforeTheOther(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, nil)
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL})
	off := p.Inject(fdstest.DisorderWebhooks())
	o := p.Owners()[0]
	publish(t, p, o, `1`)
	publish(t, p, o, `2`)
	eventually(t, "both have come", func() bool { return s.Deliveries().Acknowledged == 2 })
	publish(t, p, o, `3`)
	publish(t, p, p.Owners()[1], `a`, `b`) // by then the third is held back
	eventually(t, "another's have come", func() bool { return s.Deliveries().Acknowledged == 4 })
	off() // lets go what is held back
	eventually(t, "the third has come", func() bool { return s.Deliveries().Acknowledged == 5 })
	publish(t, p, o, `4`, `5`)
	eventually(t, "all have come", func() bool { return s.Deliveries().Acknowledged == 7 })
	if got := e.bodies(); !slices.Equal(got, []string{`2`, `1`, `b`, `a`, `3`, `4`, `5`}) {
		t.Errorf("%q", got)
	}
}

func TestExpiredAndForgedWebhooksComeBeforeThoseThatAreRight(t *testing.T) {
	for name, fault := range map[string]fdstest.Fault{"expired": fdstest.ExpiredWebhooks(), "forged": fdstest.ForgeWebhooks()} {
		t.Run(name, func(t *testing.T) {
			p := fdstest.New(t, fdstest.Options{Quiet: true})
			e := newEndpoint(t, p, statuses(http.StatusUnauthorized))
			s := sendTo(t, p, fdstest.Webhook{URL: e.URL})
			defer p.Inject(fault)()
			if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
			all, keys := e.all(), keysOf(t, p)
			if len(all) != 2 || all[0].header.Get("Webhook-Id") != all[1].header.Get("Webhook-Id") || all[0].body != all[1].body {
				t.Fatalf("%+v", all)
			}
			exp, _ := claimOf(t, all[0].token(), "exp").(float64)
			signed := claimsOfSigned(t, keys, all[0].token()) != nil
			if expired := exp < float64(time.Now().Unix()); expired != (name == "expired") || signed != (name == "expired") {
				t.Errorf("the first is expired: %v, signed by the provider: %v", expired, signed)
			}
			if keyIDOf(t, all[0].token()) != keyIDOf(t, all[1].token()) {
				t.Error("the first names another key")
			}
			if claimsOfSigned(t, keys, all[1].token()) == nil {
				t.Error("the second is not signed by the provider")
			}
		})
	}
}

func keyIDOf(t *testing.T, token string) any {
	t.Helper()
	part, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	var header map[string]any
	if err := json.Unmarshal(text, &header); err != nil {
		t.Fatal(err)
	}
	return header["kid"]
}

func TestASlowWebhookComesByteByByte(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	began := make(chan time.Duration, 1)
	e := newEndpoint(t, p, nil)
	e.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(r.Body, first); err != nil {
			t.Error(err)
		}
		start := time.Now()
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(first), r.Body))
		e.ServeHTTP(w, r)
		began <- time.Since(start)
	})
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL})
	defer p.Inject(fdstest.SlowWebhooks(10 * time.Millisecond))()
	if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`"0123456789"`)); err != nil {
		t.Fatal(err)
	}
	if took := <-began; took < 80*time.Millisecond {
		t.Errorf("what is behind the first byte took %v", took)
	}
	if got := e.all()[0]; got.body != `"0123456789"` || got.length != 12 {
		t.Errorf("%+v", got)
	}
}

func TestRotatedKeysSignFromThenOnAndTheOldOneStaysAWhile(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, func(n int, w http.ResponseWriter, r *http.Request) {
		if claimsOfSigned(t, keysOf(t, p), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) == nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	s := sendTo(t, p, hasty(fdstest.Webhook{URL: e.URL}))
	deliver := func() string {
		t.Helper()
		if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		all := e.all()
		return all[len(all)-1].token()
	}
	tokens, err := p.IssueTokens("fdsdemo", p.Owners()[0])
	if err != nil {
		t.Fatal(err)
	}
	first := deliver()
	if err := p.RotateKeys(time.Hour); err != nil {
		t.Fatal(err)
	}
	if keys := keysOf(t, p).Keys; len(keys) != 2 || keys[0].KeyID == keys[1].KeyID {
		t.Fatalf("%d keys", len(keys))
	}
	if deliver() != first || s.Deliveries().Attempts != 2 {
		t.Error("the token of the old key does not serve")
	}
	if renewed, err := s.Token(fdstest.Attempt{Owner: p.Owners()[1]}); err != nil || keyIDOf(t, renewed) == keyIDOf(t, first) {
		t.Errorf("a new token is of the old key (%v)", err)
	}
	read := func() int {
		client := clientOf(t, p)
		defer client.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.APIURL()+"/fds/v2/spaces", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if status := read(); status != http.StatusOK {
		t.Errorf("the Web API answers %d to a token of the old key", status)
	}
	if err := p.RotateKeys(0); err != nil {
		t.Fatal(err)
	}
	if keys := keysOf(t, p).Keys; len(keys) != 2 { // the newest, and the first
		t.Errorf("%d keys", len(keys))
	}
	for range 2 {
		if err := p.RotateKeys(0); err != nil {
			t.Fatal(err)
		}
	}
	if status := read(); status != http.StatusOK {
		t.Errorf("the Web API answers %d to a token of a key that is listed", status)
	}
}

func TestTokensOfAKeyThatIsGoneAreRefusedAndTheSenderGetsAnother(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, func(n int, w http.ResponseWriter, r *http.Request) {
		if claimsOfSigned(t, keysOf(t, p), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) == nil {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	s := sendTo(t, p, hasty(fdstest.Webhook{URL: e.URL}))
	for range 2 {
		if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		if err := p.RotateKeys(0); err != nil {
			t.Fatal(err)
		}
	}
	if d := s.Deliveries(); d.Attempts != 3 || d.Answers[401] != 1 || d.Acknowledged != 2 {
		t.Errorf("%+v", d)
	}
	if keys := keysOf(t, p).Keys; len(keys) != 1 {
		t.Errorf("%d keys", len(keys))
	}
}

func TestRotatedKeysOutliveTheProvider(t *testing.T) {
	dir := t.TempDir()
	p := fdstest.New(t, fdstest.Options{Quiet: true, Dir: dir})
	if err := p.RotateKeys(time.Hour); err != nil {
		t.Fatal(err)
	}
	before := keysOf(t, p)
	p.Close()
	p = fdstest.New(t, fdstest.Options{Quiet: true, Dir: dir})
	after := keysOf(t, p)
	if len(before.Keys) != 2 || len(after.Keys) != 2 || before.Keys[0].KeyID != after.Keys[0].KeyID || before.Keys[1].KeyID != after.Keys[1].KeyID {
		t.Errorf("%v, then %v", before, after)
	}
}

func TestHeldConnectionsStayOpenUntilTheyAreReleased(t *testing.T) {
	p := fdstest.New(t, fdstest.Options{Quiet: true})
	e := newEndpoint(t, p, nil)
	s := sendTo(t, p, fdstest.Webhook{URL: e.URL})
	n, release, err := s.Hold(t.Context(), 200)
	if err != nil || n != 200 {
		t.Fatalf("%d open, %v", n, err)
	}
	if err := s.Deliver(t.Context(), p.Owners()[0], []byte(`{}`)); err != nil {
		t.Error(err)
	}
	if len(e.all()) != 1 {
		t.Errorf("%d requests", len(e.all()))
	}
	release()
	e.Close()
	if _, _, err := s.Hold(t.Context(), 2); err == nil {
		t.Error("connections to nobody are open")
	}
}

package fdsclient_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fds-sdk/fds-go/delivery"
	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/webhook"
)

const (
	webhookAudience = "https://app.example/fds"
	webhookSender   = "fdsbox-sender"
)

// endpoint is a Client's webhook that is served, and the provider's sender to it.
type endpoint struct {
	t        *testing.T
	p        *fdstest.Provider
	receiver *webhook.Receiver
	sender   *fdstest.Sender
	inbox    inbox
	url      string
}

// listen serves a Client's webhook, and has the provider send to it.
func listen(t *testing.T, client *fdsclient.Client, p *fdstest.Provider, settings webhook.Settings, w fdstest.Webhook) *endpoint {
	t.Helper()
	return listenWith(t, client, p, settings, w, nil)
}

// listenWith does so with a handler; nil: the endpoint's inbox.
func listenWith(t *testing.T, client *fdsclient.Client, p *fdstest.Provider, settings webhook.Settings, w fdstest.Webhook, h delivery.Handler) *endpoint {
	t.Helper()
	return listenBy(t, p, settings, w, func(e *endpoint, settings webhook.Settings) (*webhook.Receiver, error) {
		if h == nil {
			h = e.inbox.handle
		}
		return client.Webhook(settings, h)
	})
}

// listenBy does so with the Receiver that open makes.
func listenBy(t *testing.T, p *fdstest.Provider, settings webhook.Settings, w fdstest.Webhook, open func(*endpoint, webhook.Settings) (*webhook.Receiver, error)) *endpoint {
	t.Helper()
	e := &endpoint{t: t, p: p}
	issued, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "localhost", Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	certificate := issued.TLS
	settings.Audience, settings.Senders = webhookAudience, []string{webhookSender}
	settings.Path = "/fds/{subscription_id}"
	settings.Certificate = func(context.Context) (*tls.Certificate, error) { return &certificate, nil }
	if e.receiver, err = open(e, settings); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.receiver.Serve(ctx, listener) }()
	e.url = "https://" + listener.Addr().String() + "/fds/"
	w.URL, w.Audience = cmp.Or(w.URL, e.url+"{subscription_id}"), webhookAudience
	w.First, w.Most = 10*time.Millisecond, 50*time.Millisecond
	if e.sender, err = p.SendTo(ctx, w); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := e.receiver.Close(); err != nil {
			t.Error(err)
		}
	})
	if !settings.Introspection {
		eventually(t, "the keys are fetched", func() bool { return !e.receiver.State().KeysAt.IsZero() })
	}
	return e
}

// attempt sends one request and returns the answer's status.
func (e *endpoint) attempt(a fdstest.Attempt) int {
	e.t.Helper()
	if a.Body == nil {
		a.Body = fmt.Appendf(nil, `{"serial":%d}`, time.Now().UnixNano())
	}
	reply, err := e.sender.Attempt(e.t.Context(), a)
	if err != nil {
		e.t.Fatal(err)
	}
	return reply.Status
}

func TestAWebhookHandsOverWhatTheProviderPublishes(t *testing.T) {
	for name, way := range map[string]struct {
		options  fdstest.Options
		settings webhook.Settings
		webhook  fdstest.Webhook
		bound    bool
	}{
		"a token of each owner":   {},
		"one token of all":        {webhook: fdstest.Webhook{OneToken: true}},
		"arrays":                  {webhook: fdstest.Webhook{Batch: 10}},
		"tokens that say nothing": {options: fdstest.Options{Introspection: true}, settings: webhook.Settings{Introspection: true}, webhook: fdstest.Webhook{Opaque: true}},
		"tokens of a certificate": {settings: webhook.Settings{CertificateBound: true}, bound: true},
		"signatures": {
			settings: webhook.Settings{Secrets: func(context.Context, fds.OwnerKey) ([]fds.Secret, error) {
				return []fds.Secret{fds.NewSecret("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="), fds.NewSecret("whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=")}, nil
			}},
			webhook: fdstest.Webhook{Secrets: []string{"whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, way.options)
			cfg := configure(t, p)
			cfg.Provider.Dialect = p.Dialect()
			if way.options.Introspection {
				application := p.ConfidentialApplication()
				cfg.Application.ClientID, cfg.Application.ClientSecret = application.ID, fds.NewSecret(application.Secret)
			}
			client := open(t, cfg)
			for _, o := range p.Owners()[:2] {
				signIn(t, client, p, o)
			}
			w := way.webhook
			if way.bound {
				issued, err := p.IssueCertificate(fdstest.CertificateRequest{CommonName: "sender"})
				if err != nil {
					t.Fatal(err)
				}
				w.Certificate = &issued.TLS
			}
			e := listen(t, client, p, way.settings, w)
			want := make(map[fds.SubscriptionID][]string)
			for n := range 20 {
				for _, o := range p.Owners()[:2] {
					event := fmt.Sprintf(`{"message_id":"m-%d","subscription_id":%q,"generic":{"n":%d}}`, n, o.Spelling, n)
					if err := p.AddEvent(o, []byte(event)); err != nil {
						t.Fatal(err)
					}
					want[o.SubscriptionID] = append(want[o.SubscriptionID], fmt.Sprintf(`"m-%d"`, n))
				}
			}
			eventually(t, "all is handed over", func() bool {
				e.inbox.mu.Lock()
				defer e.inbox.mu.Unlock()
				return len(e.inbox.messages) >= 40
			})
			eventually(t, "all is acknowledged", func() bool { d := e.sender.Deliveries(); return d.InHand+d.Waiting == 0 })
			e.inbox.mu.Lock()
			defer e.inbox.mu.Unlock()
			got := make(map[fds.SubscriptionID][]string)
			for _, m := range e.inbox.messages {
				var event struct {
					ID json.RawMessage `json:"message_id"`
				}
				if err := json.Unmarshal(m.Payload, &event); err != nil {
					t.Fatal(err)
				}
				got[m.Owner.SubscriptionID] = append(got[m.Owner.SubscriptionID], string(event.ID))
				if m.Source != delivery.FromWebhook || m.Duplicate || m.Owner.Issuer != p.Issuer() {
					t.Errorf("%+v", m)
				}
			}
			for id, events := range want {
				if fmt.Sprint(got[id]) != fmt.Sprint(events) {
					t.Errorf("%s: %v", id, got[id])
				}
			}
			if d := e.sender.Deliveries(); d.Failed > 0 {
				t.Errorf("%+v", d)
			}
		})
	}
}

// TestAWebhookIsMetByAllThatSendersDo has each fault of the sender at work: nothing is lost, and
// what has an ID is handed over once.
func TestAWebhookIsMetByAllThatSendersDo(t *testing.T) {
	faults := map[string]fdstest.Fault{
		"repeats": fdstest.RepeatWebhooks().Times(5), "replays": fdstest.ReplayWebhooks(), "disorder": fdstest.DisorderWebhooks().Times(5),
		"expired": fdstest.ExpiredWebhooks(), "forged": fdstest.ForgeWebhooks(), "slow": fdstest.SlowWebhooks(time.Millisecond),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, fdstest.Options{})
			client := open(t, configure(t, p))
			o := p.Owners()[0]
			signIn(t, client, p, o)
			e := listen(t, client, p, webhook.Settings{Folder: t.TempDir()}, fdstest.Webhook{HTTP1: name == "slow"})
			t.Cleanup(p.Inject(fault))
			for n := range 10 {
				if err := p.AddEvent(o, fmt.Appendf(nil, `{"message_id":"m-%d","generic":{}}`, n)); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "all is acknowledged", func() bool { d := e.sender.Deliveries(); return d.Acknowledged == 10 && d.InHand+d.Waiting == 0 })
			e.inbox.mu.Lock()
			defer e.inbox.mu.Unlock()
			times := make(map[string]int)
			for _, m := range e.inbox.messages {
				event, err := fds.ParseMessage(m.Payload, fds.Dialect{})
				if err != nil {
					t.Fatal(err)
				}
				times[event.ID()]++
			}
			for n := range 10 {
				if id := fmt.Sprintf("m-%d", n); times[id] != 1 {
					t.Errorf("%s was handed over %d times", id, times[id])
				}
			}
		})
	}
}

func TestAWebhookFollowsTheProvidersKeys(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	o := p.Owners()[0]
	signIn(t, client, p, o)
	e := listen(t, client, p, webhook.Settings{}, fdstest.Webhook{})
	if status := e.attempt(fdstest.Attempt{Owner: o}); status != http.StatusOK {
		t.Fatal(status)
	}
	if err := p.RotateKeys(0); err != nil {
		t.Fatal(err)
	}
	if status := e.attempt(fdstest.Attempt{Owner: o}); status != http.StatusOK {
		t.Error("with the new key:", status)
	}
}

func TestAttackAWebhookTakesNothingForWhoIsNotSignedInHere(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Rescan = 50 * time.Millisecond
	client := open(t, cfg)
	all := p.Owners()
	a := signIn(t, client, p, all[0])[0]
	signIn(t, client, p, all[1])
	e := listen(t, client, p, webhook.Settings{}, fdstest.Webhook{})
	status := func(o fdstest.Owner) int { return e.attempt(fdstest.Attempt{Owner: o}) }
	if got := []int{status(all[0]), status(all[1]), status(all[2])}; fmt.Sprint(got) != "[200 200 403]" {
		t.Fatal(got)
	}

	signIn(t, client, p, all[2])
	if got := status(all[2]); got != http.StatusOK {
		t.Error("after the sign-in:", got)
	}
	if err := a.SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := status(all[0]); got != http.StatusForbidden {
		t.Error("after the sign-out:", got)
	}
	signIn(t, client, p, all[0])
	if got := status(all[0]); got != http.StatusOK {
		t.Error("after another sign-in:", got)
	}

	other := open(t, cfg) // another process with the same store
	there, err := other.Owner(t.Context(), all[1].SubscriptionID)
	if err != nil {
		t.Fatal(err)
	}
	if err := there.SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sign-out elsewhere is known", func() bool { return status(all[1]) == http.StatusForbidden })
	signIn(t, other, p, all[1])
	eventually(t, "the sign-in elsewhere is known", func() bool { return status(all[1]) == http.StatusOK })
	e.inbox.mu.Lock()
	defer e.inbox.mu.Unlock()
	for _, m := range e.inbox.messages {
		if m.Owner.Issuer != p.Issuer() {
			t.Errorf("%v", m)
		}
	}
}

func TestAttackAWebhookTakesNothingForWhoseConsentIsWithdrawn(t *testing.T) {
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := withoutGrant(t, func(c *fdsclient.Config) { c.KeepWithoutGrant = keep })
			s.signIn()
			runClient(t, s.client, nil)
			receiver, err := s.client.Webhook(webhook.Settings{Audience: webhookAudience, Senders: []string{webhookSender}}, s.box.handle)
			if err != nil {
				t.Fatal(err)
			}
			defer receiver.Close()
			sender, err := s.p.SendTo(t.Context(), fdstest.Webhook{URL: webhookAudience})
			if err != nil {
				t.Fatal(err)
			}
			status := func(i int) int { return straight(t, receiver, sender, s.all[i]) }
			eventually(t, "the keys are fetched", func() bool { return !receiver.State().KeysAt.IsZero() })
			if got := []int{status(0), status(2)}; fmt.Sprint(got) != "[200 200]" {
				t.Fatal(got)
			}
			if n := s.p.RevokeGrants(s.all[2]); n != 1 {
				t.Fatalf("%d grants were revoked", n)
			}
			s.needed(2)
			want := map[bool]int{false: http.StatusForbidden, true: http.StatusOK}[keep]
			if got := []int{status(0), status(2)}; got[0] != http.StatusOK || got[1] != want {
				t.Errorf("KeepWithoutGrant %v: %v", keep, got)
			}
		})
	}
}

// straight hands a receiver a delivery without a network, and returns the answer's status.
func straight(t *testing.T, receiver *webhook.Receiver, sender *fdstest.Sender, o fdstest.Owner) int {
	t.Helper()
	token, err := sender.Token(fdstest.Attempt{Owner: o})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, webhookAudience, strings.NewReader(`{"n":1}`))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	receiver.ServeHTTP(w, r)
	return w.Code
}

func TestAttackTheTokensThatApplicationsHaveForgeNoDelivery(t *testing.T) {
	p := start(t, fdstest.Options{})
	client := open(t, configure(t, p))
	o := p.Owners()[0]
	owner := signIn(t, client, p, o)[0]
	e := listen(t, client, p, webhook.Settings{}, fdstest.Webhook{})
	own := token(t, owner)
	request, err := http.NewRequest(http.MethodGet, "https://x.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := own.SetHeader(request); err != nil {
		t.Fatal(err)
	}
	access := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")
	if got := e.attempt(fdstest.Attempt{Owner: o, Token: access}); got != http.StatusUnauthorized {
		t.Error("this application's token:", got)
	}
	others, err := p.IssueTokens(p.ConfidentialApplication().ID, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := e.attempt(fdstest.Attempt{Owner: o, Token: others.AccessToken}); got != http.StatusUnauthorized {
		t.Error("another application's token:", got)
	}
	if got := e.attempt(fdstest.Attempt{Owner: o}); got != http.StatusOK {
		t.Error("the sender's:", got)
	}
}

// TestAttackAWebhookMixesNoOwnersUp is about one token for two owners who signed in together.
func TestAttackAWebhookMixesNoOwnersUp(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Provider.Dialect = p.Dialect()
	client := open(t, cfg)
	all := p.Owners()
	signIn(t, client, p, all[0], all[1])
	e := listen(t, client, p, webhook.Settings{}, fdstest.Webhook{OneToken: true})
	item := func(o fdstest.Owner) []byte { return fmt.Appendf(nil, `{"subscription_id":%q,"n":1}`, o.Spelling) }
	at := func(o fdstest.Owner, body []byte) int {
		return e.attempt(fdstest.Attempt{Owner: o, Body: body})
	}
	if got := at(all[0], item(all[0])); got != http.StatusOK {
		t.Error(got)
	}
	if got := at(all[0], item(all[1])); got != http.StatusForbidden {
		t.Error("another's item at this one's path:", got)
	}
	if got := at(all[2], item(all[2])); got != http.StatusForbidden {
		t.Error("who is in the token and not signed in:", got)
	}
	if got := at(all[0], fmt.Appendf(nil, `[%s,%s]`, item(all[0]), item(all[1]))); got != http.StatusForbidden {
		t.Error("both in one array:", got)
	}
	e.inbox.mu.Lock()
	defer e.inbox.mu.Unlock()
	if len(e.inbox.messages) != 1 || e.inbox.messages[0].Owner.SubscriptionID != all[0].SubscriptionID {
		t.Errorf("%v", e.inbox.messages)
	}
}

func TestAttackABatchOfAWebhookMixesNoOwnersUp(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Provider.Dialect = p.Dialect()
	client := open(t, cfg)
	all := p.Owners()
	signIn(t, client, p, all[0], all[1])
	var batches [][]delivery.Message
	batching := &delivery.Batching{Handler: func(_ context.Context, batch []delivery.Message) error {
		batches = append(batches, batch)
		return nil
	}}
	e := listenBy(t, p, webhook.Settings{}, fdstest.Webhook{OneToken: true}, func(_ *endpoint, settings webhook.Settings) (*webhook.Receiver, error) {
		return client.WebhookBatches(settings, batching)
	})
	item := func(o fdstest.Owner, n int) string {
		return fmt.Sprintf(`{"subscription_id":%q,"n":%d}`, o.Spelling, n)
	}
	for at, o := range all[:2] {
		body := fmt.Sprintf("[%s,%s,%s]", item(o, 1), item(o, 2), item(o, 3))
		if got := e.attempt(fdstest.Attempt{Owner: o, Body: []byte(body)}); got != http.StatusOK {
			t.Fatal(got)
		}
		if len(batches) != at+1 || len(batches[at]) != 3 {
			t.Fatalf("%d calls", len(batches))
		}
		for n, m := range batches[at] {
			if m.Owner.SubscriptionID != o.SubscriptionID || string(m.Payload) != item(o, n+1) || m.Source != delivery.FromWebhook {
				t.Errorf("%v: %s", m, m.Payload)
			}
		}
	}
	if got := e.attempt(fdstest.Attempt{Owner: all[0], Body: fmt.Appendf(nil, "[%s,%s]", item(all[0], 4), item(all[1], 4))}); got != http.StatusForbidden || len(batches) != 2 {
		t.Errorf("both in one array: %d, %d calls", got, len(batches))
	}
}

func TestWhatWouldLetOrdinaryTokensInIsAFaultOfTheConfiguration(t *testing.T) {
	p := start(t, fdstest.Options{})
	cfg := configure(t, p)
	cfg.Provider.Resources = []string{"https://api.provider.example"}
	client := open(t, cfg)
	good := webhook.Settings{Audience: webhookAudience, Senders: []string{webhookSender}}
	for name, change := range map[string]func(*webhook.Settings){
		"another issuer":        func(s *webhook.Settings) { s.Issuer = "https://login.example" },
		"no audience":           func(s *webhook.Settings) { s.Audience = "" },
		"the API's audience":    func(s *webhook.Settings) { s.Audience = p.APIURL() },
		"with a slash":          func(s *webhook.Settings) { s.Audience = p.APIURL() + "/" },
		"the API's root":        func(s *webhook.Settings) { s.Audience = p.APIURL() + "/fds/v2/" },
		"a resource's audience": func(s *webhook.Settings) { s.Audience = "https://api.provider.example" },
		"the issuer's":          func(s *webhook.Settings) { s.Audience = p.Issuer() },
		"an ID token's":         func(s *webhook.Settings) { s.Audience = cfg.Application.ClientID },
		"no sender":             func(s *webhook.Settings) { s.Senders = nil },
		"this application":      func(s *webhook.Settings) { s.Senders = []string{cfg.Application.ClientID} },
	} {
		settings := good
		change(&settings)
		if r, err := client.Webhook(settings, (&inbox{}).handle); !errors.Is(err, fds.ErrConfig) {
			t.Errorf("%s: %v", name, err)
			_ = r.Close()
		}
	}
	r, err := client.Webhook(good, (&inbox{}).handle)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

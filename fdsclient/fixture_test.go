package fdsclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"log/slog"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"go.uber.org/goleak"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/fdstest"
	"github.com/fds-sdk/fds-go/statestore"
	"github.com/fds-sdk/fds-go/tokenstore"
)

func TestMain(m *testing.M) {
	if !fdsclient.RunAsChild() && !runConsumer() {
		if err := flag.Set("test.parallel", "8"); err != nil { // they wait for other processes rather than compute
			panic(err)
		}
		goleak.VerifyTestMain(m)
	}
}

// start returns a quiet provider with three owners and no devices, unless options
// say otherwise.
func start(t *testing.T, options fdstest.Options) *fdstest.Provider {
	t.Helper()
	options.Quiet = true
	if inBubble() {
		options.Network = &bubbleNetwork
	}
	if options.Devices == 0 {
		options.Devices = -1
	}
	return fdstest.New(t, options)
}

// bubbleNetwork is that of the tests that run in a bubble of testing/synctest.
var bubbleNetwork fdstest.Network

// inBubble reports whether the clock is a bubble's.
func inBubble() bool { return time.Now().Year() == 2000 }

// configure returns the Config of an application of provider p, with its grants in
// memory, its certificates straight from p, and its log in the test's.
func configure(t *testing.T, p *fdstest.Provider) fdsclient.Config {
	t.Helper()
	cfg := fdsclient.Config{
		Provider:     providerOf(p),
		Application:  fdsclient.Application{Name: "test", ClientID: p.PublicApplication().ID},
		Store:        tokenstore.OpenMemory(),
		State:        &statestore.Memory{},
		Certificates: certificatesOf(p),
		Logger:       slog.New(slog.NewTextHandler(&testLog{t: t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	cfg.Provider.Dialect.SubscriptionMember = p.Dialect().SubscriptionMember
	return cfg
}

// providerOf tells a Client where p is.
func providerOf(p *fdstest.Provider) fdsclient.Provider {
	provider := fdsclient.Provider{Issuer: p.Issuer(), APIURL: p.APIURL(), BrokerURL: p.BrokerURL(), Roots: p.Roots}
	if inBubble() {
		provider.Dial = bubbleNetwork.Dial
	}
	return provider
}

// open makes a Client that ends with the test.
func open(t *testing.T, cfg fdsclient.Config) *fdsclient.Client {
	t.Helper()
	client, err := fdsclient.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// approve signs in at p as a person who approves for owners would.
func approve(p *fdstest.Provider, owners ...fdstest.Owner) fdsclient.SignInOptions {
	return fdsclient.SignInOptions{
		ShowURL:     func(string) {},
		OpenBrowser: func(ctx context.Context, url string) error { return p.Approve(ctx, url, owners...) },
	}
}

// signIn signs in for owners, by default the first of p.
func signIn(t *testing.T, client *fdsclient.Client, p *fdstest.Provider, owners ...fdstest.Owner) []*fdsclient.Owner {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	signedIn, err := client.SignIn(ctx, approve(p, owners...))
	if err != nil {
		t.Fatal(err)
	}
	return signedIn
}

func token(t *testing.T, o *fdsclient.Owner) fdsclient.Token {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tok, err := o.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// stored returns the one grant in a store.
func stored(t *testing.T, store tokenstore.Store) tokenstore.Grant {
	t.Helper()
	var found []tokenstore.Grant
	for e, err := range store.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		g, err := store.Load(t.Context(), e.Key)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, g)
	}
	if len(found) != 1 {
		t.Fatalf("%d grants are stored, want 1", len(found))
	}
	return found[0]
}

// expire makes the stored access token one that has expired.
func expire(t *testing.T, store tokenstore.Store) {
	t.Helper()
	g := stored(t, store)
	g.Renewed = g.Renewed.Add(-time.Hour)
	g.AccessExpiry = time.Now().Add(-time.Minute)
	if _, err := store.Save(t.Context(), g); err != nil {
		t.Fatal(err)
	}
}

// restart returns the one owner of a store as a new process finds it.
func restart(t *testing.T, cfg fdsclient.Config) (*fdsclient.Client, *fdsclient.Owner) {
	t.Helper()
	client := open(t, cfg)
	owners, err := client.Owners(t.Context())
	if err != nil || len(owners) != 1 {
		t.Fatalf("%d owners, %v; want one", len(owners), err)
	}
	return client, owners[0]
}

// recordOf names what a run remembers of an owner.
func recordOf(cfg fdsclient.Config, owner fds.OwnerKey) statestore.Key {
	return statestore.Key{ClientID: cfg.Application.ClientID, Owner: owner, Name: "state"}
}

// memory is a part of that.
type memory struct {
	Filters  []string
	Position time.Time
	Gap      *struct{ From, To time.Time }
	Polled   *struct{ Events, Statuses struct{ From time.Time } }
}

// remembered loads it.
func remembered(t *testing.T, cfg fdsclient.Config, owner fds.OwnerKey) (m memory, err error) {
	t.Helper()
	loaded, err := cfg.State.Load(t.Context(), recordOf(cfg, owner))
	if err == nil && loaded.Revision != "" {
		err = json.Unmarshal(loaded.Data, &m)
	}
	return m, err
}

// tlsOf trusts the authority of p.
func tlsOf(p *fdstest.Provider) *tls.Config {
	return &tls.Config{RootCAs: p.RootCAs(), MinVersion: tls.VersionTLS12}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// subscribed waits until the broker of p has an owner's subscription.
func subscribed(t *testing.T, p *fdstest.Provider, o fdstest.Owner) {
	t.Helper()
	eventually(t, "subscribed", func() bool { return len(p.Subscriber(o).Subscriptions) > 0 })
}

// certificatesOf issues the owners' certificates of p, each once.
func certificatesOf(p *fdstest.Provider) certificateFunc {
	var mu sync.Mutex
	issued := make(map[fds.SubscriptionID]fdstest.Certificate)
	return certificateFunc(func(_ context.Context, owner fds.OwnerKey) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if c, ok := issued[owner.SubscriptionID]; ok {
			return &c.TLS, nil
		}
		for _, o := range p.Owners() {
			if o.SubscriptionID == owner.SubscriptionID {
				c, err := p.OwnerCertificate(o)
				if err != nil {
					return nil, err
				}
				issued[owner.SubscriptionID] = c
				return &c.TLS, nil
			}
		}
		return nil, fds.ErrNoCertificate
	})
}

// testLog writes log lines to the test that is still running.
type testLog struct {
	t    *testing.T
	mu   sync.Mutex
	over bool
	once sync.Once
}

func (l *testLog) Write(line []byte) (int, error) {
	l.once.Do(func() {
		l.t.Cleanup(func() {
			l.mu.Lock()
			l.over = true
			l.mu.Unlock()
		})
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.t.Logf("%s", bytes.TrimSpace(line))
	}
	return len(line), nil
}

// hooks records what a Client tells.
type hooks struct {
	mu      sync.Mutex
	renewed int
	failing []error
	needed  []fdsclient.GrantEvent
	store   []error
}

func (h *hooks) OnRenewed(fdsclient.GrantEvent) { h.do(func() { h.renewed++ }) }
func (h *hooks) OnRenewalFailing(e fdsclient.GrantEvent) {
	h.do(func() { h.failing = append(h.failing, e.Err) })
}
func (h *hooks) OnSignInNeeded(e fdsclient.GrantEvent) {
	h.do(func() { h.needed = append(h.needed, e) })
}
func (h *hooks) OnStoreUnavailable(err error) { h.do(func() { h.store = append(h.store, err) }) }

func (h *hooks) do(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// count reads a number under the lock.
func (h *hooks) count(read func() int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return read()
}

// poolOf trusts the authorities of a PEM text.
func poolOf(pem []byte) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

// newIdentity makes the key of a folder of grants.
func newIdentity(t *testing.T) string {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity.String()
}

// certificateFunc is Config.Certificates.
type certificateFunc = func(context.Context, fds.OwnerKey) (*tls.Certificate, error)
